//! A small seeded generator (SplitMix64), for phases, masks and command ids: the same seed gives
//! the same load. Not for secrets.

use uuid::{Builder, Uuid};

use crate::run::unix_ms;

/// SplitMix64, after Steele, Lea and Flood, "Fast splittable pseudorandom number generators".
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A UUIDv7 of this moment.
    pub(crate) fn command_id(&mut self) -> Uuid {
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.next_u64().to_be_bytes());
        random[8..].copy_from_slice(&(self.next_u64() as u16).to_be_bytes());
        Builder::from_unix_timestamp_millis(unix_ms(), &random).into_uuid()
    }

    /// Uniform in `0.0..1.0`.
    pub(crate) fn next_unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}
