//! The system's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use actors::ports::Clock;
use schemas::Timestamp;

/// The system's clock; may be set back by whoever administers the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}
