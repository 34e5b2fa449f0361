//! An event: its details and life, who comes, the schedule, the reminders.
//!
//! What holds after every change:
//! - Never overbooked: the places of confirmed participants never exceed the capacity. Whoever
//!   made the event takes no place, nor do those who come along with them.
//! - Strictly first come, first served: somebody waits only while the first of the waitlist does
//!   not fit, nobody passes the first, and a freed place goes on in the same outcome.
//! - Two sessions share a speaker or a place at one time only where somebody asked for it.
//! - A reminder fires at most once, and every wake-up fires at least one.
//! - There is always an owner.

mod apply;
mod decide;
mod details;
mod participants;
mod reminders;
mod sessions;
mod state;
mod view;

#[cfg(test)]
mod tests;

pub use reminders::Reminder;
pub use sessions::Session;
pub use state::{Details, Event, Participant};
