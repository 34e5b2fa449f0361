//! The gateway: WebSocket and HTTP in front of the entities, and the web page.
//!
//! `hub` carries outcomes from the log to whoever looks; `session` speaks the WebSocket protocol;
//! `http` the rest. Nothing here decides anything: commands go to the log, answers come from it.

pub mod app;
pub mod auth;
mod commands;
pub mod config;
mod connection;
pub mod frame;
mod http;
pub mod hub;
mod limits;
mod metrics;
mod outbox;
mod problem;
mod server;
mod session;

pub use app::SignalsProbe;
pub use http::documents::{asyncapi, openapi};
pub use problem::Problem;
pub use server::{Gateway, StartError};
