//! Avro on the log: single-object encoding (`C3 01` + Rabin fingerprint, Avro specification,
//! "Single-object encoding"). Confluent framing (`00` + 4-byte big-endian schema id) is turned
//! into it and back where records enter and leave, by whoever knows the registry.
//!
//! Writers use the oldest schema that can hold the record: releases side by side understand each
//! other until something new is used, and a command has the same bytes, and so the same
//! [`fingerprint`], in all of them. Readers know every schema ever released, by fingerprint, and
//! those that [`learn`] was told of, and fold older and newer ones into today's types: absent
//! fields take their defaults, unknown ones are passed over. The schemas are made from the types;
//! `avro/` holds every released version and a test compares the newest of each with the types.

mod table;

use apache_avro::AvroSchemaComponent;
use serde::{Serialize, de::DeserializeOwned};

use self::table::{Coder, encode, open};
pub use self::table::{
    Fingerprint, LearnError, RELEASED, Subject, confluent_id, fingerprint_of, from_confluent,
    learn, schemas_of, to_confluent,
};
use crate::{
    Body, Change, ChangeBody, Command, EntityKey, Fence, Kind, Outcome, OutcomeRecord, Rejection,
    Verdict,
    command::CommandWire,
    outcome::{ChangeWire, OutcomeWire, PublicChange, VerdictWire},
    partner::PartnerCommand,
};

/// Why bytes are not the record they should be.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Neither framing was recognised.
    #[error("not an Avro record: begins with {0:02x?}, expected c3 01 or 00")]
    Framing(Vec<u8>),
    /// The fingerprint belongs to no schema this release knows.
    #[error("unknown schema fingerprint {0}")]
    UnknownFingerprint(String),
    /// The schema id of Confluent framing is known to no registry of this node.
    #[error("schema id {0} is in no schema registry of this node")]
    UnknownId(u32),
    /// The schema is known but is not one that may stand here.
    #[error("a record of schema {got} where {expected} is expected")]
    Unexpected {
        /// The schema's name.
        got: &'static str,
        /// What may stand here.
        expected: &'static str,
    },
    /// The bytes do not follow the schema.
    #[error("a record of schema {name} does not decode: {reason}")]
    Malformed {
        /// The schema's name.
        name: &'static str,
        /// Avro's own words.
        reason: String,
    },
    /// A value that the schema cannot hold.
    #[error("a record of schema {name} does not encode: {reason}")]
    Unwritable {
        /// The schema's name.
        name: &'static str,
        /// Avro's own words.
        reason: String,
    },
}

/// A digest of who asks and what, by which a command id under another meaning is known (R8).
/// The first eight bytes of a SHA-256 over the principal and the body's Avro form.
pub fn fingerprint(command: &Command) -> Result<i64, CodecError> {
    use sha2::Digest as _;
    let bare = Command {
        id: crate::CommandId::derived(""),
        roles: Vec::new(),
        at: crate::Timestamp::default(),
        expect: None,
        ..command.clone()
    };
    let digest = sha2::Sha256::digest(encode_command(&bare)?);
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    Ok(i64::from_be_bytes(bytes))
}

/// Writes a command for `<kind>.commands`.
pub fn encode_command(command: &Command) -> Result<Vec<u8>, CodecError> {
    fn write<B: Serialize + AvroSchemaComponent>(
        command: &Command,
        body: B,
        kind: Kind,
    ) -> Result<Vec<u8>, CodecError> {
        encode(
            Subject::Command(kind),
            &CommandWire {
                key: command.key.clone(),
                command_id: command.id,
                tenant: command.tenant.clone(),
                principal: command.principal.clone(),
                roles: command.roles.clone(),
                at: command.at,
                expect: command.expect,
                body,
            },
        )
    }
    match &command.body {
        Body::Board(body) => write(command, body, Kind::Board),
        Body::Event(body) => write(command, body, Kind::Event),
        Body::Room(body) => write(command, body, Kind::Room),
    }
}

