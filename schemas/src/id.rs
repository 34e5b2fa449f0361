//! Identifiers: newtypes that are checked where they enter and never again.

use std::{fmt, str::FromStr, sync::Arc};

use apache_avro::{
    AvroSchemaComponent, Schema,
    schema::{Name, NamespaceRef},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::Error as _};
use uuid::Uuid;

/// Why a text is not the identifier it should be. The message names the rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must match {rule}, got {got:?}")]
pub struct IdError {
    what: &'static str,
    rule: &'static str,
    got: String,
}

impl IdError {
    fn new(what: &'static str, rule: &'static str, got: &str) -> Self {
        Self { what, rule, got: got.chars().take(80).collect() }
    }
}

fn matches(text: &str, extra: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || extra.as_bytes().contains(&b))
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $extra:literal, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if matches(text, $extra) {
                    Ok(Self(text.into()))
                } else {
                    Err(IdError::new($what, $rule, text))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }

        as_string_in_schemas!($name, $what);
    };
}

macro_rules! as_string_in_schemas {
    ($name:ident, $what:literal) => {
        impl AvroSchemaComponent for $name {
            fn get_schema_in_ctxt(
                _: &mut std::collections::HashSet<Name>,
                _: NamespaceRef<'_>,
            ) -> Schema {
                Schema::String
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "description": $what})
            }
        }
    };
}

text_id!(
    /// An isolated organisation; part of every key.
    TenantId, "tenant", "_-", "[A-Za-z0-9_-]{1,64}"
);
text_id!(
    /// A user's plain name, as in `members` and `assignees`.
    UserName, "user", "_.@+-", "[A-Za-z0-9_.@+-]{1,64}"
);
text_id!(
    /// The id of a thing inside an entity: task, column, message, session, comment, item.
    ItemId, "id", "_.:-", "[A-Za-z0-9_.:-]{1,64}"
);

impl ItemId {
    /// The id of the thing that the command `id` makes, unless the client chose one (R9).
    pub fn derived(id: CommandId) -> Self {
        Self(id.to_string().into())
    }

    /// The id of the `n`th thing, counted from 1, that the command `id` makes.
    pub fn derived_nth(id: CommandId, n: usize) -> Self {
        Self(format!("{id}.{n}").into())
    }
}

/// The three kinds of entity.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// A kanban board.
    Board,
    /// An event project: participants, sessions, reminders.
    Event,
    /// A chat room.
    Room,
}

impl Kind {
    /// All kinds, in the order of their discriminants.
    pub const ALL: [Self; 3] = [Self::Board, Self::Event, Self::Room];

    /// `board`, `event` or `room`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Board => "board",
            Self::Event => "event",
            Self::Room => "room",
        }
    }

    /// The plural of HTTP paths: `boards`, `events` or `rooms`.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Board => "boards",
            Self::Event => "events",
            Self::Room => "rooms",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| IdError::new("kind", "board, event or room", text))
    }
}

/// One board, event or room within its tenant: `board:42`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityId {
    kind: Kind,
    id: Arc<str>,
}

impl EntityId {
    /// Checks `id` against `[A-Za-z0-9_-]{1,64}`.
    pub fn new(kind: Kind, id: &str) -> Result<Self, IdError> {
        if matches(id, "_-") {
            Ok(Self { kind, id: id.into() })
        } else {
            Err(IdError::new("entity id", "[A-Za-z0-9_-]{1,64}", id))
        }
    }

    /// Which kind of entity this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The part after the colon.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.id)
    }
}

impl FromStr for EntityId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let rule = "(board|event|room):[A-Za-z0-9_-]{1,64}";
        let (kind, id) = text.split_once(':').ok_or_else(|| IdError::new("entity", rule, text))?;
        let kind = kind.parse().map_err(|_| IdError::new("entity", rule, text))?;
        Self::new(kind, id).map_err(|_| IdError::new("entity", rule, text))
    }
}

/// An entity with its tenant: the key of its records, `tenant/kind:id`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityKey {
    /// The organisation that the entity belongs to.
    pub tenant: TenantId,
    /// The entity within it.
    pub entity: EntityId,
}

