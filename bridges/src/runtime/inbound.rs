//! What platforms sent, from `bridge.inbound` to the rooms that are linked.

use std::{collections::HashMap, sync::Arc, time::Duration};

use actors::{
    ports::{LogError, Record, Topic, TopicPartition},
    runtime::forwarder::RETRY_HEADER,
    span, trace,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use schemas::{
    CommandId, ItemId, Offset, Timestamp,
    board::Attachment,
    content::Node,
    room::{Direction, Origin, Platform, RoomCommand},
};
use tokio::time::{Instant, sleep, timeout};
use tracing::Instrument as _;

use super::{
    Bridges, RunError, Task,
    arrival::{self, ID, PLATFORM, WEBHOOK, header},
    asked, discord_gateway,
    files::Carried,
    happenings, json,
    keys::{self, LinkRow, Sent},
    parked::Parked,
    slack_socket, telegram_polling, unsent,
    webhooks::Sender,
};
use crate::{
    Author, Inbound, Names, Place,
    codec::parse,
    message::{Known, Message, paragraph},
    slack,
};

/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) type Append = BoxFuture<'static, Result<Offset, LogError>>;

/// Whether a room is linked to where something happened.
#[derive(Debug, PartialEq, Eq)]
enum Reach {
    /// One is, or none need be.
    Linked,
    /// None is, as far as is known; links would stand below this.
    Unlinked(String),
}

/// When a record is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// In the order of the log.
    First,
    /// Something of its channel is parked, so what is said there waits behind it.
    Behind,
    /// It was parked, and there is a link now.
    Again,
}

/// Reads a partition until the task is dropped.
pub(super) async fn run(bridges: Arc<Bridges>, partition: i32) {
    // Whoever has the first partition holds what a token may have only one of.
    let _held = (partition == 0).then(|| {
        [
            Task(tokio::spawn(discord_gateway::run(bridges.clone()))),
            Task(tokio::spawn(slack_socket::run(bridges.clone()))),
            Task(tokio::spawn(telegram_polling::run(bridges.clone()))),
        ]
    });
    loop {
        if let Err(error) = read(&bridges, partition).await {
            tracing::warn!(partition, %error, "reading what platforms sent starts anew");
        }
        sleep(PAUSE).await;
    }
}

async fn read(bridges: &Arc<Bridges>, partition: i32) -> Result<(), RunError> {
    let name = keys::read(partition);
    let mut next = match bridges.mappings.get(&name).await? {
        Some(value) => serde_json::from_slice(&value)?,
        None => 0,
    };
    let of = TopicPartition::new(Topic::Inbound, partition);
    let mut tail = bridges.ports.log.tail(&of, next).await?;
    let mut parked = Parked::default();
    loop {
        let again_within = match parked.is_empty() {
            true => Duration::MAX,
            false => Parked::AGAIN,
        };
        let records = match timeout(again_within, tail.next()).await {
            Ok(records) => records?,
            Err(_) => Vec::new(),
        };
        let mut appends = Vec::new();
        for (channel, links) in parked.channels() {
            // One look for all of a channel, or one of them could pass by another.
            if bridges.mappings.list(&links).await?.is_empty() {
                continue;
            }
            for record in parked.take(&channel) {
                take(bridges, &of, &record, Turn::Again, &mut appends).await?;
            }
        }
        parked.expire(Instant::now());
        for record in &records {
            let turn = match parked.holds(&record.key) {
                true => Turn::Behind,
                false => Turn::First,
            };
            let reach = take(bridges, &of, record, turn, &mut appends).await?;
            if let Reach::Unlinked(links) = reach {
                parked.push(record.clone(), links, Instant::now());
            }
        }
        settle(&mut appends).await?;
        if let Some(last) = records.last() {
            let read = last.offset + 1;
            next = parked.first().map_or(read, |first| first.min(read));
            bridges.mappings.write(vec![(name.clone(), Some(json(&next)))], None).await?;
        }
    }
}

/// Whose word a record is. What was in `dlq` does not say any more how it had come.
fn sender_of(record: &Record, platform: Platform) -> Sender {
    let is_retried = header(record, RETRY_HEADER).is_some() && platform == Platform::Teams;
    match header(record, WEBHOOK).is_some() || is_retried {
        true => Sender::Webhook,
        false => Sender::Platform,
    }
}

