//! The history checker: reads the log as any reader would, with every rule kept, and compares
//! with it what clients were told and shown, what the store says, and what is in memory.

use std::collections::{BTreeMap, HashMap};

use actors::{
    domain::entity::Entity,
    ports::Checkpoint,
    runtime::{
        guards::Guards,
        reader::{Admission, ReaderPosition},
        replica::fold,
    },
};
use schemas::{Change, Command, CommandId, EntityKey, Outcome, OutcomeRecord, Verdict, codec};

use super::{World, gateway::changes_of};

/// The log, read by the rules.
struct Canon {
    entities: BTreeMap<EntityKey, Entity>,
    changes: HashMap<EntityKey, Vec<Change>>,
    /// Accepted outcomes that are no repeats, by command id.
    effects: HashMap<CommandId, Vec<Outcome>>,
    /// The first verdict of each command id.
    verdicts: HashMap<CommandId, Verdict>,
}

/// How often the partition was taken.
pub(super) fn fences(world: &World) -> usize {
    let is_fence = |value: &bytes::Bytes| {
        let record = codec::decode_outcome(world.kind, value);
        matches!(record, Ok(OutcomeRecord::Fence(_)))
    };
    world.log.outcomes.iter().filter(|(_, value)| is_fence(value)).count()
}

pub(super) fn check(world: &mut World) {
    let mut found = Vec::new();
    let canon = read(world, &mut found);
    acknowledged(world, &canon, &mut found);
    shown(world, &canon, &mut found);
    stored(world, &canon, &mut found);
    world.violations.append(&mut found);
}

fn read(world: &World, found: &mut Vec<String>) -> Canon {
    let mut canon = Canon {
        entities: BTreeMap::new(),
        changes: HashMap::new(),
        effects: HashMap::new(),
        verdicts: HashMap::new(),
    };
    let guards = Guards::default();
    let mut reader = ReaderPosition::new(Checkpoint::START);
    for (offset, (_, value)) in (0..).zip(&world.log.outcomes) {
        let before = reader.checkpoint().last_command_offset;
        let Ok(record) = codec::decode_outcome(world.kind, value) else {
            found.push(format!("outcome {offset} cannot be read"));
            continue;
        };
        let admission = reader.admit(offset, &record, &guards);
        let (Admission::Counts, OutcomeRecord::Outcome(outcome)) = (admission, record) else {
            continue;
        };
        if outcome.command_offset != before + 1 {
            found.push(format!("command {} has no outcome that counts", before + 1));
        }
        let Some(key) = outcome.key.clone() else { continue };
        let entity = canon.entities.entry(key.clone()).or_insert_with(|| Entity::new(key.clone()));
        decided_rightly(world, entity, &outcome, found);
        for change in changes_of(&outcome) {
            let changes = canon.changes.entry(key.clone()).or_default();
            if change.seq != changes.len() as i64 + 1 {
                let next = changes.len() + 1;
                found.push(format!("{key} has seq {} in the log where {next} is next", change.seq));
            }
            changes.push(change.clone());
        }
        entity.apply(&outcome);
        canon.verdicts.entry(outcome.command_id).or_insert_with(|| outcome.verdict.clone());
        let is_effect = matches!(outcome.verdict, Verdict::Accepted { .. });
        if is_effect && outcome.repeats.is_none() {
            canon.effects.entry(outcome.command_id).or_default().push(*outcome);
        }
    }
    canon
}

/// R9: the verdict follows from the state and the command alone (and R8, R14 with it).
fn decided_rightly(world: &World, entity: &Entity, outcome: &Outcome, found: &mut Vec<String>) {
    let Some((_, value)) =
        usize::try_from(outcome.command_offset).ok().and_then(|at| world.log.commands.get(at))
    else {
        found.push("an outcome of a command that is not in the log".into());
        return;
    };
    let Ok(command) = codec::decode_command(world.kind, value) else {
        return;
    };
    if command.tenant != command.key.tenant && matches!(outcome.verdict, Verdict::Accepted { .. }) {
        found.push(format!("{} obeyed another tenant", command.key));
    }
    if super::owner::releases_disagree(entity, &command) {
        return;
    }
    let again = entity.decide(&command, &Guards::default());
    if again.is_ok_and(|again| again.verdict != outcome.verdict) {
        found.push(format!(
            "deciding command {} again gives another verdict",
            outcome.command_offset
        ));
    }
}

fn acknowledged(world: &World, canon: &Canon, found: &mut Vec<String>) {
    for client in &world.clients {
        for acknowledged in &client.acknowledged {
            let Command { id, .. } = &acknowledged.command;
            let effects = canon.effects.get(id).map_or(0, Vec::len);
            let wanted =
                usize::from(matches!(acknowledged.outcome.verdict, Verdict::Accepted { .. }));
            if effects != wanted {
                found.push(format!(
                    "an acknowledged command of client {} has {effects} effects, not {wanted}",
                    client.name
                ));
            }
            let told = &acknowledged.outcome;
            let first = canon.verdicts.get(id);
            if told.repeats.is_none() && first != Some(&told.verdict) {
                found.push(format!("client {} was told what is not in the log", client.name));
            }
        }
    }
}

fn shown(world: &World, canon: &Canon, found: &mut Vec<String>) {
    let none = Vec::new();
    for client in &world.clients {
        for (key, seen) in &client.seen {
            let changes = canon.changes.get(key).unwrap_or(&none);
            if changes.get(..seen.len()) != Some(seen) {
                found.push(format!(
                    "client {} was shown what is not in the log of {key}",
                    client.name
                ));
            }
        }
    }
    for gateway in &world.gateways {
        for (key, entity) in &canon.entities {
            if gateway.replica.get(key).is_some_and(|replica| replica != entity) {
                found.push(format!("a replica of {key} is not the fold of the log"));
            }
        }
    }
    for owner in &world.owners {
        for (key, entity) in &owner.entities {
            if owner.owner.is_quiet(key) && canon.entities.get(key).is_some_and(|e| e != entity) {
                found.push(format!("the owner's {key} is not the fold of the log"));
            }
        }
    }
}

fn stored(world: &World, canon: &Canon, found: &mut Vec<String>) {
    for (key, entity) in &canon.entities {
        match fold(key, &world.store.load_now(key, 0)) {
            Ok(stored) if stored.to_snapshot() == entity.to_snapshot() => {}
            Ok(_) => {
                found.push(format!("snapshot and journal of {key} are not the fold of the log"))
            }
            Err(error) => found.push(format!("{key} cannot be loaded: {error}")),
        }
        let seqs: Vec<_> = world.store.journal_now(key).iter().map(|row| row.last_seq).collect();
        if !seqs.is_sorted() {
            found.push(format!("the journal of {key} goes back: {seqs:?}"));
        }
        let rows: i64 = world.store.journal_now(key).iter().map(|row| row.changes).sum();
        let changes = canon.changes.get(key).map_or(0, Vec::len) as i64;
        if rows != changes {
            found.push(format!("the journal of {key} has {rows} changes, the log {changes}"));
        }
    }
}
