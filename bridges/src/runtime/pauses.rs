//! How long a way in waits before it tries again: a platform that is away, refuses or asks to wait is
//! never asked in a busy loop, and nodes that lost it together do not come back together.

use std::time::Duration;

use schemas::room::Platform;

use super::RunError;

/// The first pause; each is twice the one before.
pub(super) const PAUSE: Duration = Duration::from_millis(500);
/// The longest of these pauses.
pub(super) const PAUSE_MOST: Duration = Duration::from_secs(60);
/// After a refusal that no repeat mends, somebody must do something: tried so often.
const REFUSED_PAUSE: Duration = Duration::from_secs(300);
/// No platform is obeyed beyond this; it is asked again then.
const WAIT_MOST: Duration = Duration::from_secs(600);

/// Why a way in stands still.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The log or the mappings.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Something that passes: the platform cannot be reached, or has a fault.
    #[error("{0}")]
    Passing(String),
    /// Later, says the platform.
    #[error("the platform asks to wait {0:?}")]
    Wait(Duration),
    /// The credentials or settings of the app do not suffice.
    #[error("{0}")]
    Refused(String),
}

impl Trouble {
    /// Something that passes.
    pub(super) fn passing(what: impl Into<String>) -> Self {
        Self::Passing(what.into())
    }

    /// Says it once in the log.
    pub(super) fn tell(&self, platform: Platform, pause: Duration) {
        match self {
            Self::Refused(reason) => {
                tracing::error!(%platform, reason, ?pause, "the way in is refused by the platform");
            }
            Self::Run(_) | Self::Passing(_) | Self::Wait(_) => {
                tracing::warn!(%platform, reason = %self, ?pause, "the way in is tried again");
            }
        }
    }
}

/// The pauses of one way in.
#[derive(Debug)]
pub(super) struct Pauses(Duration);

impl Pauses {
    /// Begins with the shortest.
    pub(super) fn new() -> Self {
        Self(PAUSE)
    }

    /// It went well: the next pause is the shortest again.
    pub(super) fn reset(&mut self) {
        self.0 = PAUSE;
    }

    /// The pause after something that passes: half of it is left to chance.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0.mul_f64(rand::random_range(0.5..=1.0));
        self.0 = (self.0 * 2).min(PAUSE_MOST);
        pause.max(PAUSE)
    }

    /// The pause after this.
    pub(super) fn after(&mut self, trouble: &Trouble) -> Duration {
        match trouble {
            Trouble::Run(_) | Trouble::Passing(_) => self.next(),
            Trouble::Wait(asked) => (*asked).min(WAIT_MOST) + self.next(),
            Trouble::Refused(_) => REFUSED_PAUSE + self.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute_and_are_never_nothing() {
        let mut pauses = Pauses::new();
        for _ in 0..50 {
            let pause = pauses.next();
            assert!((PAUSE..=PAUSE_MOST).contains(&pause), "{pause:?}");
        }
        assert!(pauses.next() >= PAUSE_MOST / 2);
        pauses.reset();
        assert_eq!(pauses.next(), PAUSE);
    }

    #[test]
    fn what_a_platform_asks_is_obeyed() {
        let mut pauses = Pauses::new();
        let asked = Duration::from_secs(17);
        assert!(pauses.after(&Trouble::Wait(asked)) >= asked);
        assert!(pauses.after(&Trouble::Wait(Duration::MAX)) <= WAIT_MOST + PAUSE_MOST);
        assert!(pauses.after(&Trouble::Refused("401".into())) >= REFUSED_PAUSE);
        assert!(pauses.after(&Trouble::passing("503")) <= PAUSE_MOST);
    }
}