/// Waits until commands are durable.
async fn settle(appends: &mut Vec<Append>) -> Result<(), RunError> {
    for append in appends.drain(..) {
        append.await?;
    }
    Ok(())
}

async fn take(
    bridges: &Arc<Bridges>,
    of: &TopicPartition,
    record: &Record,
    turn: Turn,
    appends: &mut Vec<Append>,
) -> Result<Reach, RunError> {
    let span = span!("receive", trace::cause(&record.headers), topic = %of, offset = record.offset);
    take_one(bridges, of, record, turn, appends).instrument(span).await
}

async fn take_one(
    bridges: &Arc<Bridges>,
    of: &TopicPartition,
    record: &Record,
    turn: Turn,
    appends: &mut Vec<Append>,
) -> Result<Reach, RunError> {
    let key = String::from_utf8_lossy(&record.key).into_owned();
    let platform = header(record, PLATFORM).or_else(|| key.split(':').next());
    let Some(platform) = platform.and_then(|name| name.parse::<Platform>().ok()) else {
        appends.push(dead(bridges, of, record, "names no platform"));
        return Ok(Reach::Linked);
    };
    // Nobody but `dlq retry` puts this into the log: what platforms send is appended without.
    if header(record, RETRY_HEADER).is_some()
        && let Ok(given_up) = serde_json::from_slice(&record.value)
    {
        let letter = header(record, RETRY_HEADER).unwrap_or_default();
        unsent::again(bridges, &given_up, letter, appends).await?;
        return Ok(Reach::Linked);
    }
    let known = &bridges.names(platform);
    let shown = match platform {
        Platform::Slack => shown_on_slack(bridges, &record.value, known).await,
        Platform::Teams | Platform::Discord | Platform::Telegram => HashMap::new(),
    };
    let payload = match parse(platform, &record.value, &Known { names: known, shown }) {
        Ok(payload) => payload,
        Err(error) => {
            appends.push(dead(bridges, of, record, &error.to_string()));
            return Ok(Reach::Linked);
        }
    };
    let source = match payload.id.as_deref().or_else(|| header(record, ID)) {
        Some(id) => format!("{key} {id}"),
        None => format!("{of}/{}", record.offset),
    };
    let mut reach = Reach::Linked;
    for (number, inbound) in payload.inbound.iter().enumerate() {
        if let Inbound::Unreadable(reason) = inbound {
            appends.push(dead(bridges, of, record, reason));
            continue;
        }
        if !matches!(inbound, Inbound::Posted(_)) {
            // What follows a message must not be refused because its post was not taken: that answer
            // would stand for when it comes again.
            settle(appends).await?;
        }
        let source = format!("{source}/{number}");
        let sender = sender_of(record, platform);
        let service_url = payload.service_url.as_deref();
        let service_url = service_url.filter(|_| sender == Sender::Platform);
        let came_at = arrival::came_at(record);
        let happened =
            Happened { bridges, platform, source: &source, service_url, sender, turn, came_at };
        let reached = happened.take(inbound, appends).await?;
        if reach == Reach::Linked {
            reach = reached;
        }
    }
    Ok(reach)
}

/// How people see those whom a payload of Slack mentions: it says their ids only.
async fn shown_on_slack(
    bridges: &Bridges,
    payload: &[u8],
    known: &impl Names,
) -> HashMap<String, String> {
    let mut shown = HashMap::new();
    for id in slack::mentioned(payload) {
        if known.here(&id).is_none()
            && let Some(name) = bridges.client.name_on_slack(&id).await
        {
            shown.insert(id, name);
        }
    }
    shown
}

fn dead(bridges: &Bridges, of: &TopicPartition, record: &Record, reason: &str) -> Append {
    let received = (record.key.clone(), record.value.clone());
    let now = bridges.ports.clock.now();
    let letter = actors::runtime::dead_letter::letter(of, record.offset, received, reason, now);
    bridges.ports.log.append(&TopicPartition::new(Topic::Dlq, 0), letter)
}

/// What a message says here, and what came with it.
struct Said {
    content: Vec<Node>,
    attachments: Vec<Attachment>,
}

