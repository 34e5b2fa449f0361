//! A room's state as clients see it (PROTOCOL.md).

use std::collections::BTreeMap;

use schemas::{
    Principal, UserName,
    content::{self, Node},
};
use serde_json::{Map, Value, json};

use super::{
    state::Room,
    text::has_broadcast,
    timeline::{Known, Message},
};

/// What is unread up to some message, walking back from the newest.
#[derive(Default)]
struct Tally<'a> {
    messages: i64,
    by_author: BTreeMap<&'a str, i64>,
    /// Messages that mention everybody, and those by each author.
    broadcasts: i64,
    broadcasts_by_author: BTreeMap<&'a str, i64>,
    /// Messages that mention a user by name, broadcasts and the user's own left out.
    mentions: BTreeMap<&'a str, i64>,
}

impl<'a> Tally<'a> {
    fn add(&mut self, known: Known<'a>) {
        if known.is_deleted() {
            return;
        }
        self.messages += 1;
        *self.by_author.entry(author_of(known)).or_default() += 1;
        let Known::Whole(Message { author, said: Some(said), .. }) = known else { return };
        self.add_mentions(author, &said.content);
    }

    fn add_mentions(&mut self, author: &'a str, content: &'a [Node]) {
        if has_broadcast(content) {
            self.broadcasts += 1;
            *self.broadcasts_by_author.entry(author).or_default() += 1;
            return;
        }
        for user in content::mentions(content) {
            if author.strip_prefix("user:") != Some(user) {
                *self.mentions.entry(user).or_default() += 1;
            }
        }
    }

    fn of(&self, user: &UserName) -> Value {
        let author = Principal::User(user.clone()).to_string();
        let own = self.by_author.get(author.as_str()).copied().unwrap_or(0);
        let own_broadcasts = self.broadcasts_by_author.get(author.as_str()).copied().unwrap_or(0);
        let named = self.mentions.get(user.as_str()).copied().unwrap_or(0);
        json!({
            "messages": self.messages - own,
            "mentions": named + self.broadcasts - own_broadcasts,
        })
    }
}

fn author_of(known: Known<'_>) -> &str {
    match known {
        Known::Whole(message) => &message.author,
        Known::Older(older) => &older.author,
    }
}

impl Room {
    /// The fields of PROTOCOL.md's state except `entity` and `seq`; every field is always there.
    pub fn view(&self) -> Map<String, Value> {
        let messages: Vec<Value> = self.timeline.whole().iter().map(view_message).collect();
        let reads: Map<String, Value> = self
            .readings
            .iter()
            .filter_map(|(user, reading)| {
                let marked = reading.marked.as_ref()?;
                Some((user.to_string(), json!(marked.message)))
            })
            .collect();
        let fields = [
            ("title", json!(self.title)),
            ("topic", json!(self.topic)),
            ("createdAt", json!(self.created_at)),
            ("createdBy", json!(self.access.created_by)),
            ("access", json!(self.joining)),
            ("tenantRole", json!(self.access.tenant_role)),
            ("members", json!(self.access.members)),
            ("requests", json!(self.requests)),
            ("messages", Value::Array(messages)),
            ("pins", json!(self.pins)),
            ("reads", Value::Object(reads)),
            ("unread", Value::Object(self.unread())),
            ("muted", json!(self.muted)),
            ("banned", json!(self.banned)),
            ("slowMode", json!(self.slow.seconds())),
            ("wordFilter", json!(self.word_filter)),
            ("links", json!(self.links)),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Unread messages and mentions of everybody with a read position: other people's messages
    /// after it that are not deleted. Messages are counted as far back as they are remembered,
    /// mentions among those kept whole. One walk for all readers.
    fn unread(&self) -> Map<String, Value> {
        let mut readers: Vec<_> =
            self.readings.iter().map(|(user, reading)| (reading.reached(), user)).collect();
        readers.sort_by_key(|(reached, _)| std::cmp::Reverse(*reached));
        let mut readers = readers.into_iter().peekable();
        let mut tally = Tally::default();
        let mut counted: BTreeMap<&UserName, Value> = BTreeMap::new();
        for (number, known) in self.timeline.newest_first() {
            while let Some((_, user)) = readers.next_if(|(reached, _)| *reached >= number) {
                counted.insert(user, tally.of(user));
            }
            tally.add(known);
        }
        for (_, user) in readers {
            counted.insert(user, tally.of(user));
        }
        counted.into_iter().map(|(user, value)| (user.to_string(), value)).collect()
    }
}

fn view_message(message: &Message) -> Value {
    let said = message.said.as_ref();
    json!({
        "id": message.id,
        "author": message.author,
        "at": message.at,
        "text": said.map(|said| &said.text),
        "content": said.map(|said| &said.content),
        "replyTo": message.reply_to,
        "thread": message.thread,
        "editedAt": message.edited_at,
        "deleted": said.is_none(),
        "reactions": message.reactions,
        "attachments": said.map(|said| said.attachments.as_slice()).unwrap_or_default(),
        "origin": message.origin,
    })
}
