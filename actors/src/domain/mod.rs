//! The pure domain: three aggregates, each `decide` (command → changes or a "no") and `apply`
//! (change → state). Nothing here sees a clock, randomness or I/O (R9): time is the command's,
//! ids follow from the command's id.

pub mod access;
pub mod board;
pub mod entity;
pub mod event;
pub mod recent;
pub mod room;

use schemas::{CommandId, Principal, Seq, Timestamp};

use access::Actor;

/// What `decide` knows beside state and command.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Who asks and with what standing in the tenant.
    pub actor: Actor<'a>,
    /// The command's time: the only "now".
    pub at: Timestamp,
    /// The command's id, from which ids of new things follow.
    pub command_id: CommandId,
}

/// A change before it has its number.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft<C> {
    /// What happens.
    pub body: C,
    /// The seq that it takes back.
    pub undoes: Option<Seq>,
    /// The seq, as the redo named it, that it brings back.
    pub redoes: Option<Seq>,
}

impl<C> From<C> for Draft<C> {
    fn from(body: C) -> Self {
        Self { body, undoes: None, redoes: None }
    }
}

/// What `apply` knows beside state and change.
#[derive(Debug, Clone, Copy)]
pub struct Meta<'a> {
    /// The change's number.
    pub seq: Seq,
    /// The command's time.
    pub at: Timestamp,
    /// Who asked.
    pub by: &'a Principal,
    /// The seq that this change takes back.
    pub undoes: Option<Seq>,
    /// The seq that this change brings back.
    pub redoes: Option<Seq>,
}
