//! The pure domain and the actor runtime over the ports.
pub mod domain;
