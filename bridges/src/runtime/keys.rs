//! The names under which the bridges keep what they know, and what is kept.

use actors::ports::Checkpoint;
use schemas::{
    EntityKey, ItemId, Timestamp,
    board::Attachment,
    room::{Direction, Platform},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Place;

/// A link, as its room has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct LinkRow {
    pub(super) room: String,
    pub(super) link: ItemId,
    pub(super) platform: Platform,
    pub(super) workspace: String,
    pub(super) channel: String,
    pub(super) direction: Direction,
    /// When the room was asked for it.
    #[serde(default)]
    pub(super) since: Option<Timestamp>,
}

impl LinkRow {
    pub(super) fn room(&self) -> Option<EntityKey> {
        self.room.parse().ok()
    }
}

/// How far a reader of outcomes is, and how many changes of the outcome there are done.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct At {
    epoch: Option<i64>,
    offset: i64,
    last_command_offset: i64,
    #[serde(default)]
    pub(super) done: usize,
}

impl At {
    pub(super) fn new(at: Checkpoint, done: usize) -> Self {
        Self {
            epoch: at.epoch,
            offset: at.offset,
            last_command_offset: at.last_command_offset,
            done,
        }
    }

    pub(super) fn checkpoint(self) -> Checkpoint {
        Checkpoint {
            epoch: self.epoch,
            offset: self.offset,
            last_command_offset: self.last_command_offset,
        }
    }
}

/// What a message of a room is in a channel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Copy {
    /// Its parts there, in order.
    pub(super) ids: Vec<String>,
    /// The files that came with it, as they are known there.
    #[serde(default)]
    pub(super) file_ids: Vec<String>,
    /// Whether it was said there first.
    pub(super) native: bool,
    /// The name that it is shown under there.
    #[serde(default)]
    pub(super) author: Option<String>,
    /// The message that opens the thread which it stands in there.
    #[serde(default)]
    pub(super) root: Option<String>,
    /// Links to what came with it, which edits do not say again.
    #[serde(default)]
    pub(super) files: Vec<Attachment>,
    /// What is said of files that could not be brought there, which edits do not say again either.
    #[serde(default)]
    pub(super) named: Vec<String>,
    /// Who of the room reacted, by emoji.
    #[serde(default)]
    pub(super) reactions: std::collections::BTreeMap<String, Vec<String>>,
}

/// What a message of a channel is in a room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Sent {
    pub(super) room: String,
    pub(super) message: ItemId,
}

/// A call that was given up, as its dead letter holds it. No payload of a platform can be read as one:
/// what has these fields and no others is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unsent {
    pub(super) call: Value,
    pub(super) row: LinkRow,
    /// The message that it is a part of.
    pub(super) message: Option<ItemId>,
}

pub(super) fn links_of_partition(partition: i32) -> String {
    format!("link|{partition:05}|")
}

pub(super) fn link_of_partition(partition: i32, row: &LinkRow) -> String {
    format!("{}{}|{}", links_of_partition(partition), row.room, row.link)
}

pub(super) fn links_of_channel(platform: Platform, place: &Place) -> String {
    format!("channel|{platform}|{}|{}|", place.workspace, place.channel)
}

pub(super) fn link_of_channel(row: &LinkRow) -> String {
    let LinkRow { room, link, platform, workspace, channel, .. } = row;
    format!("channel|{platform}|{workspace}|{channel}|{room}|{link}")
}

pub(super) fn position(row: &LinkRow) -> String {
    format!("at|{}|{}", row.room, row.link)
}

pub(super) fn watched(partition: i32) -> String {
    format!("watched|{partition:05}")
}

pub(super) fn read(partition: i32) -> String {
    format!("read|{partition:05}")
}

pub(super) fn copy(row: &LinkRow, message: &ItemId) -> String {
    format!("copy|{}|{}|{message}", row.room, row.link)
}

/// What a bot sent, whichever room it came from.
pub(super) fn sent(platform: Platform, workspace: &str, channel: &str, id: &str) -> String {
    format!("sent|{platform}|{workspace}|{channel}|{id}")
}

/// What somebody's reactions to a message were, where a platform says only what they are.
pub(super) fn reactions(platform: Platform, place: &Place, id: &str, author: &str) -> String {
    let Place { workspace, channel, .. } = place;
    format!("reactions|{platform}|{workspace}|{channel}|{id}|{author}")
}

/// Whether somebody came to a channel or left it last, and by which payload.
pub(super) fn member(platform: Platform, place: &Place, author: &str) -> String {
    format!("member|{platform}|{}|{}|{author}", place.workspace, place.channel)
}

/// The title of a channel, and by which payload.
pub(super) fn title(platform: Platform, place: &Place) -> String {
    format!("title|{platform}|{}|{}", place.workspace, place.channel)
}

/// Before the names of identities.
pub(super) const IDENTITIES: &str = "identity|";
/// How many edits identities have seen, so that none is made on what another has changed.
pub(super) const IDENTITY_EDITS: &str = "identities";

/// Who a user of a platform is here.
pub(super) fn identity(platform: Platform, user: &str) -> String {
    format!("{IDENTITIES}{platform}|{user}")
}

/// The platform and the user that an identity is about.
pub(super) fn identity_of(key: &str) -> Option<(Platform, &str)> {
    let (platform, user) = key.strip_prefix(IDENTITIES)?.split_once('|')?;
    Some((platform.parse().ok()?, user))
}

/// How somebody of a platform is shown in reactions.
pub(super) fn reactor(platform: Platform, author: &str) -> String {
    format!("reactor|{platform}|{author}")
}

/// Where answers to a conversation of Teams go.
pub(super) fn service_url(channel: &str) -> String {
    format!("teams|{channel}")
}

/// That a dead letter was sent again.
pub(super) fn resent(letter: &str) -> String {
    format!("resent|{letter}")
}

/// A file that can be had from a node.
pub(super) fn file(key: &str) -> String {
    format!("file|{key}")
}
