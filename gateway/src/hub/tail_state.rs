//! The state of a running tail: its replica, who is interested, who waits.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use actors::runtime::{owner::LARGEST_RING, replica::Replica};
use bytes::Bytes;
use schemas::{Code, EntityKey, Offset, Seq};
use tokio::time::Instant;

use super::{
    ChangeJson, LONGEST_RESUME, Reader, ReplyTo, changes_json, no_such,
    request::{Joined, Request, SubscribeTo, View},
    write_array,
};
use crate::problem::Problem;

/// A partition that nobody is subscribed to or asks about for so long is followed no more.
const ABANDONED_AFTER: Duration = Duration::from_secs(60);
/// So long an outcome is kept that the store has; a little less than it takes to ask the store again.
const KEPT_STORED: Duration = Duration::from_millis(900);
/// Entities that nobody is subscribed to but that were read lately.
const LATELY_READ: usize = 512;

/// The state of a running tail.
pub(super) struct Tail {
    pub(super) replica: Replica,
    /// When it was last asked for something.
    pub(super) cared_at: Instant,
    /// How many sessions of each shard are at an entity.
    pub(super) interest: HashMap<EntityKey, Vec<u32>>,
    /// Who waits for the command at an offset.
    pub(super) waiting: BTreeMap<Offset, Vec<ReplyTo>>,
    /// Who waits for the tail to have read up to an offset.
    pub(super) later: BTreeMap<Offset, Vec<Request>>,
    /// Who waits for the store.
    pub(super) loading: HashMap<EntityKey, Vec<Request>>,
    /// The last JSON of an entity's state: many who join at once share it.
    pub(super) views: HashMap<EntityKey, View>,
    /// Whether the store is being asked what it has.
    pub(super) is_asking: bool,
    /// What the store had, and when.
    stored: (Instant, Offset),
}

impl Tail {
    pub(super) fn new(replica: Replica) -> Self {
        Self {
            replica,
            cared_at: Instant::now(),
            interest: HashMap::new(),
            waiting: BTreeMap::new(),
            later: BTreeMap::new(),
            loading: HashMap::new(),
            views: HashMap::new(),
            is_asking: false,
            stored: (Instant::now(), 0),
        }
    }

    /// Whether nobody has cared for it for a while.
    pub(super) fn is_abandoned(&self) -> bool {
        self.interest.is_empty()
            && self.waiting.is_empty()
            && self.later.is_empty()
            && self.loading.is_empty()
            && self.cared_at.elapsed() > ABANDONED_AFTER
    }

    /// The store has everything before `offset`. Its outcomes are kept a while longer: who waits for the
    /// outcome of a command asks for it once its append has ended, which may be after it is stored.
    /// Only where too many are held they go at once.
    pub(super) fn stored(&mut self, offset: Offset, now: Instant) {
        let (since, before) = self.stored;
        if now - since >= KEPT_STORED {
            self.replica.stored(before);
            self.stored = (now, offset);
        }
        if self.is_full() {
            self.replica.stored(offset);
            self.stored = (now, offset);
        }
    }

    /// Whether no more should be read before the store has more.
    pub(super) fn is_full(&self) -> bool {
        self.replica.held() >= LARGEST_RING
    }

    /// How many outcomes it has read that the store did not have when it was asked.
    pub(super) fn lag(&self) -> usize {
        self.replica.beyond(self.stored.1)
    }

    pub(super) fn readable(&self, key: &EntityKey, reader: &Reader) -> Result<(), Problem> {
        let entity = self.replica.get(key).filter(|entity| entity.aggregate.is_some());
        let entity = entity.ok_or_else(|| Problem::from(no_such(key)))?;
        if entity.may_read(reader.actor()) {
            Ok(())
        } else {
            Err(Problem::new(Code::Forbidden, format!("{} is not open to you", key.entity)))
        }
    }

    pub(super) fn view(&mut self, key: &EntityKey) -> View {
        let entity = self.replica.get(key);
        let seq = entity.map_or(0, |entity| entity.seq);
        if let Some(view) = self.views.get(key).filter(|view| view.seq == seq) {
            return view.clone();
        }
        let state = entity.map(actors::domain::entity::Entity::view).unwrap_or_default();
        let state = Bytes::from(serde_json::to_vec(&state).unwrap_or_default());
        let view = View { seq, state };
        self.views.insert(key.clone(), view.clone());
        view
    }

    pub(super) fn join(&mut self, key: &EntityKey, to: &SubscribeTo) -> Joined {
        let seq = self.replica.get(key).map_or(0, |entity| entity.seq);
        if let Some(since) = to.since
            && (0..=seq).contains(&since)
            && seq - since <= LONGEST_RESUME
        {
            match self.changes_after(key, since, seq, to.journal.as_deref()) {
                Some(changes) => {
                    let mut answer = format!(
                        "{{\"entity\":\"{}\",\"seq\":{seq},\"recovered\":true,\"changes\":",
                        key.entity
                    )
                    .into_bytes();
                    write_array(&mut answer, changes.iter().map(|change| &change.json[..]));
                    answer.push(b'}');
                    return Joined::Here { seq, answer: answer.into() };
                }
                None if to.journal.is_none() => return Joined::NeedsJournal,
                None => {}
            }
        }
        let view = self.view(key);
        let recovered = if to.since.is_some() { "\"recovered\":false," } else { "" };
        let mut answer =
            format!("{{\"entity\":\"{}\",\"seq\":{seq},{recovered}\"state\":", key.entity)
                .into_bytes();
        answer.extend_from_slice(&view.state);
        answer.push(b'}');
        Joined::Here { seq, answer: answer.into() }
    }

