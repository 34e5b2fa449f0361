//! A chat room: messages, threads, reactions, pins and read positions, and who may take part.
//!
//! What it promises:
//! - the newest 200 messages are kept whole; of the 2,000 before those, enough to decide rightly
//!   about edits, deletions, replies and read positions. The journal has the rest.
//! - a message's place never changes; a deleted one keeps it without words.
//! - a room made by a user always has an owner among its members.
//! - who is banned is no member, has no read position, and neither reads nor writes.
//! - everything here is bounded; each bound stands beside the rule that keeps it.

mod apply;
mod decide;
mod links;
mod members;
mod messages;
mod slow;
mod state;
mod text;
mod timeline;
mod view;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use links::Link;
pub use state::Room;
