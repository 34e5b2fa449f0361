//! Avro on the log: single-object encoding (`C3 01` + Rabin fingerprint, Avro specification,
//! "Single-object encoding") and Confluent framing (`00` + 4-byte big-endian schema id).
//!
//! Writers use the newest schema. Readers know every schema ever released, by fingerprint, and
//! fold older and newer ones into today's types: absent fields take their defaults, unknown ones
//! are passed over. The schemas are made from the types; `avro/` holds every released version
//! and a test compares the newest with the types.

use std::{collections::HashMap, sync::LazyLock};

use apache_avro::{
    AvroSchema, AvroSchemaComponent, Schema, rabin::Rabin, reader::datum::GenericDatumReader,
    writer::datum::GenericDatumWriter,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Body, Change, ChangeBody, Command, Fence, Kind, Outcome, OutcomeRecord, Rejection, Verdict,
    board::{BoardChange, BoardCommand},
    command::CommandWire,
    event::{EventChange, EventCommand},
    outcome::{ChangeWire, OutcomeWire, VerdictWire},
    partner::PartnerCommand,
    room::{RoomChange, RoomCommand},
};

/// The two bytes that begin the single-object encoding.
const SINGLE_OBJECT: [u8; 2] = [0xC3, 0x01];
/// The byte that begins Confluent framing.
const CONFLUENT: u8 = 0x00;
/// Length of the single-object header: marker and fingerprint.
const HEADER: usize = 10;
/// No record, and so no length inside one, is larger than this (bytes).
const LARGEST: usize = 16 << 20;

/// Why bytes are not the record they should be.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Neither framing was recognised.
    #[error("not an Avro record: begins with {0:02x?}, expected c3 01 or 00")]
    Framing(Vec<u8>),
    /// The fingerprint belongs to no schema this release knows.
    #[error("unknown schema fingerprint {0}")]
    UnknownFingerprint(String),
    /// The Confluent schema id is not in the table.
    #[error("unknown schema id {0}")]
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

/// Which record a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A record of `<kind>.commands`.
    Command(Kind),
    /// A record of `<kind>.outcomes` that is no fence.
    Outcome(Kind),
    /// A partner's command to an entity of this kind.
    Partner(Kind),
    /// A fence in any `<kind>.outcomes`.
    Fence,
}

impl Subject {
    /// Every subject.
    pub const ALL: [Self; 10] = [
        Self::Command(Kind::Board),
        Self::Command(Kind::Event),
        Self::Command(Kind::Room),
        Self::Outcome(Kind::Board),
        Self::Outcome(Kind::Event),
        Self::Outcome(Kind::Room),
        Self::Partner(Kind::Board),
        Self::Partner(Kind::Event),
        Self::Partner(Kind::Room),
        Self::Fence,
    ];

    /// The name of the subject's file in `avro/`, without version and ending.
    pub fn name(self) -> &'static str {
        match self {
            Self::Command(Kind::Board) => "board.command",
            Self::Command(Kind::Event) => "event.command",
            Self::Command(Kind::Room) => "room.command",
            Self::Outcome(Kind::Board) => "board.outcome",
            Self::Outcome(Kind::Event) => "event.outcome",
            Self::Outcome(Kind::Room) => "room.outcome",
            Self::Partner(Kind::Board) => "partner.board",
            Self::Partner(Kind::Event) => "partner.event",
            Self::Partner(Kind::Room) => "partner.room",
            Self::Fence => "fence",
        }
    }

    /// The schema that the types of this release have.
    pub fn schema(self) -> Schema {
        match self {
            Self::Command(Kind::Board) => CommandWire::<BoardCommand>::get_schema(),
            Self::Command(Kind::Event) => CommandWire::<EventCommand>::get_schema(),
            Self::Command(Kind::Room) => CommandWire::<RoomCommand>::get_schema(),
            Self::Outcome(Kind::Board) => OutcomeWire::<BoardChange>::get_schema(),
            Self::Outcome(Kind::Event) => OutcomeWire::<EventChange>::get_schema(),
            Self::Outcome(Kind::Room) => OutcomeWire::<RoomChange>::get_schema(),
            Self::Partner(Kind::Board) => PartnerCommand::<BoardCommand>::get_schema(),
            Self::Partner(Kind::Event) => PartnerCommand::<EventCommand>::get_schema(),
            Self::Partner(Kind::Room) => PartnerCommand::<RoomCommand>::get_schema(),
            Self::Fence => Fence::get_schema(),
        }
    }
}

