//! What happens in a room, to one channel: in order, each call until it is taken or cannot be.

mod delivery;

use std::{sync::Arc, time::Duration};

use actors::{
    ports::{Checkpoint, Expected, Topic, TopicPartition},
    runtime::reader::{Admission, ReaderPosition},
    trace,
};
use schemas::{
    ChangeBody, EntityKey, ItemId, Kind, Outcome, OutcomeRecord, Principal, Verdict,
    board::Attachment,
    codec,
    content::{Node, NodeType},
    room::{LinkHealth, Origin, Platform, RoomChange},
};
use tokio::time::{Instant, sleep};

use super::{
    Bridges, RunError,
    files::is_carried,
    json,
    keys::{self, At, Copy, LinkRow},
};
use crate::{
    capabilities::{Ability, support},
    card::picture,
    codec::{Call, IdError, Outgoing, render, telegram_target},
    discord, emoji,
    message::{Reaction, paragraph},
    slack, teams, telegram,
    upload::{upload, withdraw},
};

/// The pause after a failure of ours.
const PAUSE: Duration = Duration::from_millis(500);
/// A place that moved over what does not matter to this link is saved after this.
const SAVE_AFTER: Duration = Duration::from_secs(1);

/// Serves a link until the task is dropped.
pub(super) async fn run(bridges: Arc<Bridges>, partition: i32, row: LinkRow) {
    let Some(room) = row.room() else { return };
    loop {
        let mut link = Link {
            bridges: &bridges,
            row: &row,
            room: &room,
            health: None,
            said: 0,
            may_be_made: true,
            cause: None,
        };
        if let Err(error) = link.follow(partition).await {
            let (room, link) = (&row.room, &row.link);
            tracing::warn!(room, %link, %error, "a link starts anew");
        }
        sleep(PAUSE).await;
    }
}

struct Link<'a> {
    bridges: &'a Bridges,
    row: &'a LinkRow,
    room: &'a EntityKey,
    health: Option<LinkHealth>,
    /// How often its health was told, for command ids.
    said: u32,
    /// Whether the next call may have been made before: at the start, and when its answer was lost.
    may_be_made: bool,
    /// What caused the outcome that is sent, where that is traced.
    cause: Option<String>,
}

/// A change that the channel should see.
enum Action {
    /// These calls; those of a message say which it is.
    Calls(Vec<Call>, Option<Shown>),
    Nothing,
}

/// A message and the name that it is shown under.
struct Shown {
    message: ItemId,
    author: Option<String>,
    root: Option<String>,
    files: Vec<Attachment>,
    named: Vec<String>,
}

