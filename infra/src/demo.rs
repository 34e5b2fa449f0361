//! `serve --demo`: a node with simulators of the four platforms, and a room that is linked to each.

use std::{io, net::SocketAddr};

use anyhow::Context as _;
use bridges::simulator::{Room, Simulators, channel, workspace};
use schemas::room::Platform;
use serde_json::{Map, Value, json};

use crate::config::Settings;

/// The room's id.
const ROOM: &str = "demo";

/// The simulators of a demonstration.
pub struct Demo(Simulators);

impl Demo {
    /// Starts the simulators and has `settings` talk to them.
    ///
    /// # Errors
    /// If they cannot be started.
    pub fn start(settings: &mut Settings) -> io::Result<Self> {
        let simulators = Simulators::start()?;
        let mut platforms = Map::new();
        for (platform, name, value) in simulators.settings() {
            platforms.entry(platform).or_insert_with(|| json!({}))[name] = value.into();
        }
        settings.bridges = serde_json::from_value(Value::Object(platforms))?;
        Ok(Self(simulators))
    }

    /// Makes the room and its links at the node, where they are not there yet; gives the address of
    /// the page.
    ///
    /// # Errors
    /// If the node refuses.
    pub async fn show(&self, node: SocketAddr) -> anyhow::Result<String> {
        let client = reqwest::Client::new();
        let token: Value = client
            .post(format!("http://{node}/dev/token"))
            .json(&json!({"sub": "you"}))
            .send()
            .await?
            .error_for_status()
            .context("a demonstration needs the development profile")?
            .json()
            .await?;
        let token = token["token"].as_str().context("a token")?.to_owned();
        let post = async |path: &str, body: Value| -> anyhow::Result<()> {
            let url = format!("http://{node}/api/v1/rooms{path}");
            let answer = client.post(url).bearer_auth(&token).json(&body).send().await?;
            // It is there already.
            if answer.status() != reqwest::StatusCode::CONFLICT {
                answer.error_for_status()?;
            }
            Ok(())
        };
        post("", json!({"id": ROOM, "title": "Demonstration"})).await?;
        let room = Room { node: node.to_string(), token: token.clone(), room: ROOM.to_owned() };
        let people = self.0.people(&room.node);
        for platform in Platform::ALL {
            let link = json!({"type": "link", "platform": platform,
                "workspace": workspace(platform), "channel": channel(platform)});
            post(&format!("/{ROOM}/commands"), link).await?;
        }
        // Bots of Teams can answer where they were written to.
        let id = people.new_id(Platform::Teams);
        let typing = people.typing_in_teams(channel(Platform::Teams), &id);
        people.send(Platform::Teams, &typing).await?;
        self.0.show(room);
        Ok(format!("http://{}/", self.0.address()))
    }
}
