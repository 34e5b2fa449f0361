//! What each change does to a room. Nothing here can fail: what does not fit changes nothing.

use schemas::{
    ItemId, UserName,
    room::{LinkHealth, RoomChange, RoomFields},
};

use super::{
    links::Link,
    state::{Marked, Reading, Room},
    timeline::{Message, Said},
};
use crate::domain::Meta;

impl Room {
    /// Takes over one change. Infallible: a change that does not fit the state changes nothing.
    pub fn apply(&mut self, change: &RoomChange, meta: &Meta<'_>) {
        match change {
            RoomChange::RoomCreated { .. } => {}
            RoomChange::RoomUpdated { fields } => self.update(fields),
            RoomChange::MessagePosted {
                message,
                author,
                text,
                content,
                reply_to,
                thread,
                attachments,
                origin,
            } => {
                let (text, content) = (text.clone(), content.clone());
                self.timeline.push(Message {
                    id: message.clone(),
                    author: author.clone(),
                    at: meta.at,
                    said: Some(Said { text, content, attachments: attachments.clone() }),
                    reply_to: reply_to.clone(),
                    thread: thread.clone(),
                    edited_at: None,
                    reactions: Default::default(),
                    origin: origin.clone(),
                });
                if let Some(user) = meta.by.user() {
                    self.slow.posted(user, meta.at);
                }
            }
            RoomChange::MessageEdited { message, text, content } => {
                if let Some(message) = self.timeline.whole_mut(message)
                    && let Some(said) = &mut message.said
                {
                    said.text.clone_from(text);
                    said.content.clone_from(content);
                    message.edited_at = Some(meta.at);
                }
            }
            RoomChange::MessageDeleted { message } => self.timeline.delete(message),
            RoomChange::ReactionAdded { message, emoji, user } => {
                self.add_reaction(message, emoji, user);
            }
            RoomChange::ReactionRemoved { message, emoji, user } => {
                self.remove_reaction(message, emoji, user);
            }
            RoomChange::MessagePinned { message } => {
                if !self.pins.contains(message) {
                    self.pins.push(message.clone());
                }
            }
            RoomChange::MessageUnpinned { message } => self.pins.retain(|pin| pin != message),
            RoomChange::ReadMoved { user, message } => self.move_reading(user, message),
            RoomChange::JoinRequested { user } => {
                if !self.requests.contains(user) {
                    self.requests.push(user.clone());
                }
            }
            RoomChange::MemberSet { user, role } => {
                self.access.members.insert(user.clone(), *role);
                self.requests.retain(|other| other != user);
                let from = self.timeline.newest();
                self.readings.entry(user.clone()).or_insert(Reading { from, marked: None });
            }
            RoomChange::MemberRemoved { user } => self.remove(user),
            RoomChange::MemberMuted { user, until } => {
                self.muted.insert(user.clone(), *until);
            }
            RoomChange::MemberUnmuted { user } => {
                self.muted.remove(user);
            }
            RoomChange::MemberBanned { user } => {
                self.remove(user);
                self.banned.insert(user.clone());
            }
            RoomChange::MemberUnbanned { user } => {
                self.banned.remove(user);
            }
            RoomChange::SlowModeSet { seconds } => self.slow.set(*seconds),
            RoomChange::WordFilterSet { words } => self.word_filter.clone_from(words),
            RoomChange::LinkAdded { link, platform, workspace, channel, direction } => {
                self.links.push(Link {
                    id: link.clone(),
                    platform: *platform,
                    workspace: workspace.clone(),
                    channel: channel.clone(),
                    direction: *direction,
                    health: LinkHealth::Unknown,
                    reason: None,
                });
            }
            RoomChange::LinkRemoved { link } => self.links.retain(|known| known.id != *link),
            RoomChange::LinkHealthChanged { link, health, reason } => {
                if let Some(known) = self.links.iter_mut().find(|known| known.id == *link) {
                    known.health = *health;
                    known.reason.clone_from(reason);
                }
            }
        }
    }

    fn update(&mut self, fields: &RoomFields) {
        if let Some(title) = fields.title.as_set() {
            self.title.clone_from(title);
        }
        fields.topic.apply_to(&mut self.topic);
        if let Some(access) = fields.access.as_set() {
            self.joining = *access;
        }
        if let Some(tenant_role) = fields.tenant_role.as_set() {
            self.access.tenant_role = *tenant_role;
        }
    }

    fn add_reaction(&mut self, message: &ItemId, emoji: &str, user: &str) {
        let Some(message) = self.timeline.whole_mut(message) else { return };
        let users = message.reactions.entry(emoji.to_owned()).or_default();
        if !users.iter().any(|other| other == user) {
            users.push(user.to_owned());
        }
    }

    fn remove_reaction(&mut self, message: &ItemId, emoji: &str, user: &str) {
        let Some(message) = self.timeline.whole_mut(message) else { return };
        let Some(users) = message.reactions.get_mut(emoji) else { return };
        users.retain(|other| other != user);
        if users.is_empty() {
            message.reactions.remove(emoji);
        }
    }

    fn move_reading(&mut self, user: &UserName, message: &ItemId) {
        let Some(number) = self.timeline.number(message) else { return };
        let marked = Some(Marked { message: message.clone(), number });
        let reading = self.readings.entry(user.clone());
        reading.or_insert(Reading { from: 0, marked: None }).marked = marked;
    }

    /// Takes membership, a request for it, and the read position. A mute stays, so that leaving
    /// and coming back does not end it.
    fn remove(&mut self, user: &UserName) {
        self.access.members.remove(user);
        self.requests.retain(|other| other != user);
        self.readings.remove(user);
    }
}
