//! What happens to a channel and to who is in it: rooms are told who comes and goes and of titles,
//! links follow a channel that moves and say that it is gone.

use schemas::{
    CommandId, ItemId,
    content::{Node, NodeType},
    room::{Direction, LinkHealth, Origin, Platform, RoomCommand},
};

use super::{
    RunError,
    inbound::{Append, Happened},
    json,
    keys::{self, LinkRow},
};
use crate::{Author, Inbound, Names as _, Place, message::paragraph};

/// Something about a channel that is no message in it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Happening<'a> {
    /// Somebody came.
    Joined(&'a Author),
    /// Somebody left.
    Left(&'a Author),
    /// It has another title.
    Titled(&'a str),
    /// It has another id.
    Moved(&'a str),
    /// It is gone, or the bot is no longer in it.
    Gone,
}

/// What happened, if it is of this kind, and where.
pub(super) fn happening(inbound: &Inbound) -> Option<(&Place, Happening<'_>)> {
    match inbound {
        Inbound::Joined { place, author } => Some((place, Happening::Joined(author))),
        Inbound::Left { place, author } => Some((place, Happening::Left(author))),
        Inbound::Titled { place, title } => Some((place, Happening::Titled(title))),
        Inbound::Moved { place, to } => Some((place, Happening::Moved(to))),
        Inbound::Gone { place } => Some((place, Happening::Gone)),
        Inbound::Posted(_)
        | Inbound::Edited(_)
        | Inbound::Deleted { .. }
        | Inbound::Reacted { .. }
        | Inbound::Unreacted { .. }
        | Inbound::Reactions { .. }
        | Inbound::Pinned { .. }
        | Inbound::Unpinned { .. }
        | Inbound::Typing { .. }
        | Inbound::Asked { .. }
        | Inbound::Unsupported(_)
        | Inbound::Unreadable(_) => None,
    }
}

impl Happened<'_> {
    /// Does what follows from it.
    pub(super) async fn happen(
        &self,
        place: &Place,
        happening: Happening<'_>,
        appends: &mut Vec<Append>,
    ) -> Result<(), RunError> {
        match happening {
            Happening::Joined(author) => self.moved_about(place, author, "joined", appends).await,
            Happening::Left(author) => self.moved_about(place, author, "left", appends).await,
            Happening::Titled(title) => {
                // Discord says the title with every change of a channel, Slack says it twice.
                let key = keys::title(self.platform, place);
                if title.is_empty() || !self.is_news(key, title).await? {
                    return Ok(());
                }
                self.relay(place, format!("the title is now {title}"), appends).await
            }
            Happening::Moved(to) => self.follow(place, to, appends).await,
            Happening::Gone => {
                for row in self.links_of(place).await? {
                    let Some(room) = row.room() else { continue };
                    let reason = "the channel is gone, or the bot is no longer in it";
                    let body = RoomCommand::SetLinkHealth {
                        link: row.link.clone(),
                        health: LinkHealth::ChannelGone,
                        reason: Some(reason.to_owned()),
                    };
                    let id = CommandId::derived(&format!("{} gone {}", self.source, row.link));
                    appends.push(self.bridges.ask(self.platform, &room, id, body));
                }
                Ok(())
            }
        }
    }

    async fn moved_about(
        &self,
        place: &Place,
        author: &Author,
        what: &str,
        appends: &mut Vec<Append>,
    ) -> Result<(), RunError> {
        let bridges = self.bridges;
        if !bridges.settings.membership || author.is_bot {
            return Ok(());
        }
        if bridges.client.is_own(self.platform, &author.id).await == Some(true) {
            return Ok(());
        }
        // Slack says it twice, as an event and as a message; the others say it once, and not always
        // that somebody left.
        let is_said_twice = match self.platform {
            Platform::Slack => true,
            Platform::Teams | Platform::Discord | Platform::Telegram => false,
        };
        let key = keys::member(self.platform, place, &author.id);
        if is_said_twice && !self.is_news(key, what).await? {
            return Ok(());
        }
        let known = bridges.names(self.platform).here(&author.id);
        let name = match known {
            Some(name) => name,
            None => self.name(author).await,
        };
        self.relay(place, format!("{name} {what}"), appends).await
    }

    /// Whether this is not what another payload said last.
    async fn is_news(&self, key: String, what: &str) -> Result<bool, RunError> {
        let before = self.bridges.mappings.get(&key).await?;
        let before: Option<(String, String)> =
            before.map(|value| serde_json::from_slice(&value)).transpose()?;
        if let Some((known, source)) = before
            && known == what
        {
            return Ok(source == self.source);
        }
        self.bridges.mappings.write(vec![(key, Some(json(&(what, self.source))))], None).await?;
        Ok(true)
    }

    /// Tells the rooms in italics, in the name of the platform. There is no message there that could
    /// be answered.
    async fn relay(
        &self,
        place: &Place,
        sentence: String,
        appends: &mut Vec<Append>,
    ) -> Result<(), RunError> {
        let italics = Node::of(NodeType::Italic, vec![Node::text(sentence)]);
        let content = vec![paragraph(vec![italics])];
        for row in self.links_of(place).await? {
            let Some(room) = row.room().filter(|_| row.direction != Direction::Out) else {
                continue;
            };
            let id = CommandId::derived(&format!("{} {}", self.source, row.room));
            let body = RoomCommand::Relay {
                origin: Origin {
                    platform: self.platform.as_str().to_owned(),
                    workspace: place.workspace.clone(),
                    channel: place.channel.clone(),
                    message: String::new(),
                    author: self.platform.as_str().to_owned(),
                },
                content: content.clone(),
                message: Some(ItemId::derived(id)),
                reply_to: None,
                thread: None,
                attachments: None,
            };
            appends.push(self.bridges.ask(self.platform, &room, id, body));
        }
        Ok(())
    }

    /// Links the rooms to where the channel is now, from where their links are. The new link comes
    /// first: if this ends in between, it is done again, and the old link still says what to do.
    async fn follow(
        &self,
        place: &Place,
        to: &str,
        appends: &mut Vec<Append>,
    ) -> Result<(), RunError> {
        for row in self.links_of(place).await? {
            let Some(room) = row.room() else { continue };
            let id = CommandId::derived(&format!("{} follow {}", self.source, row.link));
            // A link is known by the command that makes it.
            let moved =
                LinkRow { link: ItemId::derived(id), channel: to.to_owned(), ..row.clone() };
            self.hand_over(&row, &moved).await?;
            let body = RoomCommand::Link {
                platform: self.platform,
                workspace: moved.workspace,
                channel: moved.channel,
                direction: Some(row.direction),
            };
            appends.push(self.bridges.ask(self.platform, &room, id, body));
            let body = RoomCommand::Unlink { link: row.link.clone() };
            let id = CommandId::derived(&format!("{} leave {}", self.source, row.link));
            appends.push(self.bridges.ask(self.platform, &room, id, body));
        }
        Ok(())
    }

    /// What the old link has not sent yet, the new one sends.
    async fn hand_over(&self, from: &LinkRow, to: &LinkRow) -> Result<(), RunError> {
        let mappings = &self.bridges.mappings;
        let key = keys::position(to);
        let (Some(at), None) =
            (mappings.get(&keys::position(from)).await?, mappings.get(&key).await?)
        else {
            return Ok(());
        };
        mappings.write(vec![(key, Some(at))], None).await?;
        Ok(())
    }
}
