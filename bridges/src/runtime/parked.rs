//! What was said in channels that no room is linked to, as far as is known. A link counts from the answer
//! to its command, but it is served some milliseconds later, when the watcher of its room has read of it:
//! what is said between the two must not be lost. So it is looked at again for a while.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use actors::ports::Record;
use bytes::Bytes;
use schemas::Offset;
use tokio::time::Instant;

/// A watcher that is further behind than this is behind for other reasons.
const FOR: Duration = Duration::from_secs(2);
/// More of a partition are not kept; the oldest go first.
const MOST: usize = 10_000;

/// Records of one partition, in their order.
#[derive(Debug, Default)]
pub(super) struct Parked {
    records: VecDeque<(Record, Instant)>,
    /// By the key of their records.
    channels: HashMap<Bytes, Channel>,
}

/// A channel of which something is parked.
#[derive(Debug)]
struct Channel {
    /// Below which its links would stand.
    links: String,
    /// So many records.
    count: usize,
}

impl Parked {
    /// The pause after which they are looked at again.
    pub(super) const AGAIN: Duration = Duration::from_millis(100);

    /// Whether something of a channel is here, which what follows must not pass by.
    pub(super) fn holds(&self, channel: &[u8]) -> bool {
        self.channels.contains_key(channel)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The first of them, which a reader that begins anew must read again.
    pub(super) fn first(&self) -> Option<Offset> {
        self.records.front().map(|(record, _)| record.offset)
    }

    /// Keeps a record of a channel whose links would stand below `links`.
    pub(super) fn push(&mut self, record: Record, links: String, now: Instant) {
        if self.records.len() == MOST
            && let Some((oldest, _)) = self.records.pop_front()
        {
            self.forget(&oldest.key);
        }
        let channel = self.channels.entry(record.key.clone());
        channel.or_insert(Channel { links, count: 0 }).count += 1;
        self.records.push_back((record, now));
    }

    /// The channels, each once, and below which their links would stand.
    pub(super) fn channels(&self) -> Vec<(Bytes, String)> {
        self.channels.iter().map(|(key, channel)| (key.clone(), channel.links.clone())).collect()
    }

    /// Takes what was said in a channel.
    pub(super) fn take(&mut self, channel: &Bytes) -> Vec<Record> {
        self.channels.remove(channel);
        let (taken, rest) =
            self.records.drain(..).partition::<VecDeque<_>, _>(|(record, _)| record.key == channel);
        self.records = rest;
        taken.into_iter().map(|(record, _)| record).collect()
    }

    /// Gives up on what has been here for long enough.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((_, since)) = self.records.front()
            && now.duration_since(*since) > FOR
            && let Some((record, _)) = self.records.pop_front()
        {
            self.forget(&record.key);
        }
    }

    fn forget(&mut self, channel: &Bytes) {
        if let Some(known) = self.channels.get_mut(channel) {
            known.count -= 1;
            if known.count == 0 {
                self.channels.remove(channel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: Offset, channel: &str) -> Record {
        let key = Bytes::from(channel.to_owned());
        Record { offset, key, value: Bytes::new(), received: None, headers: Vec::new() }
    }

    fn offsets(records: &[Record]) -> Vec<Offset> {
        records.iter().map(|record| record.offset).collect()
    }

    #[test]
    fn a_channel_is_taken_in_order_and_the_others_stay() {
        let (mut parked, now) = (Parked::default(), Instant::now());
        for (offset, channel) in [(1, "a"), (2, "b"), (4, "a"), (5, "b")] {
            parked.push(record(offset, channel), format!("links of {channel}"), now);
        }
        assert_eq!(offsets(&parked.take(&Bytes::from_static(b"a"))), [1, 4]);
        assert!(!parked.holds(b"a") && parked.holds(b"b"));
        assert_eq!((parked.first(), parked.channels().len()), (Some(2), 1));
        assert_eq!(parked.channels()[0].1, "links of b");
    }

    #[test]
    fn what_is_here_for_long_goes() {
        let (mut parked, now) = (Parked::default(), Instant::now());
        parked.push(record(1, "a"), String::new(), now);
        parked.push(record(2, "a"), String::new(), now + FOR);
        parked.expire(now + FOR);
        assert_eq!(parked.first(), Some(1));
        parked.expire(now + FOR + Duration::from_millis(1));
        assert_eq!((parked.first(), parked.holds(b"a")), (Some(2), true));
        parked.expire(now + FOR * 3);
        assert!(parked.is_empty() && !parked.holds(b"a"));
    }

    #[test]
    fn it_is_bounded() {
        let (mut parked, now) = (Parked::default(), Instant::now());
        for offset in 0..MOST as Offset + 3 {
            let record = record(offset, &format!("{}", offset % 2));
            parked.push(record, String::new(), now);
        }
        assert_eq!((parked.records.len(), parked.first()), (MOST, Some(3)));
        assert_eq!(parked.channels.values().map(|channel| channel.count).sum::<usize>(), MOST);
    }
}