impl Link<'_> {
    async fn follow(&mut self, partition: i32) -> Result<(), RunError> {
        let bridges = self.bridges;
        let name = keys::position(self.row);
        let Some(saved) = bridges.mappings.get(&name).await? else {
            // It was removed meanwhile; the watcher ends this task.
            return Ok(());
        };
        let at: At = serde_json::from_slice(&saved)?;
        let mut saved = Expected { key: name, value: Some(saved) };
        let mut done = at.done;
        let mut reader = ReaderPosition::new(at.checkpoint());
        let of = TopicPartition::new(Topic::Outcomes(Kind::Room), partition);
        let mut tail = bridges.ports.log.tail(&of, at.checkpoint().offset).await?;
        let mut since = Instant::now();
        loop {
            for record in tail.next().await? {
                let Ok(decoded) = codec::decode_outcome(Kind::Room, &record.value) else {
                    reader.skip(record.offset);
                    continue;
                };
                let before = reader.checkpoint();
                let admission = reader.admit(record.offset, &decoded, &bridges.guards);
                let OutcomeRecord::Outcome(outcome) = decoded else { continue };
                if admission == Admission::Counts && outcome.key.as_ref() == Some(self.room) {
                    let at = Checkpoint { offset: record.offset, ..before };
                    self.cause = trace::cause(&record.headers).map(str::to_owned);
                    self.take(&outcome, at, done, &mut saved).await?;
                }
                done = 0;
            }
            if since.elapsed() > SAVE_AFTER {
                self.save(At::new(reader.checkpoint(), 0), Vec::new(), &mut saved).await?;
                since = Instant::now();
            }
        }
    }

    /// Saves the place with what was learnt, unless another node did meanwhile.
    async fn save(
        &self,
        at: At,
        mut changes: Vec<(String, Option<bytes::Bytes>)>,
        saved: &mut Expected,
    ) -> Result<(), RunError> {
        let value = json(&at);
        changes.push((saved.key.clone(), Some(value.clone())));
        if !self.bridges.mappings.write(changes, Some(saved.clone())).await? {
            return Err(RunError::Overtaken);
        }
        saved.value = Some(value);
        Ok(())
    }

    async fn take(
        &mut self,
        outcome: &Outcome,
        at: Checkpoint,
        done: usize,
        saved: &mut Expected,
    ) -> Result<(), RunError> {
        let (Verdict::Accepted { changes, .. }, None) = (&outcome.verdict, &outcome.repeats) else {
            return Ok(());
        };
        for (number, change) in changes.iter().enumerate().skip(done) {
            let ChangeBody::Room(change) = &change.body else { continue };
            if let RoomChange::LinkHealthChanged { link, health, .. } = change
                && *link == self.row.link
            {
                // Others tell it too; whatever a call shows after that is told again.
                self.health = Some(*health);
            }
            let mut learnt = Vec::new();
            let action = self.action(change, outcome, &mut learnt).await?;
            if let Action::Calls(calls, shown) = action {
                self.carry_out(calls, shown, &mut learnt).await?;
            }
            if !learnt.is_empty() {
                self.save(At::new(at, number + 1), learnt, saved).await?;
            }
        }
        Ok(())
    }

    async fn copy(&self, message: &ItemId) -> Result<Option<Copy>, RunError> {
        let found = self.bridges.mappings.get(&keys::copy(self.row, message)).await?;
        Ok(found.map(|value| serde_json::from_slice(&value)).transpose()?)
    }

    /// The platform's id of a message's first part.
    async fn id_there(&self, message: Option<&ItemId>) -> Result<Option<String>, RunError> {
        let Some(message) = message else { return Ok(None) };
        Ok(self.copy(message).await?.and_then(|copy| copy.ids.into_iter().next()))
    }

    fn is_native(&self, origin: &Origin) -> bool {
        let LinkRow { platform, workspace, channel, .. } = self.row;
        (origin.platform.as_str(), &origin.workspace, &origin.channel)
            == (platform.as_str(), workspace, channel)
    }

    /// What a change means here; what is learnt without a call is added to `learnt`.
    async fn action(
        &self,
        change: &RoomChange,
        outcome: &Outcome,
        learnt: &mut Vec<(String, Option<bytes::Bytes>)>,
    ) -> Result<Action, RunError> {
        let platform = self.row.platform;
        Ok(match change {
            RoomChange::MessagePosted {
                message,
                author,
                content,
                text,
                reply_to,
                thread,
                attachments,
                origin,
            } => {
                if let Some(origin) = origin.as_ref().filter(|origin| self.is_native(origin)) {
                    let copy = Copy {
                        // Who came or went is no message there.
                        ids: Vec::from_iter(
                            Some(origin.message.clone()).filter(|id| !id.is_empty()),
                        ),
                        native: true,
                        root: self.id_there(thread.as_ref()).await?,
                        ..Copy::default()
                    };
                    learnt.push((keys::copy(self.row, message), Some(json(&copy))));
                    return Ok(Action::Nothing);
                }
                let mut content = content.clone();
                if content.is_empty() && !text.is_empty() {
                    content.push(Node::of(NodeType::Paragraph, vec![Node::text(text)]));
                }
                let (ours, links): (Vec<_>, Vec<_>) =
                    attachments.iter().cloned().partition(is_carried);
                let (files, named) = self.bridges.to_carry(platform, &ours);
                content.extend(links.iter().map(file));
                content.extend(named.iter().map(|text| paragraph(vec![Node::text(text)])));
                let answered = match reply_to {
                    Some(answered) => self.copy(answered).await?.unwrap_or_default(),
                    None => Copy::default(),
                };
                let reply_to = answered.ids.into_iter().next();
                let opened = self.id_there(thread.as_ref()).await?;
                // Where answers are threads, an answer in one stays in it.
                let (reply_to, root) = if self.answers_in_threads() {
                    let root = opened.or(answered.root).or_else(|| reply_to.clone());
                    (reply_to, root)
                } else {
                    (reply_to.or(opened), None)
                };
                let outgoing = Outgoing {
                    author: Some(shown(author, origin.as_ref())),
                    content,
                    reply_to,
                    thread: root,
                    id: message.to_string(),
                    ..self.outgoing()
                };
                let mut action = self.rendered(&outgoing, message, (&links, &named));
                if let Action::Calls(calls, _) = &mut action {
                    for (number, file) in files.iter().enumerate() {
                        match upload(platform, &outgoing, number, file) {
                            Ok(call) => calls.push(call),
                            Err(error) => self.unwritable(&error),
                        }
                    }
                }
                action
            }
            RoomChange::MessageEdited { message, content, .. } => match self.copy(message).await? {
                Some(copy) if !copy.native => {
                    let outgoing = Outgoing {
                        author: copy.author,
                        content: content
                            .iter()
                            .cloned()
                            .chain(copy.files.iter().map(file))
                            .chain(copy.named.iter().map(|text| paragraph(vec![Node::text(text)])))
                            .collect(),
                        known: copy.ids,
                        thread: copy.root,
                        id: message.to_string(),
                        ..self.outgoing()
                    };
                    self.rendered(&outgoing, message, (&copy.files, &copy.named))
                }
                Some(_) | None => Action::Nothing,
            },
            RoomChange::MessageDeleted { message } => match self.copy(message).await? {
                Some(copy) if !copy.native => {
                    let mut calls = self.deletions(&copy.ids);
                    calls.extend(match platform {
                        Platform::Slack => copy.file_ids.iter().map(|id| withdraw(id)).collect(),
                        Platform::Teams | Platform::Discord | Platform::Telegram => {
                            self.deletions(&copy.file_ids)
                        }
                    });
                    Action::Calls(calls, None)
                }
                Some(_) | None => Action::Nothing,
            },
            RoomChange::ReactionAdded { message, emoji, user } => {
                self.reaction((message, emoji, user), outcome, Reaction::Added, learnt).await?
            }
            RoomChange::ReactionRemoved { message, emoji, user } => {
                self.reaction((message, emoji, user), outcome, Reaction::Removed, learnt).await?
            }
            RoomChange::MessagePinned { message } => self.pin(message, outcome, true).await?,
            RoomChange::MessageUnpinned { message } => self.pin(message, outcome, false).await?,
            RoomChange::RoomCreated { .. }
            | RoomChange::RoomUpdated { .. }
            | RoomChange::ReadMoved { .. }
            | RoomChange::JoinRequested { .. }
            | RoomChange::MemberSet { .. }
            | RoomChange::MemberRemoved { .. }
            | RoomChange::MemberMuted { .. }
            | RoomChange::MemberUnmuted { .. }
            | RoomChange::MemberBanned { .. }
            | RoomChange::MemberUnbanned { .. }
            | RoomChange::SlowModeSet { .. }
            | RoomChange::WordFilterSet { .. }
            | RoomChange::LinkAdded { .. }
            | RoomChange::LinkRemoved { .. }
            | RoomChange::LinkHealthChanged { .. } => Action::Nothing,
        })
    }

    fn outgoing(&self) -> Outgoing {
        Outgoing { channel: self.row.channel.clone(), ..Outgoing::default() }
    }

    fn rendered(
        &self,
        outgoing: &Outgoing,
        message: &ItemId,
        (files, named): (&[Attachment], &[String]),
    ) -> Action {
        let platform = self.row.platform;
        let shown = Shown {
            message: message.clone(),
            author: outgoing.author.clone(),
            root: outgoing.thread.clone(),
            files: files.to_vec(),
            named: named.to_vec(),
        };
        match render(platform, outgoing, &self.bridges.names(platform)) {
            Ok(calls) => Action::Calls(calls, Some(shown)),
            Err(error) => {
                self.unwritable(&error);
                Action::Nothing
            }
        }
    }

    fn unwritable(&self, error: &IdError) {
        tracing::warn!(link = %self.row.link, %error, "a message cannot be written");
    }

    fn deletions(&self, ids: &[String]) -> Vec<Call> {
        let channel = self.row.channel.as_str();
        match self.row.platform {
            Platform::Slack => {
                ids.iter().map(|id| Call::from(slack::delete(channel, id))).collect()
            }
            Platform::Teams => {
                let target = teams::Target { channel, thread: None };
                ids.iter().map(|id| Call::from(teams::delete(target, id))).collect()
            }
            Platform::Discord => {
                let target = discord::Target { channel, webhook: None, thread: None };
                ids.iter().map(|id| Call::from(discord::delete(target, id))).collect()
            }
            Platform::Telegram => {
                let numbers: Vec<i64> = ids.iter().filter_map(|id| id.parse().ok()).collect();
                let Ok(target) = telegram_target(channel, None) else { return Vec::new() };
                telegram::delete(target, &numbers).into_iter().map(Call::from).collect()
            }
        }
    }

    /// The bot reacts once for all who reacted elsewhere, and takes it back with the last of them.
    async fn reaction(
        &self,
        (message, reacted, user): (&ItemId, &str, &str),
        outcome: &Outcome,
        change: Reaction,
        learnt: &mut Vec<(String, Option<bytes::Bytes>)>,
    ) -> Result<Action, RunError> {
        if self.is_ours(outcome) || !self.takes(Ability::Reactions) {
            return Ok(Action::Nothing);
        }
        let Some(mut copy) = self.copy(message).await? else { return Ok(Action::Nothing) };
        let Some(id) = copy.ids.first().cloned() else { return Ok(Action::Nothing) };
        let users = copy.reactions.entry(reacted.to_owned()).or_default();
        let before = users.len();
        users.retain(|other| other != user);
        if change == Reaction::Added {
            users.push(user.to_owned());
        }
        let is_changed = (before == 0) != users.is_empty() || (before > 0 && users.is_empty());
        copy.reactions.retain(|_, users| !users.is_empty());
        learnt.push((keys::copy(self.row, message), Some(json(&copy))));
        if !is_changed {
            return Ok(Action::Nothing);
        }
        let channel = self.row.channel.as_str();
        let call = match self.row.platform {
            Platform::Slack => {
                Some(slack::react(channel, &id, &emoji::shortcode(reacted), change).into())
            }
            Platform::Discord => {
                Some(discord::react(channel, &id, &emoji::character(reacted), change).into())
            }
            Platform::Telegram => {
                // A bot has one reaction a message: the newest, or one of those that are left.
                let left = match change {
                    Reaction::Added => Some(reacted),
                    Reaction::Removed => copy.reactions.keys().next().map(String::as_str),
                };
                let target = telegram_target(channel, None).ok();
                let id = id.parse().ok();
                target.zip(id).map(|(target, id)| {
                    telegram::react(target, id, left.map(emoji::character).as_deref()).into()
                })
            }
            // `support` says so.
            Platform::Teams => None,
        };
        Ok(call.map_or(Action::Nothing, |call| Action::Calls(vec![call], None)))
    }

    async fn pin(
        &self,
        message: &ItemId,
        outcome: &Outcome,
        is_pinned: bool,
    ) -> Result<Action, RunError> {
        if self.is_ours(outcome) || !self.takes(Ability::Pins) {
            return Ok(Action::Nothing);
        }
        let Some(id) = self.id_there(Some(message)).await? else { return Ok(Action::Nothing) };
        let channel = &self.row.channel;
        let call = match self.row.platform {
            Platform::Slack => Some(Call::new(
                "POST",
                if is_pinned { "pins.add" } else { "pins.remove" }.to_owned(),
                serde_json::json!({"channel": channel, "timestamp": id}),
            )),
            Platform::Discord => Some(Call::new(
                if is_pinned { "PUT" } else { "DELETE" },
                format!("/channels/{channel}/messages/pins/{id}"),
                serde_json::Value::Null,
            )),
            Platform::Telegram => id.parse::<i64>().ok().map(|id| {
                let method = if is_pinned { "pinChatMessage" } else { "unpinChatMessage" };
                let body = serde_json::json!({"chat_id": channel, "message_id": id,
                    "disable_notification": true});
                Call::new("POST", method.to_owned(), body)
            }),
            // `support` says so.
            Platform::Teams => None,
        };
        Ok(call.map_or(Action::Nothing, |call| Action::Calls(vec![call], None)))
    }

    /// Whether an answer there is a message in a thread.
    fn answers_in_threads(&self) -> bool {
        match self.row.platform {
            Platform::Slack => true,
            // Channels of teams have threads, chats of a group have none.
            Platform::Teams => self.row.channel.ends_with("@thread.tacv2"),
            Platform::Discord | Platform::Telegram => false,
        }
    }

    fn takes(&self, ability: Ability) -> bool {
        support(self.row.platform, ability).goes_out()
    }

    /// Whether this platform's own bridge asked for it: then the channel has it already.
    fn is_ours(&self, outcome: &Outcome) -> bool {
        matches!(&outcome.by, Principal::Bridge(name) if name.as_str() == self.row.platform.as_str())
    }
}

/// Under which name a message is shown elsewhere.
fn shown(author: &str, origin: Option<&Origin>) -> String {
    match origin {
        Some(origin) => origin.author.clone(),
        None => author.split_once(':').map_or(author, |(_, name)| name).to_owned(),
    }
}

/// A file as a link to it.
fn file(attachment: &Attachment) -> Node {
    picture(&attachment.url, &attachment.name)
}
