//! The four chat platforms. A platform is pure functions: `parse` reads what it sent into
//! [`Inbound`]s, `render` writes a message as what its calls need. They know no network, so every
//! format is tested where it is kept.

pub mod capabilities;
pub mod card;
pub mod codec;
pub mod discord;
mod emoji;
pub mod message;
#[cfg(test)]
mod mutations;
pub mod runtime;
pub mod simulator;
pub mod slack;
pub mod split;
pub mod teams;
pub mod telegram;
#[cfg(test)]
mod testing;
pub mod upload;

pub use message::{Author, Inbound, Names, Place};