/// Every released schema, oldest first within a subject; the last of a subject is today's.
pub const RELEASED: &[(Subject, &str)] = &[
    (Subject::Command(Kind::Board), include_str!("../avro/board.command.1.avsc")),
    (Subject::Command(Kind::Event), include_str!("../avro/event.command.1.avsc")),
    (Subject::Command(Kind::Room), include_str!("../avro/room.command.1.avsc")),
    (Subject::Outcome(Kind::Board), include_str!("../avro/board.outcome.1.avsc")),
    (Subject::Outcome(Kind::Event), include_str!("../avro/event.outcome.1.avsc")),
    (Subject::Outcome(Kind::Room), include_str!("../avro/room.outcome.1.avsc")),
    (Subject::Partner(Kind::Board), include_str!("../avro/partner.board.1.avsc")),
    (Subject::Partner(Kind::Event), include_str!("../avro/partner.event.1.avsc")),
    (Subject::Partner(Kind::Room), include_str!("../avro/partner.room.1.avsc")),
    (Subject::Fence, include_str!("../avro/fence.1.avsc")),
];

/// One schema, ready to read and write with.
struct Coder {
    subject: Subject,
    header: [u8; HEADER],
    writer: GenericDatumWriter<'static>,
    reader: GenericDatumReader<'static>,
}

impl Coder {
    fn new(subject: Subject, schema: Schema) -> Self {
        let schema: &'static Schema = Box::leak(Box::new(schema));
        let fingerprint = schema.fingerprint::<Rabin>();
        let mut header = [0; HEADER];
        header[..2].copy_from_slice(&SINGLE_OBJECT);
        header[2..].copy_from_slice(&fingerprint.bytes);
        let writer = GenericDatumWriter::builder(schema)
            .human_readable(false)
            .build()
            .expect("a schema that parsed also resolves");
        let reader = GenericDatumReader::builder(schema)
            .human_readable(false)
            .build()
            .expect("a schema that parsed also resolves");
        Self { subject, header, writer, reader }
    }

    fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, CodecError> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&self.header);
        self.writer.write_ser(&mut bytes, value).map_err(|error| CodecError::Unwritable {
            name: self.subject.name(),
            reason: essence(&error.to_string()),
        })?;
        Ok(bytes)
    }

    fn decode<T: DeserializeOwned>(&self, mut datum: &[u8]) -> Result<T, CodecError> {
        let name = self.subject.name();
        let value = self
            .reader
            .read_deser(&mut datum)
            .map_err(|error| CodecError::Malformed { name, reason: essence(&error.to_string()) })?;
        if datum.is_empty() {
            Ok(value)
        } else {
            let reason = format!("{} bytes follow its end", datum.len());
            Err(CodecError::Malformed { name, reason })
        }
    }
}

/// The end of an Avro error, which names the cause; what comes before quotes whole schemas.
fn essence(message: &str) -> String {
    let skip = message.chars().count().saturating_sub(240);
    message.chars().skip(skip).collect()
}

/// All schemas this process can read: by fingerprint, by Confluent id, and today's by subject.
struct Table {
    by_fingerprint: HashMap<[u8; 8], Coder>,
    newest: HashMap<Subject, [u8; 8]>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    apache_avro::util::max_allocation_bytes(LARGEST);
    let mut by_fingerprint = HashMap::new();
    let mut newest = HashMap::new();
    for (subject, text) in RELEASED {
        let schema = Schema::parse_str(text).expect("a test parses every released schema");
        let coder = Coder::new(*subject, schema);
        let mut fingerprint = [0; 8];
        fingerprint.copy_from_slice(&coder.header[2..]);
        newest.insert(*subject, fingerprint);
        by_fingerprint.insert(fingerprint, coder);
    }
    Table { by_fingerprint, newest }
});

fn newest(subject: Subject) -> &'static Coder {
    &TABLE.by_fingerprint[&TABLE.newest[&subject]]
}

