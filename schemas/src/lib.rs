//! What Switchyard says: ids, envelopes, commands and changes of the three kinds of entity, the
//! unified message tree, and their JSON and Avro forms.
//!
//! This crate does no I/O and knows no clock. Every type here has one Rust definition and two
//! written forms: JSON for people and clients (PROTOCOL.md) and Avro for the log (DESIGN.md).

/// Gives an enum of plain symbols its Avro schema. The derive refuses documented variants.
macro_rules! avro_enum {
    ($name:ident: $($symbol:literal),+) => {
        impl apache_avro::AvroSchemaComponent for $name {
            fn get_schema_in_ctxt(
                named: &mut std::collections::HashSet<apache_avro::schema::Name>,
                _: apache_avro::schema::NamespaceRef<'_>,
            ) -> apache_avro::Schema {
                let name = apache_avro::schema::Name::new(stringify!($name))
                    .expect("a Rust name is an Avro name");
                if named.contains(&name) {
                    return apache_avro::Schema::Ref { name };
                }
                named.insert(name.clone());
                let symbols = [$($symbol),+].map(String::from).to_vec();
                apache_avro::Schema::Enum(
                    apache_avro::schema::EnumSchema::builder().name(name).symbols(symbols).build(),
                )
            }
        }
    };
}
pub(crate) use avro_enum;

pub mod board;
pub mod code;
pub mod codec;
pub mod command;
pub mod content;
pub mod event;
pub mod id;
pub mod json;
pub mod outcome;
pub mod partner;
pub mod patch;
pub mod role;
pub mod room;
pub mod time;

pub use code::{Code, FieldError, Rejection};
pub use command::{Body, Command};
pub use id::{CommandId, EntityId, EntityKey, ItemId, Kind, Principal, TenantId, UserName};
pub use outcome::{Change, ChangeBody, Fence, Outcome, OutcomeRecord, Verdict};
pub use patch::Patch;
pub use time::Timestamp;

/// A change's number within its entity: 1, 2, 3 … without gaps; 0 is "before the first".
/// Signed because Avro and SQL know no unsigned 64-bit integer; never negative.
pub type Seq = i64;

/// A record's position within its topic partition, counted from 0, as Kafka counts.
pub type Offset = i64;

/// The offset of the fence by which an owner took its partition (R2).
pub type Epoch = i64;
