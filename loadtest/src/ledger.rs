//! Loss accounting of one subscriber. The server promises every change of an entity in order,
//! without gap and without repeat, starting after the seq that `join` answered; the ledger holds
//! it to that.
//!
//! A gap that is filled later counts as reordered, one that stays open as lost, and a seq that was
//! already seen as a duplicate. Each broken promise is counted once.

/// What a subscriber has seen of one entity.
#[derive(Debug, Clone)]
pub struct Ledger {
    next: u64,
    /// Ranges `[from, to)` that were skipped, ascending. At most one a change received.
    open: Vec<(u64, u64)>,
    duplicates: u64,
    reordered: u64,
}

/// Whether a change was seen for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It was, in order or late.
    New,
    /// It was seen before.
    Again,
}

/// What the ledger found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Findings {
    /// Changes that never came.
    pub lost: u64,
    /// Changes that came more than once.
    pub duplicate: u64,
    /// Changes that came after a later one.
    pub reordered: u64,
}

impl Findings {
    /// Adds another subscriber's findings.
    pub fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.duplicate += other.duplicate;
        self.reordered += other.reordered;
    }
}

impl Ledger {
    /// A subscriber that joined at `seq`: the next change is `seq + 1`.
    pub fn joined_at(seq: u64) -> Self {
        Self { next: seq + 1, open: Vec::new(), duplicates: 0, reordered: 0 }
    }

    /// Takes note of a change with this seq.
    pub fn observe(&mut self, seq: u64) -> Seen {
        if seq < self.next {
            return self.observe_late(seq);
        }
        if seq > self.next {
            self.open.push((self.next, seq));
        }
        self.next = seq + 1;
        Seen::New
    }

    fn observe_late(&mut self, seq: u64) -> Seen {
        let index = self.open.partition_point(|&(_, to)| to <= seq);
        let Some(&(from, to)) = self.open.get(index).filter(|&&(from, _)| from <= seq) else {
            self.duplicates += 1;
            return Seen::Again;
        };
        self.reordered += 1;
        let rest = [(from, seq), (seq + 1, to)];
        self.open.splice(index..=index, rest.into_iter().filter(|&(from, to)| from < to));
        Seen::New
    }

    /// What a subscriber that was away asks for: everything after this seq.
    pub fn last_seq(&self) -> u64 {
        self.next - 1
    }

    /// The server gave the state at `seq` in place of the changes up to there, as it may.
    pub fn restore(&mut self, seq: u64) {
        self.next = self.next.max(seq + 1);
    }

    /// Whether everything up to and including `seq` was seen.
    pub fn has_all_up_to(&self, seq: u64) -> bool {
        self.next > seq && self.open.first().is_none_or(|&(from, _)| from > seq)
    }

    /// The sum, when the entity's last change is known to be `last`: what is missing at the end
    /// is lost as well.
    pub fn close(&self, last: u64) -> Findings {
        let inside: u64 = self.open.iter().map(|&(from, to)| to - from).sum();
        let missing_at_end = (last + 1).saturating_sub(self.next);
        Findings {
            lost: inside + missing_at_end,
            duplicate: self.duplicates,
            reordered: self.reordered,
        }
    }

    /// The sum of what came before the socket was closed: nothing is expected after it.
    pub fn close_early(&self) -> Findings {
        self.close(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seqs: &[u64], last: u64) -> Findings {
        let mut ledger = Ledger::joined_at(10);
        for &seq in seqs {
            ledger.observe(seq);
        }
        ledger.close(last)
    }

    #[test]
    fn an_honest_stream_has_no_findings() {
        assert_eq!(after(&[11, 12, 13], 13), Findings::default());
        assert_eq!(after(&[], 10), Findings::default());
    }

    #[test]
    fn a_gap_is_loss() {
        assert_eq!(after(&[11, 15], 15), Findings { lost: 3, ..Findings::default() });
    }

    #[test]
    fn a_missing_end_is_loss() {
        assert_eq!(after(&[11], 14), Findings { lost: 3, ..Findings::default() });
    }

    #[test]
    fn a_repeat_is_a_duplicate_each_time() {
        assert_eq!(
            after(&[11, 12, 12, 11, 13], 13),
            Findings { duplicate: 2, ..Findings::default() }
        );
    }

    #[test]
    fn what_was_before_the_join_is_a_duplicate() {
        assert_eq!(after(&[10, 11], 11), Findings { duplicate: 1, ..Findings::default() });
    }

    #[test]
    fn a_swap_is_one_reordering_and_no_loss() {
        assert_eq!(after(&[12, 11, 13], 13), Findings { reordered: 1, ..Findings::default() });
    }

    #[test]
    fn a_gap_filled_in_its_middle_leaves_both_sides_lost() {
        let expected = Findings { lost: 2, duplicate: 1, reordered: 1 };
        assert_eq!(after(&[14, 12, 12], 14), expected);
    }

    #[test]
    fn completeness_sees_gaps_and_the_end() {
        let mut ledger = Ledger::joined_at(0);
        ledger.observe(1);
        ledger.observe(3);
        assert!(ledger.has_all_up_to(1));
        assert!(!ledger.has_all_up_to(3));
        ledger.observe(2);
        assert!(ledger.has_all_up_to(3));
        assert!(!ledger.has_all_up_to(4));
    }
}
