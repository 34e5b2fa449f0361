//! `/link`, `/unlink` and `/links` from the platforms: who may, what is asked of the rooms, and what
//! the channel is told of it.
//!
//! What is asked goes out with ids that follow from the payload's, so the same again does no harm.

use std::{collections::BTreeSet, time::Duration};

use actors::{
    ports::{Topic, TopicPartition},
    runtime::partitioner::partition_of,
};
use schemas::{
    CommandId, EntityId, EntityKey, Kind, UserName,
    room::{Direction, Platform, RoomCommand},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    RunError,
    client::SendError,
    inbound::{Append, Happened},
    keys::{self, LinkRow},
    teller::Sent,
};
use crate::{Author, Inbound, Names as _, Place, codec::Call, message::words};

/// A platform must say within this whether somebody administers a channel.
const SAYS_WITHIN: Duration = Duration::from_secs(3);

/// What somebody asks of the bot.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    /// Link the channel to this room.
    Link(String),
    /// Unlink it from this room, or from all.
    Unlink(Option<String>),
    /// Say what it is linked to.
    List,
    /// It cannot be understood; this is how it is said.
    Unclear(&'static str),
}

/// Somebody who asks, where, and what.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    place: &'a Place,
    author: &'a Author,
    /// Whether the payload itself says that they administer the channel.
    is_admin: bool,
    /// The bot that the command names, where one must: `/link@switchyard_bot`.
    bot: Option<String>,
    wish: Wish,
}

/// What is asked, if anything is: by a command of the platform, or by a message where the platform
/// sends commands as messages.
pub(super) fn asked(platform: Platform, inbound: &Inbound) -> Option<Asked<'_>> {
    let (place, author, is_admin, text) = match (inbound, platform) {
        (Inbound::Asked { place, author, text, is_admin }, _) => {
            (place, author, *is_admin, text.clone())
        }
        (Inbound::Posted(said), Platform::Teams | Platform::Telegram) if !said.author.is_bot => {
            let text = words(&said.content);
            let command = text.trim().strip_prefix('/')?.to_owned();
            (&said.place, &said.author, false, command)
        }
        (_, Platform::Slack | Platform::Discord | Platform::Teams | Platform::Telegram) => {
            return None;
        }
    };
    let mut parts = text.split_whitespace();
    let first = parts.next()?;
    let (name, bot) = match first.split_once('@') {
        Some((name, bot)) => (name, Some(bot.to_owned())),
        None => (first, None),
    };
    let arguments: Vec<&str> = parts.collect();
    let room = arguments.first().map(|room| room.strip_prefix("room:").unwrap_or(room).to_owned());
    let wish = match (name, room, arguments.len()) {
        ("link", Some(room), 1) => Wish::Link(room),
        ("unlink", room, 0 | 1) => Wish::Unlink(room),
        ("links", None, _) => Wish::List,
        ("link", ..) => Wish::Unclear("/link ROOM links this channel to a room."),
        ("unlink", ..) => Wish::Unclear("/unlink ROOM, or /unlink for all rooms."),
        ("links", ..) => Wish::Unclear("/links says which rooms this channel is linked to."),
        // Other commands are other bots' affair.
        (_, _, _) => return None,
    };
    Some(Asked { place, author, is_admin, bot, wish })
}

/// Whether somebody may link a channel.
enum Right {
    May,
    MayNot(&'static str),
    /// It cannot be found out now.
    Unknown(String),
}

const FOR_ADMINS: &str = "Only those who administer this channel may do this.";
const FOR_NAMED: &str =
    "Only the admins whom the configuration names (bridges.admins) may do this.";

impl Happened<'_> {
    /// Does what is asked, if whoever asks may.
    pub(super) async fn do_asked(
        &self,
        asked: Asked<'_>,
        appends: &mut Vec<Append>,
    ) -> Result<(), RunError> {
        if let Some(bot) = &asked.bot
            && !self.is_our_bot(bot).await
        {
            return Ok(());
        }
        let place = asked.place;
        match self.right(place, asked.author, asked.is_admin).await {
            Right::May => {}
            Right::MayNot(reason) => return self.tell(place, reason.to_owned(), Vec::new()),
            Right::Unknown(reason) => {
                let text = format!("Whether you may cannot be found out now: {reason}");
                return self.tell(place, text, Vec::new());
            }
        }
        let rows = self.links_of(place).await?;
        match asked.wish {
            Wish::Unclear(usage) => self.tell(place, usage.to_owned(), Vec::new()),
            Wish::List => self.tell(place, described(&rows), Vec::new()),
            Wish::Link(room) => self.link(place, &room, &rows, appends).await,
            Wish::Unlink(room) => self.unlink(place, room.as_deref(), &rows, appends).await,
        }
    }

