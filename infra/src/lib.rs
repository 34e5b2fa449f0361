//! Adapters behind the ports, configuration, and what the program `switchyard` does.

mod bridge_tools;
pub mod cli;
pub mod clock;
pub mod config;
mod crc;
pub mod demo;
pub mod dlq;
mod identities;
pub mod inspect;
pub mod kafka;
pub mod postgres;
pub mod redis;
pub mod serve;
pub mod sqlite;
pub mod telemetry;
pub mod verify;