impl EntityKey {
    /// Puts the two parts together.
    pub fn new(tenant: TenantId, entity: EntityId) -> Self {
        Self { tenant, entity }
    }
}

impl fmt::Display for EntityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.entity)
    }
}

impl FromStr for EntityKey {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (tenant, entity) =
            text.split_once('/').ok_or_else(|| IdError::new("key", "tenant/kind:id", text))?;
        Ok(Self { tenant: tenant.parse()?, entity: entity.parse()? })
    }
}

macro_rules! serde_as_text {
    ($name:ident, $what:literal) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }

        as_string_in_schemas!($name, $what);
    };
}

serde_as_text!(EntityId, "kind:id, for example board:42");
serde_as_text!(EntityKey, "tenant/kind:id");
serde_as_text!(Principal, "user:…, partner:…, bridge:… or system");
serde_as_text!(CommandId, "a UUID, best a UUIDv7");

/// The idempotency key of a command (R8): any UUID, best a UUIDv7 (RFC 9562).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandId(Uuid);

impl CommandId {
    /// Takes a UUID as it is.
    pub fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The id that follows from `source` alone (RFC 9562, version 8 over SHA-256): for commands
    /// whose cause already has a name, such as a partner's record or a timer, so that a repeat
    /// has no effect.
    pub fn derived(source: &str) -> Self {
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(source.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// The sixteen bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for CommandId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Uuid::try_parse(text).map(Self).map_err(|_| IdError::new("commandId", "a UUID", text))
    }
}

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Principal {
    /// A person, by plain name.
    User(UserName),
    /// A partner that produces to `partner.<name>`.
    Partner(UserName),
    /// A bridge to a chat platform.
    Bridge(UserName),
    /// Switchyard itself: timers and moves between partitions.
    System,
}

impl Principal {
    /// The plain name under which this principal appears in `members`, `reads` and the like.
    /// Users have their own; others have their full form, which no user can take (`:`).
    pub fn user(&self) -> Option<&UserName> {
        match self {
            Self::User(name) => Some(name),
            Self::Partner(_) | Self::Bridge(_) | Self::System => None,
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "user:{name}"),
            Self::Partner(name) => write!(f, "partner:{name}"),
            Self::Bridge(name) => write!(f, "bridge:{name}"),
            Self::System => f.write_str("system"),
        }
    }
}

impl FromStr for Principal {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let rule = "user:<name>, partner:<name>, bridge:<name> or system";
        if text == "system" {
            return Ok(Self::System);
        }
        let (class, name) =
            text.split_once(':').ok_or_else(|| IdError::new("principal", rule, text))?;
        let name: UserName = name.parse()?;
        match class {
            "user" => Ok(Self::User(name)),
            "partner" => Ok(Self::Partner(name)),
            "bridge" => Ok(Self::Bridge(name)),
            _other => Err(IdError::new("principal", rule, text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_ids_are_checked_at_the_edge() {
        assert_eq!("board:42".parse::<EntityId>().unwrap().to_string(), "board:42");
        for bad in ["board", "board:", "bored:1", "board:a b", "room:../x", "board:1:2", ""] {
            assert!(bad.parse::<EntityId>().is_err(), "{bad}");
        }
        assert!(EntityId::new(Kind::Room, &"x".repeat(65)).is_err());
    }

    #[test]
    fn principals_survive_their_text() {
        for text in ["user:ada", "partner:erp", "bridge:slack", "system"] {
            assert_eq!(text.parse::<Principal>().unwrap().to_string(), text);
        }
        assert!("root:ada".parse::<Principal>().is_err());
        assert!("user:a:b".parse::<Principal>().is_err());
    }

    #[test]
    fn derived_ids_follow_from_their_source_alone() {
        assert_eq!(CommandId::derived("a/0/1"), CommandId::derived("a/0/1"));
        assert_ne!(CommandId::derived("a/0/1"), CommandId::derived("a/0/2"));
    }
}