/// One thing that happened on a platform.
pub(super) struct Happened<'a> {
    pub(super) bridges: &'a Arc<Bridges>,
    pub(super) platform: Platform,
    /// What its commands' ids follow from.
    pub(super) source: &'a str,
    /// Where answers go, at Teams.
    pub(super) service_url: Option<&'a str>,
    /// Whose word it is.
    pub(super) sender: Sender,
    turn: Turn,
    /// When the platform said it.
    came_at: Option<Timestamp>,
}

impl Happened<'_> {
    async fn take(&self, inbound: &Inbound, appends: &mut Vec<Append>) -> Result<Reach, RunError> {
        let Some(place) = place_of(inbound) else { return Ok(Reach::Linked) };
        if self.sender == Sender::Webhook {
            // Outgoing webhooks say nothing but messages; whoever knows their key could.
            return match matches!(inbound, Inbound::Posted(_)) {
                true => self.to_rooms(inbound, place, appends).await,
                false => Ok(Reach::Linked),
            };
        }
        if let Some(url) = self.service_url {
            self.bridges.remember_service_url(place, url).await?;
        }
        if let Some(asked) = asked::asked(self.platform, inbound) {
            self.do_asked(asked, appends).await?;
            return Ok(Reach::Linked);
        }
        if let Some((place, happening)) = happenings::happening(inbound) {
            self.happen(place, happening, appends).await?;
            return Ok(Reach::Linked);
        }
        if let Inbound::Reactions { place, message, author, emoji } = inbound
            && self.turn != Turn::Behind
        {
            let key = keys::reactions(self.platform, place, message, &author.id);
            return self.reactions((place, message, author), emoji, key, appends).await;
        }
        self.to_rooms(inbound, place, appends).await
    }

    async fn to_rooms(
        &self,
        inbound: &Inbound,
        place: &Place,
        appends: &mut Vec<Append>,
    ) -> Result<Reach, RunError> {
        let links = keys::links_of_channel(self.platform, place);
        if self.turn == Turn::Behind {
            return Ok(Reach::Unlinked(links));
        }
        let rows = self.bridges.mappings.list(&links).await?;
        if rows.is_empty() {
            return Ok(Reach::Unlinked(links));
        }
        for (_, value) in rows {
            let row: LinkRow = serde_json::from_slice(&value)?;
            let Some(room) = row.room().filter(|_| row.direction != Direction::Out) else {
                continue;
            };
            if !self.bridges.settings.may_use(self.platform, &room.tenant) {
                continue;
            }
            if self.turn == Turn::Again && self.came_at < row.since {
                // It was said before the link was asked for.
                continue;
            }
            if let Some(body) = self.command(inbound, place, &row).await? {
                let id = CommandId::derived(&format!("{} {}", self.source, row.room));
                appends.push(self.bridges.ask(self.platform, &room, id, body));
            }
        }
        Ok(Reach::Linked)
    }

    /// Reactions as they are now, as what came and what went.
    async fn reactions(
        &self,
        (place, message, author): (&Place, &str, &Author),
        now: &[String],
        key: String,
        appends: &mut Vec<Append>,
    ) -> Result<Reach, RunError> {
        let before: Vec<String> = match self.bridges.mappings.get(&key).await? {
            Some(value) => serde_json::from_slice(&value)?,
            None => Vec::new(),
        };
        let gone = before.iter().filter(|emoji| !now.contains(emoji)).map(|emoji| (emoji, false));
        let new = now.iter().filter(|emoji| !before.contains(emoji)).map(|emoji| (emoji, true));
        for (number, (emoji, is_new)) in gone.chain(new).enumerate() {
            let (place, message, emoji) = (place.clone(), message.to_owned(), emoji.clone());
            let author = author.clone();
            let one = match is_new {
                true => Inbound::Reacted { place, message, author, emoji },
                false => Inbound::Unreacted { place, message, author, emoji },
            };
            let source = format!("{}/{number}", self.source);
            let happened = Happened { source: &source, ..*self };
            let reach = Box::pin(happened.take(&one, appends)).await?;
            if reach != Reach::Linked {
                return Ok(reach);
            }
        }
        // What they were is forgotten only when what they are is durable.
        settle(appends).await?;
        let value = (!now.is_empty()).then(|| json(&now));
        self.bridges.mappings.write(vec![(key, value)], None).await?;
        Ok(Reach::Linked)
    }

    async fn sent(&self, place: &Place, id: &str) -> Result<Option<Sent>, RunError> {
        let key = keys::sent(self.platform, &place.workspace, &place.channel, id);
        let found = self.bridges.mappings.get(&key).await?;
        Ok(found.map(|value| serde_json::from_slice(&value)).transpose()?)
    }

    /// What a platform's message is in a room: what we sent, or what was said there and has its id
    /// from that.
    async fn message(&self, place: &Place, id: &str, row: &LinkRow) -> Result<ItemId, RunError> {
        match self.sent(place, id).await? {
            Some(sent) if sent.room == row.room => Ok(sent.message),
            Some(_) | None => Ok(self.native(place, id)),
        }
    }

    fn native(&self, place: &Place, id: &str) -> ItemId {
        let Place { workspace, channel, .. } = place;
        ItemId::derived(CommandId::derived(&format!(
            "message {}:{workspace}:{channel} {id}",
            self.platform
        )))
    }

    async fn command(
        &self,
        inbound: &Inbound,
        place: &Place,
        row: &LinkRow,
    ) -> Result<Option<RoomCommand>, RunError> {
        if let Some(author) = reactor_of(inbound)
            && self.bridges.client.is_own(self.platform, &author.id).await == Some(true)
        {
            // What the bot did for somebody elsewhere comes back.
            return Ok(None);
        }
        Ok(match inbound {
            Inbound::Posted(said) => self.posted(said, row).await?,
            Inbound::Edited(said) => {
                if self.sent(place, &said.id).await?.is_some() {
                    return Ok(None);
                }
                let Said { content, .. } = self.said(said).await?;
                (!content.is_empty()).then(|| RoomCommand::Edit {
                    message: self.native(place, &said.id),
                    text: None,
                    content: Some(content),
                })
            }
            Inbound::Deleted { message, .. } => match self.sent(place, message).await? {
                // A copy that is taken away there is still said here.
                Some(_) => None,
                None => Some(RoomCommand::Delete { message: self.native(place, message) }),
            },
            Inbound::Reacted { message, emoji, author, .. } => Some(RoomCommand::RelayReact {
                message: self.message(place, message, row).await?,
                emoji: crate::emoji::character(emoji),
                user: self.reactor(author).await?,
            }),
            Inbound::Unreacted { message, emoji, author, .. } => Some(RoomCommand::RelayUnreact {
                message: self.message(place, message, row).await?,
                emoji: crate::emoji::character(emoji),
                user: self.reactor(author).await?,
            }),
            Inbound::Pinned { message, .. } => {
                Some(RoomCommand::Pin { message: self.message(place, message, row).await? })
            }
            Inbound::Unpinned { message, .. } => {
                Some(RoomCommand::Unpin { message: self.message(place, message, row).await? })
            }
            Inbound::Reactions { .. }
            | Inbound::Joined { .. }
            | Inbound::Left { .. }
            | Inbound::Titled { .. }
            | Inbound::Moved { .. }
            | Inbound::Gone { .. }
            | Inbound::Typing { .. }
            | Inbound::Asked { .. }
            | Inbound::Unsupported(_)
            | Inbound::Unreadable(_) => None,
        })
    }

    /// How somebody of the platform is shown in reactions: always as at the first, so that what is
    /// taken back is found, whatever the platform says about them then.
    async fn reactor(&self, author: &Author) -> Result<String, RunError> {
        if let Some(known) = self.bridges.names(self.platform).here(&author.id) {
            return Ok(known);
        }
        let key = keys::reactor(self.platform, &author.id);
        if let Some(value) = self.bridges.mappings.get(&key).await? {
            return Ok(String::from_utf8_lossy(&value).into_owned());
        }
        let shown = format!("{}:{}", self.platform, self.name(author).await);
        let value = Bytes::from(shown.clone());
        self.bridges.mappings.write(vec![(key, Some(value))], None).await?;
        Ok(shown)
    }

    /// The name that people see there.
    pub(super) async fn name(&self, author: &Author) -> String {
        let says_id_only = self.platform == Platform::Slack && author.name == author.id;
        let asked = match says_id_only && !author.is_bot {
            true => self.bridges.client.name_on_slack(&author.id).await,
            false => None,
        };
        asked.unwrap_or_else(|| author.name.clone())
    }

    /// What a message says, with the names of files that cannot be had; those that can are kept.
    async fn said(&self, message: &Message) -> Result<Said, RunError> {
        let mut content = message.content.clone();
        let mut attachments = Vec::new();
        let mut kept = Vec::new();
        for file in &message.files {
            match self.bridges.carried(self.platform, file, self.service_url) {
                Carried::Kept(..) if self.sender == Sender::Webhook => {
                    content.push(paragraph(vec![Node::text(format!("[file {}]", file.name))]));
                }
                Carried::Kept(attachment, key, file) => {
                    attachments.push(attachment);
                    kept.push((keys::file(&key), Some(json(&file))));
                }
                Carried::Linked(attachment) => attachments.push(attachment),
                Carried::Named(text) => content.push(paragraph(vec![Node::text(text)])),
            }
        }
        if content.is_empty() && !attachments.is_empty() {
            let names: Vec<_> = attachments.iter().map(|file| file.name.as_str()).collect();
            content.push(paragraph(vec![Node::text(names.join(", "))]));
        }
        if !kept.is_empty() {
            self.bridges.mappings.write(kept, None).await?;
        }
        Ok(Said { content, attachments })
    }

    async fn posted(&self, said: &Message, row: &LinkRow) -> Result<Option<RoomCommand>, RunError> {
        let place = &said.place;
        // Ours comes back from the platform.
        let is_own = self.bridges.client.is_own(self.platform, &said.author.id).await;
        let is_ours = match is_own {
            Some(is_own) => is_own || self.sent(place, &said.id).await?.is_some(),
            // What another bot says must not be lost, nor what ours said be said again.
            None if said.author.is_bot => return Err(RunError::Unknown(self.platform)),
            None => self.sent(place, &said.id).await?.is_some(),
        };
        if is_ours {
            return Ok(None);
        }
        let Said { content, attachments } = self.said(said).await?;
        if content.is_empty() {
            return Ok(None);
        }
        let reply_to = match &said.reply_to {
            Some(id) => Some(self.message(place, id, row).await?),
            None => None,
        };
        let thread = match (&place.thread, self.platform) {
            (Some(id), Platform::Slack | Platform::Teams) => {
                Some(self.message(place, id, row).await?)
            }
            (Some(_) | None, _) => None,
        };
        Ok(Some(RoomCommand::Relay {
            origin: Origin {
                platform: self.platform.as_str().to_owned(),
                workspace: place.workspace.clone(),
                channel: place.channel.clone(),
                message: said.id.clone(),
                author: self.name(&said.author).await,
            },
            content,
            message: Some(self.native(place, &said.id)),
            reply_to,
            thread,
            attachments: (!attachments.is_empty()).then_some(attachments),
        }))
    }
}

