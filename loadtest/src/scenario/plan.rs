//! Turns phases into times that are fixed before the run: when each socket opens, is cut off, stops
//! reading or closes, and the rates over time.

use std::collections::VecDeque;
use std::time::Duration;

use super::file::{File, Level, Phase};
use crate::random::Random;
use crate::schedule::Profile;

/// Something a socket does at a time that was fixed beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Open,
    /// On purpose, for good or until the next `Open`.
    Close,
    /// By a storm; it comes back at `back_ns`.
    Drop {
        storm: usize,
        back_ns: u64,
    },
    /// Reads nothing until then.
    Pause {
        until_ns: u64,
    },
}

/// The actions of one socket, by time.
pub(super) type Actions = VecDeque<(u64, Action)>;

/// A phase on the run's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) from_ns: u64,
    pub(super) until_ns: u64,
}

/// Where the phases lie if the run begins at `start_ns`.
pub(super) fn spans(file: &File, start_ns: u64) -> Vec<Span> {
    let mut from_ns = start_ns;
    let span = |phase: &Phase| {
        let until_ns = from_ns + nanos(phase.duration);
        let span = Span { from_ns, until_ns };
        from_ns = until_ns;
        span
    };
    file.phases.iter().map(span).collect()
}

/// A rate over all phases.
pub(super) fn profile(file: &File, start_ns: u64, pick: fn(&Phase) -> Level) -> Profile {
    let part = |phase: &Phase| {
        let level = pick(phase);
        (phase.duration, level.from, level.to)
    };
    Profile::new(start_ns, file.phases.iter().map(part))
}

/// The times of all storms, in the order of their numbers.
pub(super) fn storms(file: &File, spans: &[Span]) -> Vec<u64> {
    let storm =
        |(phase, span): (&Phase, &Span)| Some(span.from_ns + nanos(phase.storm.as_ref()?.at));
    file.phases.iter().zip(spans).filter_map(storm).collect()
}

/// The actions of every socket.
pub(super) fn actions(file: &File, spans: &[Span], seed: u64) -> Vec<Actions> {
    let mut sockets: Vec<Actions> = vec![Actions::new(); file.most_sockets()];
    let mut open_until = 0;
    let mut storm_number = 0;
    for (number, (phase, span)) in file.phases.iter().zip(spans).enumerate() {
        if let Some(level) = phase.sockets {
            let (from, to) = (level.from as usize, level.to as usize);
            step(&mut sockets, open_until, from, |_| span.from_ns);
            let length = (span.until_ns - span.from_ns) as f64;
            let width = from.abs_diff(to).max(1) as f64;
            step(&mut sockets, from, to, |index| {
                let done = if to > from { index - from } else { from - 1 - index };
                span.from_ns + (done as f64 / width * length) as u64
            });
            open_until = to;
        }
        let mut random = Random::new(seed ^ ((number as u64 + 1) << 32));
        if let Some(storm) = &phase.storm {
            let at_ns = span.from_ns + nanos(storm.at);
            for actions in &mut sockets {
                let (chosen, late) = (random.next_unit() < storm.share, random.next_unit());
                if chosen && is_open(actions, at_ns) {
                    let back_ns = at_ns + (late * nanos(storm.jitter) as f64) as u64;
                    insert(actions, at_ns, Action::Drop { storm: storm_number, back_ns });
                }
            }
            storm_number += 1;
        }
        if let Some(slow) = &phase.slow {
            let at_ns = span.from_ns + nanos(slow.at);
            for actions in &mut sockets {
                if random.next_unit() < slow.share && is_open(actions, at_ns) {
                    let until_ns = at_ns + nanos(slow.lasts);
                    insert(actions, at_ns, Action::Pause { until_ns });
                }
            }
        }
    }
    sockets
}

/// Opens or closes the sockets between two levels.
fn step(sockets: &mut [Actions], from: usize, to: usize, at_ns: impl Fn(usize) -> u64) {
    let action = if to > from { Action::Open } else { Action::Close };
    let range = from.min(to)..from.max(to);
    for (index, actions) in sockets.iter_mut().enumerate().take(range.end).skip(range.start) {
        insert(actions, at_ns(index), action);
    }
}

fn insert(actions: &mut Actions, at_ns: u64, action: Action) {
    let place = actions.partition_point(|&(other_ns, _)| other_ns <= at_ns);
    actions.insert(place, (at_ns, action));
}

fn is_open(actions: &Actions, at_ns: u64) -> bool {
    let before = actions.iter().take_while(|&&(other_ns, _)| other_ns <= at_ns);
    let last = before.filter(|(_, action)| matches!(action, Action::Open | Action::Close)).last();
    matches!(last, Some((_, Action::Open)))
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn file(phases: &str) -> File {
        toml::from_str(&format!("name = \"t\"\n{phases}")).unwrap()
    }

    #[test]
    fn sockets_follow_the_ramps_up_and_down() {
        let file = file(
            r#"
            phases = [
              { name = "up", duration = "4s", sockets = { from = 0, to = 4 } },
              { name = "hold", duration = "1s" },
              { name = "down", duration = "2s", sockets = { from = 4, to = 2 } },
              { name = "off", duration = "1s", sockets = 0 },
            ]"#,
        );
        let spans = spans(&file, S);
        assert_eq!((spans[2].from_ns, spans[3].until_ns), (6 * S, 9 * S));
        let actions = actions(&file, &spans, 1);
        assert_eq!(actions[0], [(S, Action::Open), (8 * S, Action::Close)]);
        assert_eq!(actions[1], [(2 * S, Action::Open), (8 * S, Action::Close)]);
        assert_eq!(actions[2], [(3 * S, Action::Open), (7 * S, Action::Close)]);
        assert_eq!(actions[3], [(4 * S, Action::Open), (6 * S, Action::Close)]);
    }

    #[test]
    fn a_storm_takes_its_share_of_the_open_sockets_within_the_jitter() {
        let file = file(
            r#"
            phases = [
              { name = "open", duration = "1s", sockets = 1000 },
              { name = "storm", duration = "9s", sockets = 800,
                storm = { at = "2s", share = 0.25, jitter = "1s" } },
            ]"#,
        );
        let spans = spans(&file, 0);
        let actions = actions(&file, &spans, 7);
        assert_eq!(storms(&file, &spans), [3 * S]);
        let mut dropped = 0;
        for (index, actions) in actions.iter().enumerate() {
            for &(at_ns, action) in actions {
                let Action::Drop { storm, back_ns } = action else { continue };
                assert_eq!((at_ns, storm), (3 * S, 0));
                assert!((3 * S..4 * S).contains(&back_ns));
                assert!(index < 800);
                dropped += 1;
            }
        }
        assert!((150..250).contains(&dropped), "{dropped}");
    }
}
