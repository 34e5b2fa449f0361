//! The actor runtime: ordering, fencing, replay and read-only copies.
//!
//! `owner`, `replica`, `projector`, `reader`, `ring` and `timers` are state machines without I/O;
//! `partition`, `entity`, `projection`, `forwarder` and `node` carry out what they say,
//! on actix actors and tokio tasks.

pub mod dead_letter;
pub mod entity;
pub mod forwarder;
pub mod guards;
pub mod node;
pub mod owner;
pub mod partition;
pub mod partitioner;
mod place;
pub mod projection;
pub mod projector;
pub mod publisher;
pub mod reader;
pub mod replica;
pub mod ring;
pub mod timers;
