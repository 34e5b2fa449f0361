//! Adapters behind the ports, configuration, and what the program `switchyard` does.

pub mod sqlite;
