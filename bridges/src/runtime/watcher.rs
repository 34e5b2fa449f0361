//! The links of the rooms of one partition: kept, and a task run for each.

use std::{collections::HashMap, sync::Arc, time::Duration};

use actors::{
    ports::{Checkpoint, Topic, TopicPartition},
    runtime::reader::{Admission, ReaderPosition},
};
use schemas::{
    ChangeBody, CommandId, EntityKey, Kind, Outcome, OutcomeRecord, Verdict, codec,
    room::{Direction, LinkHealth, RoomChange, RoomCommand},
};
use tokio::time::{Instant, sleep};

use super::{
    Bridges, RunError, Task, json,
    keys::{self, At, LinkRow},
    outbound, typing,
};

/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(500);
/// A place that moved is saved after this.
const SAVE_AFTER: Duration = Duration::from_secs(1);

/// Watches a partition until the task is dropped.
pub(super) async fn run(bridges: Arc<Bridges>, partition: i32) {
    let _typing = Task(tokio::spawn(typing::run(bridges.clone(), partition)));
    loop {
        if let Err(error) = watch(&bridges, partition).await {
            tracing::warn!(partition, %error, "watching links starts anew");
        }
        sleep(PAUSE).await;
    }
}

struct Watcher<'a> {
    bridges: &'a Arc<Bridges>,
    partition: i32,
    links: HashMap<String, Task>,
}

async fn watch(bridges: &Arc<Bridges>, partition: i32) -> Result<(), RunError> {
    let mappings = &bridges.mappings;
    let mut watcher = Watcher { bridges, partition, links: HashMap::new() };
    for (_, value) in mappings.list(&keys::links_of_partition(partition)).await? {
        watcher.begin(serde_json::from_slice(&value)?);
    }
    let saved = mappings.get(&keys::watched(partition)).await?;
    let at = match saved {
        Some(value) => serde_json::from_slice::<At>(&value)?.checkpoint(),
        None => Checkpoint::START,
    };
    let of = TopicPartition::new(Topic::Outcomes(Kind::Room), partition);
    let mut reader = ReaderPosition::new(at);
    let mut tail = bridges.ports.log.tail(&of, at.offset).await?;
    let mut saved = Instant::now();
    loop {
        for record in tail.next().await? {
            let Ok(decoded) = codec::decode_outcome(Kind::Room, &record.value) else {
                reader.skip(record.offset);
                continue;
            };
            let admission = reader.admit(record.offset, &decoded, &bridges.guards);
            if let (Admission::Counts, OutcomeRecord::Outcome(outcome)) = (admission, decoded) {
                watcher.take(&outcome, reader.checkpoint()).await?;
            }
        }
        if saved.elapsed() > SAVE_AFTER {
            let at = json(&At::new(reader.checkpoint(), 0));
            mappings.write(vec![(keys::watched(partition), Some(at))], None).await?;
            saved = Instant::now();
        }
    }
}

impl Watcher<'_> {
    fn begin(&mut self, row: LinkRow) {
        if row.direction == Direction::In {
            return;
        }
        let name = keys::position(&row);
        let task = outbound::run(self.bridges.clone(), self.partition, row);
        self.links.insert(name, Task(tokio::spawn(task)));
    }

    async fn take(&mut self, outcome: &Outcome, at: Checkpoint) -> Result<(), RunError> {
        let (Some(room), Verdict::Accepted { changes, .. }, None) =
            (&outcome.key, &outcome.verdict, &outcome.repeats)
        else {
            return Ok(());
        };
        for change in changes {
            let ChangeBody::Room(change) = &change.body else { continue };
            if let RoomChange::LinkAdded { link, platform, workspace, channel, direction } = change
            {
                let row = LinkRow {
                    room: room.to_string(),
                    link: link.clone(),
                    platform: *platform,
                    workspace: workspace.clone(),
                    channel: channel.clone(),
                    direction: *direction,
                    since: Some(outcome.at),
                };
                self.add(row, at).await?;
            } else if let RoomChange::LinkRemoved { link } = change {
                self.remove(room, link.as_str(), at).await?;
            }
        }
        Ok(())
    }

    /// Again after a failure: where the link is already is not gone back on.
    async fn add(&mut self, row: LinkRow, at: Checkpoint) -> Result<(), RunError> {
        let name = keys::position(&row);
        if self.links.contains_key(&name) {
            return Ok(());
        }
        let Some(room) = row.room() else { return Ok(()) };
        if !self.bridges.settings.may_use(row.platform, &room.tenant) {
            return self.refuse(&row, &room).await;
        }
        let mut changes = vec![
            (keys::link_of_partition(self.partition, &row), Some(json(&row))),
            (keys::link_of_channel(&row), Some(json(&row))),
        ];
        if self.bridges.mappings.get(&name).await?.is_none() {
            changes.push((name, Some(json(&At::new(at, 0)))));
        }
        // Together with the place, so that nothing of this is done again.
        changes.push((keys::watched(self.partition), Some(json(&At::new(at, 0)))));
        self.bridges.mappings.write(changes, None).await?;
        self.begin(row);
        Ok(())
    }

    /// The bot belongs to other tenants, who would not have theirs read their channels.
    async fn refuse(&self, row: &LinkRow, room: &EntityKey) -> Result<(), RunError> {
        let body = RoomCommand::SetLinkHealth {
            link: row.link.clone(),
            health: LinkHealth::CredentialsRefused,
            reason: Some(format!("bridges.{}.tenants does not name this tenant", row.platform)),
        };
        let id = CommandId::derived(&format!("refused {}/{}", row.room, row.link));
        self.bridges.ask(row.platform, room, id, body).await?;
        Ok(())
    }

    async fn remove(
        &mut self,
        room: &EntityKey,
        link: &str,
        at: Checkpoint,
    ) -> Result<(), RunError> {
        let prefix = format!("{}{room}|{link}", keys::links_of_partition(self.partition));
        for (key, value) in self.bridges.mappings.list(&prefix).await? {
            let row: LinkRow = serde_json::from_slice(&value)?;
            self.links.remove(&keys::position(&row));
            let gone = [key, keys::link_of_channel(&row), keys::position(&row)];
            let place = (keys::watched(self.partition), Some(json(&At::new(at, 0))));
            let gone = gone.into_iter().map(|key| (key, None));
            let changes = gone.chain([place]).collect();
            self.bridges.mappings.write(changes, None).await?;
        }
        Ok(())
    }
}