/// Reads a record of `<kind>.commands`.
pub fn decode_command(kind: Kind, bytes: &[u8]) -> Result<Command, CodecError> {
    fn read<B: DeserializeOwned + AvroSchemaComponent>(
        coder: &Coder,
        datum: &[u8],
        wrap: fn(B) -> Body,
    ) -> Result<Command, CodecError> {
        let wire: CommandWire<B> = coder.decode(datum)?;
        Ok(Command {
            key: wire.key,
            id: wire.command_id,
            tenant: wire.tenant,
            principal: wire.principal,
            roles: wire.roles,
            at: wire.at,
            expect: wire.expect,
            body: wrap(wire.body),
        })
    }
    let (coder, datum) = open(bytes, &[Subject::Command(kind)])?;
    match kind {
        Kind::Board => read(coder, datum, Body::Board),
        Kind::Event => read(coder, datum, Body::Event),
        Kind::Room => read(coder, datum, Body::Room),
    }
}

/// A partner's Avro record, read.
#[derive(Debug, Clone, PartialEq)]
pub struct PartnerRecord {
    /// The partner's own idempotency key, if any.
    pub command_id: Option<crate::CommandId>,
    /// Accepted only at exactly this seq.
    pub expect: Option<crate::Seq>,
    /// What is asked.
    pub body: Body,
}

/// Reads a partner's Avro record.
pub fn decode_partner(kind: Kind, bytes: &[u8]) -> Result<PartnerRecord, CodecError> {
    fn read<B: DeserializeOwned + AvroSchemaComponent>(
        coder: &Coder,
        datum: &[u8],
        wrap: fn(B) -> Body,
    ) -> Result<PartnerRecord, CodecError> {
        let wire: PartnerCommand<B> = coder.decode(datum)?;
        Ok(PartnerRecord {
            command_id: wire.command_id,
            expect: wire.expect,
            body: wrap(wire.body),
        })
    }
    let (coder, datum) = open(bytes, &[Subject::Partner(kind)])?;
    match kind {
        Kind::Board => read(coder, datum, Body::Board),
        Kind::Event => read(coder, datum, Body::Event),
        Kind::Room => read(coder, datum, Body::Room),
    }
}

/// Writes a partner's command as Avro, single-object encoded.
pub fn encode_partner(record: &PartnerRecord) -> Result<Vec<u8>, CodecError> {
    fn write<B: Serialize + AvroSchemaComponent>(
        record: &PartnerRecord,
        body: B,
        kind: Kind,
    ) -> Result<Vec<u8>, CodecError> {
        encode(
            Subject::Partner(kind),
            &PartnerCommand {
                command_id: record.command_id,
                at: None,
                expect: record.expect,
                body,
            },
        )
    }
    match &record.body {
        Body::Board(body) => write(record, body, Kind::Board),
        Body::Event(body) => write(record, body, Kind::Event),
        Body::Room(body) => write(record, body, Kind::Room),
    }
}

/// Writes a fence.
pub fn encode_fence(fence: &Fence) -> Result<Vec<u8>, CodecError> {
    encode(Subject::Fence, fence)
}

