//! Adapters behind the ports, configuration, and what the program `switchyard` does.

pub mod clock;
pub mod config;
pub mod inspect;
pub mod serve;
pub mod sqlite;
pub mod telemetry;
pub mod verify;