    async fn is_our_bot(&self, bot: &str) -> bool {
        let name = timeout(SAYS_WITHIN, self.bridges.client.bot_on_telegram()).await;
        name.ok().flatten().is_some_and(|name| name.eq_ignore_ascii_case(bot))
    }

    async fn right(&self, place: &Place, author: &Author, is_admin: bool) -> Right {
        let settings = &self.bridges.settings;
        let name = self.bridges.names(self.platform).here(&author.id);
        let name = name.and_then(|name| name.parse::<UserName>().ok());
        if name.is_some_and(|name| settings.admins.contains(&name)) {
            return Right::May;
        }
        if !settings.channel_admins.contains(&self.platform) {
            return Right::MayNot(FOR_NAMED);
        }
        let asked = match self.platform {
            Platform::Discord => Ok(is_admin),
            // It says nothing of this to bots.
            Platform::Teams => return Right::MayNot(FOR_NAMED),
            // Who stays anonymous speaks as the group, which only administrators can.
            Platform::Telegram if author.id == place.channel => Ok(true),
            Platform::Telegram => self.is_admin_on_telegram(place, author).await,
            Platform::Slack => self.is_admin_on_slack(author).await,
        };
        match asked {
            Ok(true) => Right::May,
            Ok(false) => Right::MayNot(FOR_ADMINS),
            Err(error) => Right::Unknown(error.to_string()),
        }
    }

    /// <https://core.telegram.org/bots/api#getchatmember>
    async fn is_admin_on_telegram(
        &self,
        place: &Place,
        author: &Author,
    ) -> Result<bool, SendError> {
        let body = json!({"chat_id": place.channel, "user_id": author.id.parse::<i64>().ok()});
        let call = Call::new("POST", "getChatMember".to_owned(), body);
        let body = within(self.bridges.client.answer_of_telegram(&call)).await?;
        let status = body["result"]["status"].as_str().unwrap_or_default();
        Ok(["creator", "administrator"].contains(&status))
    }

    /// <https://docs.slack.dev/reference/methods/users.info>
    async fn is_admin_on_slack(&self, author: &Author) -> Result<bool, SendError> {
        let body = within(self.bridges.client.user_of_slack(&author.id)).await?;
        match body["ok"].as_bool() {
            Some(true) => {}
            Some(false) | None => {
                let error = body["error"].as_str().unwrap_or("an answer that is none");
                return Err(SendError::Refused(error.to_owned()));
            }
        }
        let user = &body["user"];
        Ok(["is_admin", "is_owner", "is_primary_owner"].iter().any(|key| user[key] == true))
    }

    /// The links of a channel to rooms that it may be linked to.
    pub(super) async fn links_of(&self, place: &Place) -> Result<Vec<LinkRow>, RunError> {
        let mut rows = Vec::new();
        let prefix = keys::links_of_channel(self.platform, place);
        for (_, value) in self.bridges.mappings.list(&prefix).await? {
            let row: LinkRow = serde_json::from_slice(&value)?;
            let tenant = row.room().map(|room| room.tenant);
            if tenant.is_some_and(|it| self.bridges.settings.may_use(self.platform, &it)) {
                rows.push(row);
            }
        }
        Ok(rows)
    }

    async fn link(
        &self,
        place: &Place,
        id: &str,
        rows: &[LinkRow],
        appends: &mut Vec<Append>,
    ) -> Result<(), RunError> {
        let tenant = self.bridges.settings.tenants(self.platform).first();
        let (Some(tenant), Ok(room)) = (tenant, EntityId::new(Kind::Room, id)) else {
            return self.tell(place, format!("There is no room {id}."), Vec::new());
        };
        let room = EntityKey::new(tenant.clone(), room);
        if rows.iter().any(|row| row.room().as_ref() == Some(&room)) {
            let text = format!("This channel is linked to the room {id} already.");
            return self.tell(place, text, Vec::new());
        }
        let body = RoomCommand::Link {
            platform: self.platform,
            workspace: place.workspace.clone(),
            channel: place.channel.clone(),
            direction: Some(Direction::Both),
        };
        let done = format!("This channel is linked to the room {id} now.");
        let sent = self.send(&room, "link", body, done, appends).await?;
        self.tell(place, String::new(), vec![sent])
    }

