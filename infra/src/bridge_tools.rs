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
};
use clap::{Args, Subcommand};
use schemas::room::Platform;
use serde_json::{Value, json};

#[derive(Debug, Args)]
pub(crate) struct Bridges {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
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

/// Does it; gives the lines to print.
pub(crate) fn run(arguments: &Bridges) -> anyhow::Result<Vec<String>> {
    match &arguments.action {
        Action::Parse(sample) => {
            let payload = codec::parse(sample.platform, &read(&sample.file)?, &NoNames)?;
            let answer = payload.answer.map(|answer| json!({"answer": answer}).to_string());
            let happened = payload.inbound.iter().map(|inbound| described(inbound).to_string());
            Ok(answer.into_iter().chain(happened).collect())
        }
        Action::Render(sample) => {
            let message: Outgoing = serde_json::from_slice(&read(&sample.file)?)
                .with_context(|| format!("{} is no message", sample.file.display()))?;
            let calls = codec::render(sample.platform, &message, &NoNames)?;
            calls.iter().map(|call| Ok(serde_json::to_string(call)?)).collect()
        }
    }
}

fn described(inbound: &Inbound) -> Value {
    match inbound {
        Inbound::Unsupported(reason) => json!({"ignored": reason}),
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