    /// Every change after `since` up to `seq`, or none if any is missing.
    fn changes_after(
        &self,
        key: &EntityKey,
        since: Seq,
        seq: Seq,
        journal: Option<&[ChangeJson]>,
    ) -> Option<Vec<ChangeJson>> {
        let mut changes: Vec<ChangeJson> = Vec::new();
        let mut next = since + 1;
        let recent = self.replica.recent(key, 0);
        let recent = recent.iter().flat_map(|counted| changes_json(&counted.outcome));
        for change in journal.unwrap_or_default().iter().cloned().chain(recent) {
            // The store may be ahead of this tail: what follows is pushed when the tail has it.
            if change.seq == next && change.seq <= seq {
                next += 1;
                changes.push(change);
            }
        }
        (next == seq + 1).then_some(changes)
    }

    pub(super) fn subscribe(&mut self, key: &EntityKey, shard: usize, shards: usize) {
        let counts = self.interest.entry(key.clone()).or_insert_with(|| vec![0; shards]);
        if let Some(count) = counts.get_mut(shard) {
            *count += 1;
        }
    }

    pub(super) fn unsubscribe(&mut self, key: &EntityKey, shard: usize) {
        let Some(counts) = self.interest.get_mut(key) else { return };
        if let Some(count) = counts.get_mut(shard) {
            *count = count.saturating_sub(1);
        }
        if counts.iter().all(|count| *count == 0) {
            self.interest.remove(key);
            self.replica.forget(key);
            self.views.remove(key);
        }
    }

    /// Bounds what was read without a subscription.
    pub(super) fn forget_lately_read(&mut self) {
        if self.views.len() > LATELY_READ + self.interest.len() {
            let idle: Vec<_> = self
                .views
                .keys()
                .filter(|key| !self.interest.contains_key(*key))
                .cloned()
                .collect();
            for key in idle {
                self.views.remove(&key);
                self.replica.forget(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actors::{
        ports::Checkpoint,
        runtime::{guards::Guards, replica::Answer},
    };
    use schemas::{CommandId, Fence, Kind, Outcome, Principal, Timestamp, Verdict, codec};

    use super::*;

    #[test]
    fn a_store_that_is_ahead_of_the_tail_does_not_break_a_resume() {
        let guards = Arc::new(Guards::default());
        let tail = Tail::new(Replica::new(Kind::Room, Checkpoint::START, guards));
        let key = "main/room:1".parse().unwrap();
        let change = |seq| ChangeJson { seq, json: Bytes::from_static(b"{}") };
        let journal = [change(1), change(2), change(3)];
        let resumed = tail.changes_after(&key, 0, 2, Some(&journal)).unwrap();
        assert_eq!(resumed.iter().map(|change| change.seq).collect::<Vec<_>>(), [1, 2]);
        assert!(tail.changes_after(&key, 0, 2, Some(&journal[1..])).is_none(), "1 is missing");
    }

    #[test]
    fn an_outcome_is_kept_for_who_asks_late() {
        let guards = Arc::new(Guards::default());
        let mut tail = Tail::new(Replica::new(Kind::Room, Checkpoint::START, guards));
        let fence = Fence { owner: "n1".to_owned(), at: Timestamp::default() };
        tail.replica.outcome(0, &codec::encode_fence(&fence).unwrap().into());
        for offset in 1..=3 {
            let outcome = Outcome {
                epoch: 0,
                command_offset: offset - 1,
                command_id: CommandId::derived(&offset.to_string()),
                key: Some("main/room:1".parse().unwrap()),
                at: Timestamp::default(),
                by: Principal::System,
                fingerprint: 0,
                repeats: None,
                wake_at: None,
                verdict: Verdict::Skipped { reason: "a test".to_owned() },
            };
            let value = codec::encode_outcome(Kind::Room, &outcome).unwrap();
            assert!(tail.replica.outcome(offset, &value.into()).is_some());
        }
        let is_here = |tail: &Tail, offset| matches!(tail.replica.answer(offset), Answer::Here(_));
        let later = |millis| Instant::now() + Duration::from_millis(millis);
        tail.stored(3, later(1_000));
        assert!(is_here(&tail, 0), "the store has it since a moment ago");
        assert_eq!(tail.lag(), 1);
        tail.stored(4, later(1_100));
        assert!(is_here(&tail, 0), "that was a moment later");
        tail.stored(4, later(2_000));
        assert!(!is_here(&tail, 1), "the store had it a second before");
        assert!(is_here(&tail, 2));
    }
}
