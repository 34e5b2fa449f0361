//! The schemas that records are read and written with.

use std::{
    collections::HashMap,
    sync::{LazyLock, PoisonError, RwLock},
};

use apache_avro::{
    AvroSchema as _, Schema, rabin::Rabin, reader::datum::GenericDatumReader,
    writer::datum::GenericDatumWriter,
};
use serde::{Serialize, de::DeserializeOwned};

use super::CodecError;
use crate::{
    Fence, Kind,
    board::{BoardChange, BoardCommand},
    command::CommandWire,
    event::{EventChange, EventCommand},
    outcome::{OutcomeWire, PublicChange},
    partner::PartnerCommand,
    room::{RoomChange, RoomCommand},
};

/// The two bytes that begin the single-object encoding.
const SINGLE_OBJECT: [u8; 2] = [0xC3, 0x01];
/// The byte that begins Confluent framing.
const CONFLUENT: u8 = 0x00;
/// Length of the single-object header: marker and fingerprint.
pub(super) const HEADER: usize = 10;
/// Length of Confluent framing: marker and id.
const CONFLUENT_HEADER: usize = 5;
/// No record, and so no length inside one, is larger than this (bytes).
const LARGEST: usize = 16 << 20;
/// Schemas that may be learned: they are kept until the process ends.
const MOST_LEARNED: usize = 10_000;

/// The Rabin fingerprint of a schema's canonical form, as single-object encoding has it.
pub type Fingerprint = [u8; 8];

/// Which record a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A record of `<kind>.commands`.
    Command(Kind),
    /// A record of `<kind>.outcomes` that is no fence.
    Outcome(Kind),
    /// A partner's command to an entity of this kind.
    Partner(Kind),
    /// A record of `changes` about an entity of this kind.
    Change(Kind),
    /// A fence in any `<kind>.outcomes`.
    Fence,
}

impl Subject {
    /// Every subject.
    pub const ALL: [Self; 13] = [
        Self::Command(Kind::Board),
        Self::Command(Kind::Event),
        Self::Command(Kind::Room),
        Self::Outcome(Kind::Board),
        Self::Outcome(Kind::Event),
        Self::Outcome(Kind::Room),
        Self::Partner(Kind::Board),
        Self::Partner(Kind::Event),
        Self::Partner(Kind::Room),
        Self::Change(Kind::Board),
        Self::Change(Kind::Event),
        Self::Change(Kind::Room),
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
            Self::Change(Kind::Board) => "change.board",
            Self::Change(Kind::Event) => "change.event",
            Self::Change(Kind::Room) => "change.room",
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
            Self::Change(Kind::Board) => PublicChange::<BoardChange>::get_schema(),
            Self::Change(Kind::Event) => PublicChange::<EventChange>::get_schema(),
            Self::Change(Kind::Room) => PublicChange::<RoomChange>::get_schema(),
            Self::Fence => Fence::get_schema(),
        }
    }
}

/// Every released schema, oldest first within a subject; the last of a subject is what today's types
/// have.
pub const RELEASED: &[(Subject, &str)] = &[
    (Subject::Command(Kind::Board), include_str!("../../avro/board.command.1.avsc")),
    (Subject::Command(Kind::Event), include_str!("../../avro/event.command.1.avsc")),
    (Subject::Command(Kind::Room), include_str!("../../avro/room.command.1.avsc")),
    (Subject::Command(Kind::Room), include_str!("../../avro/room.command.2.avsc")),
    (Subject::Command(Kind::Room), include_str!("../../avro/room.command.3.avsc")),
    (Subject::Outcome(Kind::Board), include_str!("../../avro/board.outcome.1.avsc")),
    (Subject::Outcome(Kind::Event), include_str!("../../avro/event.outcome.1.avsc")),
    (Subject::Outcome(Kind::Room), include_str!("../../avro/room.outcome.1.avsc")),
    (Subject::Outcome(Kind::Room), include_str!("../../avro/room.outcome.2.avsc")),
    (Subject::Partner(Kind::Board), include_str!("../../avro/partner.board.1.avsc")),
    (Subject::Partner(Kind::Event), include_str!("../../avro/partner.event.1.avsc")),
    (Subject::Partner(Kind::Room), include_str!("../../avro/partner.room.1.avsc")),
    (Subject::Partner(Kind::Room), include_str!("../../avro/partner.room.2.avsc")),
    (Subject::Partner(Kind::Room), include_str!("../../avro/partner.room.3.avsc")),
    (Subject::Change(Kind::Board), include_str!("../../avro/change.board.1.avsc")),
    (Subject::Change(Kind::Event), include_str!("../../avro/change.event.1.avsc")),
    (Subject::Change(Kind::Room), include_str!("../../avro/change.room.1.avsc")),
    (Subject::Change(Kind::Room), include_str!("../../avro/change.room.2.avsc")),
    (Subject::Fence, include_str!("../../avro/fence.1.avsc")),
];

/// One schema, ready to read and write with.
pub(super) struct Coder {
    pub(super) subject: Subject,
    pub(super) header: [u8; HEADER],
    writer: GenericDatumWriter<'static>,
    reader: GenericDatumReader<'static>,
}

impl Coder {
    fn fingerprint(&self) -> Fingerprint {
        fingerprint_of(&self.header).unwrap_or_default()
    }

