//! `switchyard bridges`: what payloads of chat platforms become, and what messages become there.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use bridges::{
    Inbound,
    codec::{self, Outgoing},
    message::NoNames,
    runtime,
};
use clap::{Args, Subcommand};
use schemas::room::Platform;
use serde_json::{Value, json};

use crate::{
    cli::{Place, block_on, settings},
    config::Overrides,
    identities,
};

#[derive(Debug, Args)]
pub(crate) struct Bridges {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Ask every platform that is configured whether it takes the bot's credentials; exit 1 if one
    /// does not.
    Check(Place),
    /// List or edit who users of platforms are here.
    Identities(identities::Command),
    /// Print what a payload becomes: a line of JSON for each thing that happened, or why it means
    /// nothing for a room.
    Parse(Sample),
    /// Print the calls that a message becomes: its author, content or text, channel, thread,
    /// replyTo, and known, the ids of its parts where it is to be edited.
    Render(Sample),
}

#[derive(Debug, Args)]
struct Sample {
    /// slack, teams, discord or telegram.
    platform: Platform,
    /// A file with JSON; - is standard input.
    file: PathBuf,
}

/// Does it; gives the lines to print, and whether all is well.
pub(crate) fn run(arguments: Bridges) -> anyhow::Result<(Vec<String>, bool)> {
    let lines = match arguments.action {
        Action::Check(place) => {
            let settings = settings(&place, Overrides::default())?;
            return block_on(async { Ok(runtime::check(&settings.bridges).await) });
        }
        Action::Identities(command) => block_on(identities::run(command))?,
        Action::Parse(sample) => {
            let payload = codec::parse(sample.platform, &read(&sample.file)?, &NoNames)?;
            let answer = payload.answer.map(|answer| json!({"answer": answer}).to_string());
            let happened = payload.inbound.iter().map(|inbound| described(inbound).to_string());
            answer.into_iter().chain(happened).collect()
        }
        Action::Render(sample) => {
            let message: Outgoing = serde_json::from_slice(&read(&sample.file)?)
                .with_context(|| format!("{} is no message", sample.file.display()))?;
            let calls = codec::render(sample.platform, &message, &NoNames)?;
            calls.iter().map(serde_json::to_string).collect::<Result<_, _>>()?
        }
    };
    Ok((lines, true))
}

fn described(inbound: &Inbound) -> Value {
    match inbound {
        Inbound::Unsupported(reason) | Inbound::Unreadable(reason) => json!({"ignored": reason}),
        happened => json!(happened),
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("standard input cannot be read")?;
        return Ok(bytes);
    }
    std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))
}
