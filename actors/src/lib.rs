//! The pure domain, and the actor runtime that carries it over four ports.
//!
//! `domain` decides; `runtime` orders, fences and replays; `ports` says what they need of the
//! world; `memory` is that world for tests. No adapter is named here.

pub mod domain;
pub mod memory;
pub mod ports;
pub mod runtime;
pub mod trace;