/// Where something happened.
pub(super) fn place_of(inbound: &Inbound) -> Option<&Place> {
    match inbound {
        Inbound::Posted(said) | Inbound::Edited(said) => Some(&said.place),
        Inbound::Deleted { place, .. }
        | Inbound::Titled { place, .. }
        | Inbound::Moved { place, .. }
        | Inbound::Gone { place }
        | Inbound::Reacted { place, .. }
        | Inbound::Unreacted { place, .. }
        | Inbound::Reactions { place, .. }
        | Inbound::Pinned { place, .. }
        | Inbound::Unpinned { place, .. }
        | Inbound::Joined { place, .. }
        | Inbound::Left { place, .. }
        | Inbound::Typing { place, .. }
        | Inbound::Asked { place, .. } => Some(place),
        Inbound::Unsupported(_) | Inbound::Unreadable(_) => None,
    }
}

/// Who reacted or pinned, which bots do too.
fn reactor_of(inbound: &Inbound) -> Option<&Author> {
    match inbound {
        Inbound::Reacted { author, .. }
        | Inbound::Unreacted { author, .. }
        | Inbound::Pinned { author, .. }
        | Inbound::Unpinned { author, .. } => Some(author),
        Inbound::Posted(_)
        | Inbound::Edited(_)
        | Inbound::Deleted { .. }
        | Inbound::Reactions { .. }
        | Inbound::Joined { .. }
        | Inbound::Left { .. }
        | Inbound::Titled { .. }
        | Inbound::Moved { .. }
        | Inbound::Gone { .. }
        | Inbound::Typing { .. }
        | Inbound::Asked { .. }
        | Inbound::Unsupported(_)
        | Inbound::Unreadable(_) => None,
    }
}