    async fn unlink(
        &self,
        place: &Place,
        id: Option<&str>,
        rows: &[LinkRow],
        appends: &mut Vec<Append>,
    ) -> Result<(), RunError> {
        let mut sent = Vec::new();
        for row in rows {
            let Some(room) = row.room() else { continue };
            if id.is_some_and(|id| room.entity.id() != id) {
                continue;
            }
            let body = RoomCommand::Unlink { link: row.link.clone() };
            let done =
                format!("This channel is not linked to the room {} any more.", room.entity.id());
            let what = format!("unlink {}", row.link);
            sent.push(self.send(&room, &what, body, done, appends).await?);
        }
        let text = match (sent.is_empty(), id) {
            (true, Some(id)) => format!("This channel is not linked to a room {id}."),
            (true, None) => "This channel is linked to no room.".to_owned(),
            (false, _) => String::new(),
        };
        self.tell(place, text, sent)
    }

    async fn send(
        &self,
        room: &EntityKey,
        what: &str,
        body: RoomCommand,
        done: String,
        appends: &mut Vec<Append>,
    ) -> Result<Sent, RunError> {
        let log = &self.bridges.ports.log;
        let topic = Topic::Outcomes(Kind::Room);
        let partition = partition_of(room.to_string().as_bytes(), log.partitions(&topic));
        let of = TopicPartition::new(topic, partition);
        let from = log.bounds(&of).await?.end;
        let id = CommandId::derived(&format!("{} {what} {room}", self.source));
        appends.push(self.bridges.ask(self.platform, room, id, body));
        Ok(Sent { room: room.clone(), id, of, from, done })
    }
}

async fn within(
    answer: impl Future<Output = Result<Value, SendError>>,
) -> Result<Value, SendError> {
    let late = |_| SendError::Passing("the platform does not answer".to_owned());
    timeout(SAYS_WITHIN, answer).await.map_err(late)?
}

fn described(rows: &[LinkRow]) -> String {
    let of = |row: &LinkRow| {
        let way = match row.direction {
            Direction::Both => "",
            Direction::In => " (into the room)",
            Direction::Out => " (out of the room)",
        };
        Some(format!("{}{way}", row.room()?.entity.id()))
    };
    let rooms: BTreeSet<String> = rows.iter().filter_map(of).collect();
    if rooms.is_empty() {
        return "This channel is linked to no room.".to_owned();
    }
    let rooms: Vec<_> = rooms.into_iter().collect();
    format!("This channel is linked to: {}.", rooms.join(", "))
}

#[cfg(test)]
mod tests {
    use schemas::content::Node;

    use super::*;
    use crate::message::{Message, paragraph};

    fn said(text: &str) -> Inbound {
        let author = Author { id: "5".into(), name: "eve".into(), is_bot: false };
        Inbound::Posted(Message {
            id: "1".into(),
            place: Place::default(),
            author,
            content: vec![paragraph(vec![Node::text(text)])],
            reply_to: None,
            files: Vec::new(),
        })
    }

    fn wish(platform: Platform, text: &str) -> Option<(Option<String>, Wish)> {
        let inbound = said(text);
        asked(platform, &inbound).map(|asked| (asked.bot, asked.wish))
    }

    #[test]
    fn commands_in_messages_are_read_where_platforms_have_them_there() {
        let general = || Wish::Link("general".to_owned());
        assert_eq!(wish(Platform::Telegram, "/link general"), Some((None, general())));
        assert_eq!(wish(Platform::Teams, "  /link room:general "), Some((None, general())));
        let named = Some((Some("bot".to_owned()), Wish::Unlink(None)));
        assert_eq!(wish(Platform::Telegram, "/unlink@bot"), named);
        assert_eq!(wish(Platform::Telegram, "/links"), Some((None, Wish::List)));
        let unclear = wish(Platform::Telegram, "/link").map(|(_, wish)| wish);
        assert!(matches!(unclear, Some(Wish::Unclear(_))), "{unclear:?}");
        for (platform, text) in [
            (Platform::Telegram, "/start"),
            (Platform::Telegram, "link general"),
            (Platform::Telegram, "/linkage general"),
            (Platform::Slack, "/link general"),
            (Platform::Discord, "/link general"),
        ] {
            assert_eq!(wish(platform, text), None, "{platform} {text}");
        }
    }
}