/// Finds the schema that a record was written with and the datum behind its header.
fn open<'a>(bytes: &'a [u8], ids: &SchemaIds) -> Result<(&'static Coder, &'a [u8]), CodecError> {
    match bytes {
        [0xC3, 0x01, rest @ ..] if rest.len() >= 8 => {
            let (fingerprint, datum) = rest.split_at(8);
            let coder = TABLE
                .by_fingerprint
                .get(fingerprint)
                .ok_or_else(|| CodecError::UnknownFingerprint(hex(fingerprint)))?;
            Ok((coder, datum))
        }
        [CONFLUENT, a, b, c, d, datum @ ..] => {
            let id = u32::from_be_bytes([*a, *b, *c, *d]);
            let fingerprint = ids.0.get(&id).ok_or(CodecError::UnknownId(id))?;
            Ok((&TABLE.by_fingerprint[fingerprint], datum))
        }
        other => Err(CodecError::Framing(other.iter().copied().take(2).collect())),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Which released schema a Confluent schema id stands for. Empty where no registry is configured.
#[derive(Debug, Clone, Default)]
pub struct SchemaIds(HashMap<u32, [u8; 8]>);

impl SchemaIds {
    /// Registers `id` for the newest schema of `subject`.
    pub fn insert(&mut self, id: u32, subject: Subject) {
        self.0.insert(id, TABLE.newest[&subject]);
    }
}

/// Puts a single-object record into Confluent framing under `id`.
pub fn to_confluent(single_object: &[u8], id: u32) -> Vec<u8> {
    let datum = single_object.get(HEADER..).unwrap_or_default();
    let mut bytes = Vec::with_capacity(datum.len() + 5);
    bytes.push(CONFLUENT);
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(datum);
    bytes
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
        newest(Subject::Command(kind)).encode(&CommandWire {
            key: command.key.clone(),
            command_id: command.id,
            tenant: command.tenant.clone(),
            principal: command.principal.clone(),
            roles: command.roles.clone(),
            at: command.at,
            expect: command.expect,
            body,
        })
    }
    match &command.body {
        Body::Board(body) => write(command, body, Kind::Board),
        Body::Event(body) => write(command, body, Kind::Event),
        Body::Room(body) => write(command, body, Kind::Room),
    }
}

/// Reads a record of `<kind>.commands`.
pub fn decode_command(kind: Kind, bytes: &[u8], ids: &SchemaIds) -> Result<Command, CodecError> {
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
    let (coder, datum) = open(bytes, ids)?;
    if coder.subject != Subject::Command(kind) {
        let expected = Subject::Command(kind).name();
        return Err(CodecError::Unexpected { got: coder.subject.name(), expected });
    }
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

/// Reads a partner's Avro record in either framing.
pub fn decode_partner(bytes: &[u8], ids: &SchemaIds) -> Result<PartnerRecord, CodecError> {
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
    let (coder, datum) = open(bytes, ids)?;
    match coder.subject {
        Subject::Partner(Kind::Board) => read(coder, datum, Body::Board),
        Subject::Partner(Kind::Event) => read(coder, datum, Body::Event),
        Subject::Partner(Kind::Room) => read(coder, datum, Body::Room),
        Subject::Command(_) | Subject::Outcome(_) | Subject::Fence => {
            Err(CodecError::Unexpected { got: coder.subject.name(), expected: "partner.<kind>" })
        }
    }
}

/// Writes a partner's command as Avro, single-object encoded.
pub fn encode_partner(record: &PartnerRecord) -> Result<Vec<u8>, CodecError> {
    fn write<B: Serialize + AvroSchemaComponent>(
        record: &PartnerRecord,
        body: B,
        kind: Kind,
    ) -> Result<Vec<u8>, CodecError> {
        newest(Subject::Partner(kind)).encode(&PartnerCommand {
            command_id: record.command_id,
            at: None,
            expect: record.expect,
            body,
        })
    }
    match &record.body {
        Body::Board(body) => write(record, body, Kind::Board),
        Body::Event(body) => write(record, body, Kind::Event),
        Body::Room(body) => write(record, body, Kind::Room),
    }
}

/// Writes a fence.
pub fn encode_fence(fence: &Fence) -> Result<Vec<u8>, CodecError> {
    newest(Subject::Fence).encode(fence)
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
        newest(Subject::Outcome(kind)).encode(&OutcomeWire {
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
        })
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
pub fn decode_outcome(
    kind: Kind,
    bytes: &[u8],
    ids: &SchemaIds,
) -> Result<OutcomeRecord, CodecError> {
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
    let (coder, datum) = open(bytes, ids)?;
    if coder.subject == Subject::Fence {
        return Ok(OutcomeRecord::Fence(coder.decode(datum)?));
    }
    if coder.subject != Subject::Outcome(kind) {
        let expected = Subject::Outcome(kind).name();
        return Err(CodecError::Unexpected { got: coder.subject.name(), expected });
    }
    match kind {
        Kind::Board => read(coder, datum, ChangeBody::Board),
        Kind::Event => read(coder, datum, ChangeBody::Event),
        Kind::Room => read(coder, datum, ChangeBody::Room),
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
