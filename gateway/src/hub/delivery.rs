//! What came of a command, encoded once for all who see it.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use actors::runtime::ring::Counted;
use bytes::Bytes;
use schemas::{
    Change, EntityKey, Outcome, Seq, Verdict,
    json::{ChangeContext, write_change},
};
use tracing::Span;

use crate::frame;

/// A change as JSON, as it looks everywhere.
#[derive(Debug, Clone)]
pub struct ChangeJson {
    /// Its number.
    pub seq: Seq,
    /// The object.
    pub json: Bytes,
}

/// A counted outcome with its changes' JSON, made when first asked for.
#[derive(Debug)]
pub struct Delivery {
    /// The outcome.
    pub counted: Arc<Counted>,
    /// When this gateway had it.
    pub read_at: Instant,
    /// Of a command that is traced; ends when everybody has been handed what they are.
    _span: Span,
    changes: OnceLock<Vec<ChangeJson>>,
    frames: OnceLock<Bytes>,
}

impl Delivery {
    /// Wraps an outcome.
    pub fn new(counted: Arc<Counted>) -> Self {
        Self::traced(counted, Span::none())
    }

    /// Wraps an outcome whose way is traced.
    pub fn traced(counted: Arc<Counted>, span: Span) -> Self {
        let read_at = Instant::now();
        Self { counted, read_at, _span: span, changes: OnceLock::new(), frames: OnceLock::new() }
    }

    /// The outcome.
    pub fn outcome(&self) -> &Outcome {
        &self.counted.outcome
    }

    /// The changes as JSON.
    pub fn changes(&self) -> &[ChangeJson] {
        self.changes.get_or_init(|| changes_json(self.outcome()))
    }

    /// The changes as WebSocket frames, one after another.
    pub fn frames(&self) -> Bytes {
        let make = || match self.changes() {
            [single] => frame::text(&single.json),
            many => {
                many.iter().flat_map(|change| frame::text(&change.json)).collect::<Vec<_>>().into()
            }
        };
        self.frames.get_or_init(make).clone()
    }
}

/// The changes that an outcome makes; none if it repeats an earlier one.
pub fn changes_of(outcome: &Outcome) -> &[Change] {
    match &outcome.verdict {
        Verdict::Accepted { changes, .. } => changes,
        Verdict::Rejected(_) | Verdict::Skipped { .. } => &[],
    }
}

/// An outcome's changes as JSON.
pub fn changes_json(outcome: &Outcome) -> Vec<ChangeJson> {
    let Some(EntityKey { entity, .. }) = &outcome.key else { return Vec::new() };
    let context =
        ChangeContext { entity, at: outcome.at, by: &outcome.by, command_id: outcome.command_id };
    let encode = |change: &Change| {
        let mut json = Vec::with_capacity(256);
        write_change(&mut json, context, change);
        ChangeJson { seq: change.seq, json: json.into() }
    };
    changes_of(outcome).iter().map(encode).collect()
}

/// The object that answers an accepted command: `{seq, changes, commandId}`.
pub fn answer_to_command(
    seq: Seq,
    changes: &[ChangeJson],
    command_id: schemas::CommandId,
    repeated: Repeated,
) -> Vec<u8> {
    let mut out = format!("{{\"seq\":{seq},\"changes\":").into_bytes();
    write_array(&mut out, changes.iter().map(|change| &change.json[..]));
    out.extend_from_slice(format!(",\"commandId\":\"{command_id}\"").as_bytes());
    if repeated == Repeated::Yes {
        out.extend_from_slice(b",\"repeated\":true");
    }
    out.push(b'}');
    out
}

/// Whether an answer was given before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeated {
    /// The command id had been used.
    Yes,
    /// This is its first outcome.
    No,
}

/// Writes objects that are JSON already as an array.
pub fn write_array<'a>(out: &mut Vec<u8>, objects: impl Iterator<Item = &'a [u8]>) {
    out.push(b'[');
    for (place, object) in objects.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(object);
    }
    out.push(b']');
}
