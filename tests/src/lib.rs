//! What the integration tests share: a running node and its clients, and the simulator.

pub mod client;
pub mod collector;
pub mod proxy;
pub mod server;
pub mod services;
pub mod simulator;