    pub(super) fn new(subject: Subject, schema: Schema) -> Self {
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

    pub(super) fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, CodecError> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&self.header);
        self.writer.write_ser(&mut bytes, value).map_err(|error| CodecError::Unwritable {
            name: self.subject.name(),
            reason: essence(&error.to_string()),
        })?;
        Ok(bytes)
    }

    pub(super) fn decode<T: DeserializeOwned>(&self, mut datum: &[u8]) -> Result<T, CodecError> {
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

/// The schemas of this release and those before it.
struct Table {
    by_fingerprint: HashMap<Fingerprint, Coder>,
    /// Oldest first.
    versions: HashMap<Subject, Vec<Fingerprint>>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    apache_avro::util::max_allocation_bytes(LARGEST);
    let mut by_fingerprint = HashMap::new();
    let mut versions: HashMap<_, Vec<_>> = HashMap::new();
    for (subject, text) in RELEASED {
        let schema = Schema::parse_str(text).expect("a test parses every released schema");
        let coder = Coder::new(*subject, schema);
        versions.entry(*subject).or_default().push(coder.fingerprint());
        by_fingerprint.insert(coder.fingerprint(), coder);
    }
    Table { by_fingerprint, versions }
});

/// Schemas of others, as a registry holds them: what a partner or a newer release writes with.
/// Read on every record of such a writer, written once a schema.
static LEARNED: LazyLock<RwLock<HashMap<(Fingerprint, Subject), &'static Coder>>> =
    LazyLock::new(RwLock::default);

/// Why a schema cannot be learned.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// It is no Avro schema.
    #[error("this is no Avro schema: {0}")]
    Schema(String),
    /// There are 10,000 already.
    #[error("{MOST_LEARNED} schemas were learned, and no more will be")]
    TooMany,
}

/// Makes records readable that `schema` was used to write, where `subject` is expected; gives its
/// fingerprint.
///
/// # Errors
/// If it is no schema, or too many were learned.
pub fn learn(subject: Subject, schema: &str) -> Result<Fingerprint, LearnError> {
    let schema = Schema::parse_str(schema)
        .map_err(|error| LearnError::Schema(essence(&error.to_string())))?;
    let mut fingerprint = Fingerprint::default();
    fingerprint.copy_from_slice(&schema.fingerprint::<Rabin>().bytes);
    if TABLE.by_fingerprint.get(&fingerprint).is_some_and(|coder| coder.subject == subject) {
        return Ok(fingerprint);
    }
    let mut learned = LEARNED.write().unwrap_or_else(PoisonError::into_inner);
    if learned.len() >= MOST_LEARNED {
        return Err(LearnError::TooMany);
    }
    learned
        .entry((fingerprint, subject))
        .or_insert_with(|| Box::leak(Box::new(Coder::new(subject, schema))));
    Ok(fingerprint)
}

/// The schemas that this release may write `subject` with, oldest first, and their texts.
pub fn schemas_of(subject: Subject) -> impl Iterator<Item = (Fingerprint, &'static str)> {
    let texts = RELEASED.iter().filter(move |(of, _)| *of == subject);
    TABLE.versions[&subject].iter().copied().zip(texts.map(|(_, text)| *text))
}

pub(super) fn coders(subject: Subject) -> impl Iterator<Item = &'static Coder> {
    TABLE.versions[&subject].iter().map(|fingerprint| &TABLE.by_fingerprint[fingerprint])
}

/// Writes with the oldest schema that can hold the value, so that a release before this one reads
/// all that it could have written itself.
pub(super) fn encode<T: Serialize>(subject: Subject, value: &T) -> Result<Vec<u8>, CodecError> {
    let mut refused = None;
    for coder in coders(subject) {
        match coder.encode(value) {
            Ok(bytes) => return Ok(bytes),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.expect("every subject has a released schema"))
}

/// Finds the schema that a record was written with, one of those expected, and the datum behind
/// its header.
pub(super) fn open<'a>(
    bytes: &'a [u8],
    expected: &[Subject],
) -> Result<(&'static Coder, &'a [u8]), CodecError> {
    let Some(fingerprint) = fingerprint_of(bytes) else {
        return Err(match confluent_id(bytes) {
            Some(id) => CodecError::UnknownId(id),
            None => CodecError::Framing(bytes.iter().copied().take(2).collect()),
        });
    };
    let datum = &bytes[HEADER..];
    let released = TABLE.by_fingerprint.get(&fingerprint);
    if let Some(coder) = released
        && expected.contains(&coder.subject)
    {
        return Ok((coder, datum));
    }
    let learned = LEARNED.read().unwrap_or_else(PoisonError::into_inner);
    let learned = expected.iter().find_map(|subject| learned.get(&(fingerprint, *subject)));
    match (learned, released) {
        (Some(coder), _) => Ok((coder, datum)),
        (None, Some(coder)) => Err(CodecError::Unexpected {
            got: coder.subject.name(),
            expected: expected.first().map_or("", |subject| subject.name()),
        }),
        (None, None) => Err(CodecError::UnknownFingerprint(hex(&fingerprint))),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The schema of a record in single-object encoding.
pub fn fingerprint_of(bytes: &[u8]) -> Option<Fingerprint> {
    let rest = bytes.strip_prefix(&SINGLE_OBJECT)?;
    rest.first_chunk().copied()
}

/// The schema id of a record in Confluent framing.
pub fn confluent_id(bytes: &[u8]) -> Option<u32> {
    let rest = bytes.strip_prefix(&[CONFLUENT])?;
    rest.first_chunk().copied().map(u32::from_be_bytes)
}

/// Puts a record in Confluent framing into single-object encoding.
pub fn from_confluent(framed: &[u8], fingerprint: Fingerprint) -> Vec<u8> {
    let datum = framed.get(CONFLUENT_HEADER..).unwrap_or_default();
    [&SINGLE_OBJECT[..], &fingerprint, datum].concat()
}

/// Puts a single-object record into Confluent framing under `id`.
pub fn to_confluent(single_object: &[u8], id: u32) -> Vec<u8> {
    let datum = single_object.get(HEADER..).unwrap_or_default();
    [&[CONFLUENT][..], &id.to_be_bytes(), datum].concat()
}
