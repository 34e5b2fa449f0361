//! The messages that a room remembers: the newest whole, those before in outline.

use std::collections::{BTreeMap, VecDeque};

use schemas::{ItemId, Timestamp, board::Attachment, content::Node, room::Origin};
use serde::{Deserialize, Serialize};

/// How many messages are kept whole.
pub(super) const WHOLE_MOST: usize = 200;
/// Of how many messages before those the outline is kept.
pub(super) const OLDER_MOST: usize = 2_000;

/// What a message says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) content: Vec<Node>,
    pub(super) attachments: Vec<Attachment>,
}

/// A message, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) id: ItemId,
    /// The principal who wrote it.
    pub(super) author: String,
    pub(super) at: Timestamp,
    /// Nothing once it is deleted.
    pub(super) said: Option<Said>,
    pub(super) reply_to: Option<ItemId>,
    pub(super) thread: Option<ItemId>,
    pub(super) edited_at: Option<Timestamp>,
    /// Users by emoji, in the order of reacting; no emoji without users.
    pub(super) reactions: BTreeMap<String, Vec<String>>,
    pub(super) origin: Option<Origin>,
}

/// What is kept of a message that is not kept whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Older {
    pub(super) id: ItemId,
    pub(super) author: String,
    /// Kept because a thread may not be opened inside a thread.
    pub(super) thread: Option<ItemId>,
    pub(super) deleted: bool,
}

/// A message that the room remembers, as far as it does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known<'a> {
    Whole(&'a Message),
    Older(&'a Older),
}

impl Known<'_> {
    pub(super) fn author(&self) -> &str {
        match self {
            Self::Whole(message) => &message.author,
            Self::Older(older) => &older.author,
        }
    }

    pub(super) fn thread(&self) -> Option<&ItemId> {
        match self {
            Self::Whole(message) => message.thread.as_ref(),
            Self::Older(older) => older.thread.as_ref(),
        }
    }

    pub(super) fn is_deleted(&self) -> bool {
        match self {
            Self::Whole(message) => message.said.is_none(),
            Self::Older(older) => older.deleted,
        }
    }
}

/// The remembered messages in their order. Each has a number, counted from 1 since the room
/// began, which never changes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "Kept")]
pub(super) struct Timeline {
    /// How many messages there have been: the newest one's number.
    posted: i64,
    older: VecDeque<Older>,
    whole: VecDeque<Message>,
    /// Follows from the rest and is rebuilt on reading a snapshot.
    #[serde(skip_serializing)]
    numbers: BTreeMap<ItemId, i64>,
}

/// A timeline as snapshots have it.
#[derive(Deserialize)]
struct Kept {
    posted: i64,
    older: VecDeque<Older>,
    whole: VecDeque<Message>,
}

impl From<Kept> for Timeline {
    fn from(Kept { posted, older, whole }: Kept) -> Self {
        let mut timeline = Self { posted, older, whole, numbers: BTreeMap::new() };
        let ids = timeline.older.iter().map(|older| &older.id);
        let ids = ids.chain(timeline.whole.iter().map(|message| &message.id));
        timeline.numbers = ids.cloned().zip(timeline.oldest()..).collect();
        timeline
    }
}

impl Timeline {
    /// The newest message's number; 0 if there has been none.
    pub(super) fn newest(&self) -> i64 {
        self.posted
    }

    /// The number of the oldest message that is remembered.
    fn oldest(&self) -> i64 {
        let kept = i64::try_from(self.older.len() + self.whole.len()).unwrap_or(i64::MAX);
        self.posted.saturating_sub(kept).saturating_add(1)
    }

    /// The number of a remembered message.
    pub(super) fn number(&self, id: &ItemId) -> Option<i64> {
        self.numbers.get(id).copied()
    }

    /// The place of a remembered message in `older` followed by `whole`.
    fn place(&self, id: &ItemId) -> Option<usize> {
        usize::try_from(self.number(id)? - self.oldest()).ok()
    }

    /// A remembered message.
    pub(super) fn get(&self, id: &ItemId) -> Option<Known<'_>> {
        let place = self.place(id)?;
        match place.checked_sub(self.older.len()) {
            Some(place) => self.whole.get(place).map(Known::Whole),
            None => self.older.get(place).map(Known::Older),
        }
    }

    /// A message to change, if it is kept whole.
    pub(super) fn whole_mut(&mut self, id: &ItemId) -> Option<&mut Message> {
        let place = self.place(id)?.checked_sub(self.older.len())?;
        self.whole.get_mut(place)
    }

    /// The whole messages, oldest first.
    pub(super) fn whole(&self) -> &VecDeque<Message> {
        &self.whole
    }

    /// All remembered messages with their numbers, newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = (i64, Known<'_>)> {
        let whole = self.whole.iter().rev().map(Known::Whole);
        let older = self.older.iter().rev().map(Known::Older);
        (self.oldest()..=self.posted).rev().zip(whole.chain(older))
    }

    /// Adds the newest message and forgets what is beyond the bounds. A known id changes
    /// nothing.
    pub(super) fn push(&mut self, message: Message) {
        if self.numbers.contains_key(&message.id) {
            return;
        }
        self.posted += 1;
        self.numbers.insert(message.id.clone(), self.posted);
        self.whole.push_back(message);
        if self.whole.len() > WHOLE_MOST
            && let Some(Message { id, author, thread, said, .. }) = self.whole.pop_front()
        {
            self.older.push_back(Older { id, author, thread, deleted: said.is_none() });
        }
        if self.older.len() > OLDER_MOST
            && let Some(forgotten) = self.older.pop_front()
        {
            self.numbers.remove(&forgotten.id);
        }
    }

    /// Takes a message's words and reactions; its place stays.
    pub(super) fn delete(&mut self, id: &ItemId) {
        let Some(place) = self.place(id) else { return };
        match place.checked_sub(self.older.len()) {
            Some(whole) => {
                if let Some(message) = self.whole.get_mut(whole) {
                    message.said = None;
                    message.reactions.clear();
                }
            }
            None => {
                if let Some(older) = self.older.get_mut(place) {
                    older.deleted = true;
                }
            }
        }
    }

    /// Panics unless index and lists agree.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert!(self.whole.len() <= WHOLE_MOST && self.older.len() <= OLDER_MOST);
        assert_eq!(self.numbers.len(), self.whole.len() + self.older.len());
        for (number, known) in self.newest_first() {
            let id = match known {
                Known::Whole(message) => &message.id,
                Known::Older(older) => &older.id,
            };
            assert_eq!(self.number(id), Some(number));
        }
    }
}