/// Writes an outcome for `<kind>.outcomes`. Every change in it is of that kind.
pub fn encode_outcome(kind: Kind, outcome: &Outcome) -> Result<Vec<u8>, CodecError> {
    fn write<'a, C: Serialize + AvroSchemaComponent + 'a>(
        outcome: &'a Outcome,
        kind: Kind,
        unwrap: fn(&'a ChangeBody) -> Option<C>,
    ) -> Result<Vec<u8>, CodecError> {
        let result = match &outcome.verdict {
            Verdict::Accepted { seq, changes } => VerdictWire::Accepted {
                seq: *seq,
                changes: changes
                    .iter()
                    .filter_map(|change| {
                        Some(ChangeWire {
                            seq: change.seq,
                            undoes: change.undoes,
                            redoes: change.redoes,
                            body: unwrap(&change.body)?,
                        })
                    })
                    .collect(),
            },
            Verdict::Rejected(rejection) => VerdictWire::Rejected {
                code: rejection.code,
                reason: rejection.reason.clone(),
                errors: rejection.errors.clone(),
            },
            Verdict::Skipped { reason } => VerdictWire::Skipped { reason: reason.clone() },
        };
        encode(
            Subject::Outcome(kind),
            &OutcomeWire {
                epoch: outcome.epoch,
                command_offset: outcome.command_offset,
                command_id: outcome.command_id,
                entity: outcome.key.clone(),
                at: outcome.at,
                by: outcome.by.clone(),
                fingerprint: outcome.fingerprint,
                repeats: outcome.repeats,
                wake_at: outcome.wake_at,
                result,
            },
        )
    }
    match kind {
        Kind::Board => write(outcome, kind, |body| match body {
            ChangeBody::Board(change) => Some(change),
            ChangeBody::Event(_) | ChangeBody::Room(_) => None,
        }),
        Kind::Event => write(outcome, kind, |body| match body {
            ChangeBody::Event(change) => Some(change),
            ChangeBody::Board(_) | ChangeBody::Room(_) => None,
        }),
        Kind::Room => write(outcome, kind, |body| match body {
            ChangeBody::Room(change) => Some(change),
            ChangeBody::Board(_) | ChangeBody::Event(_) => None,
        }),
    }
}

/// Reads a record of `<kind>.outcomes`: an outcome or a fence.
pub fn decode_outcome(kind: Kind, bytes: &[u8]) -> Result<OutcomeRecord, CodecError> {
    fn read<C: DeserializeOwned + AvroSchemaComponent>(
        coder: &Coder,
        datum: &[u8],
        wrap: fn(C) -> ChangeBody,
    ) -> Result<OutcomeRecord, CodecError> {
        let wire: OutcomeWire<C> = coder.decode(datum)?;
        let verdict = match wire.result {
            VerdictWire::Accepted { seq, changes } => Verdict::Accepted {
                seq,
                changes: changes
                    .into_iter()
                    .map(|change| Change {
                        seq: change.seq,
                        undoes: change.undoes,
                        redoes: change.redoes,
                        body: wrap(change.body),
                    })
                    .collect(),
            },
            VerdictWire::Rejected { code, reason, errors } => {
                Verdict::Rejected(Rejection { code, reason, errors })
            }
            VerdictWire::Skipped { reason } => Verdict::Skipped { reason },
        };
        Ok(OutcomeRecord::Outcome(Box::new(Outcome {
            epoch: wire.epoch,
            command_offset: wire.command_offset,
            command_id: wire.command_id,
            key: wire.entity,
            at: wire.at,
            by: wire.by,
            fingerprint: wire.fingerprint,
            repeats: wire.repeats,
            wake_at: wire.wake_at,
            verdict,
        })))
    }
    let (coder, datum) = open(bytes, &[Subject::Outcome(kind), Subject::Fence])?;
    if coder.subject == Subject::Fence {
        return Ok(OutcomeRecord::Fence(coder.decode(datum)?));
    }
    match kind {
        Kind::Board => read(coder, datum, ChangeBody::Board),
        Kind::Event => read(coder, datum, ChangeBody::Event),
        Kind::Room => read(coder, datum, ChangeBody::Room),
    }
}

/// Writes the public records of an outcome for `changes`, one for each change.
pub fn encode_changes(key: &EntityKey, outcome: &Outcome) -> Result<Vec<Vec<u8>>, CodecError> {
    fn write<C: Serialize + AvroSchemaComponent>(
        key: &EntityKey,
        outcome: &Outcome,
        change: &Change,
        body: C,
    ) -> Result<Vec<u8>, CodecError> {
        encode(
            Subject::Change(key.entity.kind()),
            &PublicChange {
                tenant: key.tenant.clone(),
                entity: key.entity.clone(),
                seq: change.seq,
                at: outcome.at,
                by: outcome.by.clone(),
                command_id: outcome.command_id,
                undoes: change.undoes,
                redoes: change.redoes,
                body,
            },
        )
    }
    let Verdict::Accepted { changes, .. } = &outcome.verdict else { return Ok(Vec::new()) };
    let encode = |change: &Change| match &change.body {
        ChangeBody::Board(body) => write(key, outcome, change, body),
        ChangeBody::Event(body) => write(key, outcome, change, body),
        ChangeBody::Room(body) => write(key, outcome, change, body),
    };
    changes.iter().map(encode).collect()
}

#[cfg(test)]
mod tests;
