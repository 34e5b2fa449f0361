//! Holds the journals against the answers.

use std::collections::HashMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::listener::Reply;
use super::source::{Sent, is_ours};
use super::{Entity, Kind};
use crate::api::{Accounts, Api, JournalChange};
use crate::error::Error;
use crate::ledger::{Findings, Ledger};

const READING_AT_A_TIME: usize = 4;

/// What the journals say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Audit {
    /// All changes since the beginning of the run.
    pub(super) changes: u64,
    /// Accepted commands that are not there.
    pub(super) lost: u64,
    /// Commands that took effect more than once, and seqs that occur more than once.
    pub(super) duplicate: u64,
    /// Seqs that come after a later one.
    pub(super) reordered: u64,
    /// Seqs that are not there.
    pub(super) gaps: u64,
    /// Accepted commands that are there with another seq than was answered.
    pub(super) contradicted: u64,
    /// Refused commands that are there all the same.
    pub(super) refused_but_there: u64,
    /// Commands without a definite answer that are there: that is allowed.
    pub(super) unanswered_but_there: u64,
}

/// A command and what was answered to it.
pub(super) type Claim = (Uuid, Option<Reply>);

/// Reads all journals and sums up.
pub(super) async fn audit(
    api: &Api,
    accounts: &Accounts,
    kind: Kind,
    entities: &[Entity],
    sent: &[Vec<Sent>],
    replies: &[(usize, Vec<Option<Reply>>)],
) -> Result<Audit, Error> {
    let mut claims: Vec<Vec<Claim>> = vec![Vec::new(); entities.len()];
    for (number, replies) in replies {
        for (index, command) in sent[*number].iter().enumerate() {
            let reply = replies.get(index).copied().flatten();
            claims[command.entity].push((command.command_id, reply));
        }
    }
    let readings = entities.iter().zip(claims).enumerate().map(|(number, (entity, claims))| {
        let token = accounts.token(number);
        async move {
            let journal = api.journal(kind.plural(), &entity.id, entity.base, &token).await?;
            Ok::<_, Error>(compare(entity.base, &journal, &claims))
        }
    });
    let audits: Vec<Audit> =
        stream::iter(readings).buffer_unordered(READING_AT_A_TIME).try_collect().await?;
    Ok(audits.into_iter().fold(Audit::default(), Audit::plus))
}

impl Audit {
    fn plus(self, other: Self) -> Self {
        Self {
            changes: self.changes + other.changes,
            lost: self.lost + other.lost,
            duplicate: self.duplicate + other.duplicate,
            reordered: self.reordered + other.reordered,
            gaps: self.gaps + other.gaps,
            contradicted: self.contradicted + other.contradicted,
            refused_but_there: self.refused_but_there + other.refused_but_there,
            unanswered_but_there: self.unanswered_but_there + other.unanswered_but_there,
        }
    }
}

/// Holds the journal of one entity, whose seq was `base`, against what was answered.
pub(super) fn compare(base: u64, journal: &[JournalChange], claims: &[Claim]) -> Audit {
    let mut ledger = Ledger::joined_at(base);
    // Where a command took effect, and how often.
    let mut effects: HashMap<Uuid, (u64, u64)> = HashMap::with_capacity(journal.len());
    for change in journal {
        ledger.observe(change.seq);
        if let Some(command_id) = change.command_id.filter(|_| is_ours(&change.kind)) {
            effects.entry(command_id).or_insert((change.seq, 0)).1 += 1;
        }
    }
    let Findings { lost: gaps, duplicate, reordered } = ledger.close_early();
    let mut audit =
        Audit { changes: journal.len() as u64, duplicate, reordered, gaps, ..Audit::default() };
    audit.duplicate += effects.values().filter(|(_, times)| *times > 1).count() as u64;
    for (command_id, reply) in claims {
        match (reply, effects.get(command_id)) {
            (Some(Reply::Accepted { seq: Some(_) }), None) => audit.lost += 1,
            (Some(Reply::Accepted { seq: Some(answered) }), Some((seq, _))) => {
                audit.contradicted += u64::from(answered != seq);
            }
            (Some(Reply::Accepted { seq: None }), Some(_)) => audit.contradicted += 1,
            (Some(Reply::Refused), Some(_)) => audit.refused_but_there += 1,
            (Some(Reply::Unknown) | None, Some(_)) => audit.unanswered_but_there += 1,
            (
                Some(Reply::Accepted { seq: None } | Reply::Refused | Reply::Unknown) | None,
                None,
            ) => {}
        }
    }
    audit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn posted(seq: u64, number: u128) -> JournalChange {
        JournalChange { seq, kind: "messagePosted".to_owned(), command_id: Some(id(number)) }
    }

    fn accepted(number: u128, seq: u64) -> Claim {
        (id(number), Some(Reply::Accepted { seq: Some(seq) }))
    }

    #[test]
    fn an_honest_journal_has_no_findings() {
        let audit = compare(1, &[posted(2, 7), posted(3, 8)], &[accepted(7, 2), accepted(8, 3)]);
        assert_eq!(audit, Audit { changes: 2, ..Audit::default() });
    }

    #[test]
    fn an_accepted_command_that_is_not_there_is_lost() {
        assert_eq!(compare(0, &[posted(1, 7)], &[accepted(7, 1), accepted(8, 2)]).lost, 1);
    }

    #[test]
    fn a_command_with_two_effects_is_a_duplicate() {
        let audit = compare(0, &[posted(1, 7), posted(2, 7)], &[accepted(7, 1)]);
        assert_eq!((audit.duplicate, audit.lost, audit.gaps), (1, 0, 0));
    }

    #[test]
    fn other_changes_of_the_same_outcome_are_no_duplicates() {
        let mut linked = posted(2, 7);
        linked.kind = "readMoved".to_owned();
        assert_eq!(compare(0, &[posted(1, 7), linked], &[accepted(7, 1)]).duplicate, 0);
    }

    #[test]
    fn gaps_and_wrong_seqs_are_found() {
        let audit = compare(0, &[posted(1, 7), posted(3, 8)], &[accepted(7, 1), accepted(8, 2)]);
        assert_eq!((audit.gaps, audit.contradicted), (1, 1));
    }

    #[test]
    fn what_was_not_accepted_is_never_lost() {
        let claims = [(id(1), Some(Reply::Refused)), (id(2), Some(Reply::Unknown)), (id(3), None)];
        assert_eq!(compare(0, &[], &claims), Audit::default());
        let audit = compare(0, &[posted(1, 1), posted(2, 2), posted(3, 3)], &claims);
        assert_eq!((audit.refused_but_there, audit.unanswered_but_there), (1, 2));
    }
}
