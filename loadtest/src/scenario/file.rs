//! The scenario file: what is in it, and what is wrong with it. Times are durations with a unit,
//! rates are per second. A key that is not known is an error that names it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;
use crate::slo::Slo;
use crate::units::parse_duration;

/// A scenario.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Its name in the report.
    pub name: String,
    /// What the sockets join; without it they are idle.
    pub join: Option<Join>,
    /// How many bytes the system takes for a socket that does not read (SO_RCVBUF); its own choice,
    /// if not given.
    pub receive_buffer: Option<u32>,
    /// Who sends the commands.
    #[serde(default)]
    pub senders: Senders,
    /// How the HTTP requests are mixed, by weight.
    #[serde(default)]
    pub mix: Mix,
    /// Objectives: `lost = 0`, `delivery.p99 = "50ms"`.
    #[serde(default)]
    pub slo: BTreeMap<String, Objective>,
    /// One after the other.
    pub phases: Vec<Phase>,
}

/// What the sockets join.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// How many rooms there are, if they are shared.
    #[serde(default = "one")]
    pub rooms: usize,
    /// How many of them a socket joins.
    #[serde(default = "one")]
    pub per_socket: usize,
    /// Whose they are.
    #[serde(default)]
    pub distribution: Distribution,
}

/// Whose the rooms are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Sockets are spread evenly over `rooms`.
    #[default]
    Shared,
    /// Every socket has rooms of its own.
    Own,
}

/// The connections that commands are sent by; storms do not touch them.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Senders {
    /// How many.
    #[serde(default = "four")]
    pub count: usize,
    /// Length of a message's text.
    #[serde(default = "payload")]
    pub payload: usize,
}

/// Weights of the kinds of HTTP requests.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// `GET` of a room's state.
    #[serde(default)]
    pub state: usize,
    /// `GET` of the first page of a room's journal.
    #[serde(default)]
    pub changes: usize,
    /// `POST` of a message into a room.
    #[serde(default)]
    pub post: usize,
}

/// An objective's bound, or a table of bounds of one distribution.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Objective {
    /// `lost = 0`.
    Count(u64),
    /// `p99 = "50ms"`.
    Bound(String),
    /// `delivery.p99 = "50ms"`.
    Of(BTreeMap<String, String>),
}

/// One part of a run.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Its name in the report.
    pub name: String,
    /// How long it lasts.
    #[serde(deserialize_with = "duration", serialize_with = "seconds")]
    pub duration: Duration,
    /// False for the first phases of a run that shall not count as measured; loss always counts.
    #[serde(default = "yes")]
    pub measured: bool,
    /// How many sockets are open; as before, if not given.
    pub sockets: Option<Level>,
    /// Commands a second over all rooms.
    #[serde(default)]
    pub commands: Level,
    /// Signals a second over all sockets.
    #[serde(default)]
    pub signals: Level,
    /// HTTP requests a second.
    #[serde(default)]
    pub requests: Level,
    /// Cuts sockets off, which then resume.
    pub storm: Option<Storm>,
    /// Makes sockets stop reading for a time.
    pub slow: Option<Slow>,
}

/// A level over a phase: one number, or a ramp `{ from, to }`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Level {
    /// At its beginning.
    pub from: f64,
    /// At its end.
    pub to: f64,
}

/// A reconnect storm.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    /// When, after the phase's beginning.
    #[serde(default, deserialize_with = "duration", serialize_with = "seconds")]
    pub at: Duration,
    /// Which part of the open sockets, 0 to 1.
    #[serde(default = "all")]
    pub share: f64,
    /// They come back at random times within this.
    #[serde(default, deserialize_with = "duration", serialize_with = "seconds")]
    pub jitter: Duration,
}

/// Readers that stop.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Slow {
    /// When, after the phase's beginning.
    #[serde(default, deserialize_with = "duration", serialize_with = "seconds")]
    pub at: Duration,
    /// Which part of the open sockets, 0 to 1.
    #[serde(default = "all")]
    pub share: f64,
    /// For how long.
    #[serde(rename = "for", deserialize_with = "duration", serialize_with = "seconds")]
    pub lasts: Duration,
}

impl File {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::File { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|why| Error::Usage(format!("{}: {why}", path.display())))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        file.check()?;
        Ok(file)
    }

    fn check(&self) -> Result<(), String> {
        if self.phases.is_empty() {
            return Err("phases: at least one is needed".to_owned());
        }
        if self.receive_buffer.is_some_and(|bytes| !(4_096..=1 << 30).contains(&bytes)) {
            return Err("receive_buffer: from 4096 bytes to 1 GiB".to_owned());
        }
        if self.senders.count == 0 {
            return Err("senders.count: at least 1".to_owned());
        }
        if let Some(join) = &self.join {
            for (name, count) in [("rooms", join.rooms), ("per_socket", join.per_socket)] {
                if count == 0 {
                    return Err(format!("join.{name}: at least 1"));
                }
            }
            if join.distribution == Distribution::Shared && join.per_socket > join.rooms {
                return Err("join.per_socket: more than join.rooms".to_owned());
            }
        }
        let mut measured = false;
        for (number, phase) in self.phases.iter().enumerate() {
            phase
                .check(self.join.is_some())
                .map_err(|why| format!("phases[{number}].{why}, in `{}`", phase.name))?;
            if measured && !phase.measured {
                return Err(format!(
                    "phases[{number}].measured: only the first phases may be unmeasured, in `{}`",
                    phase.name
                ));
            }
            measured |= phase.measured;
        }
        if !measured {
            return Err("phases: none is measured".to_owned());
        }
        self.slos()?;
        Ok(())
    }

    /// The objectives.
    pub fn slos(&self) -> Result<Vec<Slo>, String> {
        let read = |key: &str, bound: &str| {
            format!("{key}={bound}").parse::<Slo>().map_err(|why| format!("slo.{key}: {why}"))
        };
        let mut slos = Vec::new();
        for (name, objective) in &self.slo {
            match objective {
                Objective::Count(bound) => slos.push(read(name, &bound.to_string())?),
                Objective::Bound(bound) => slos.push(read(name, bound)?),
                Objective::Of(bounds) => {
                    for (quantile, bound) in bounds {
                        slos.push(read(&format!("{name}.{quantile}"), bound)?);
                    }
                }
            }
        }
        Ok(slos)
    }

    /// The most sockets that are ever open at a time.
    pub fn most_sockets(&self) -> usize {
        let levels = self.phases.iter().filter_map(|phase| phase.sockets);
        levels.map(|level| level.from.max(level.to) as usize).max().unwrap_or(0)
    }
}

impl Phase {
    fn check(&self, joined: bool) -> Result<(), String> {
        if self.duration.is_zero() {
            return Err("duration: above zero".to_owned());
        }
        let sockets = self.sockets.unwrap_or_default();
        for (name, level) in [
            ("sockets", sockets),
            ("commands", self.commands),
            ("signals", self.signals),
            ("requests", self.requests),
        ] {
            if !(0.0..=1e7).contains(&level.from) || !(0.0..=1e7).contains(&level.to) {
                return Err(format!("{name}: from 0 to 10,000,000"));
            }
        }
        for (name, level) in
            [("commands", self.commands), ("signals", self.signals), ("requests", self.requests)]
        {
            if level != Level::default() && !joined {
                return Err(format!("{name}: there are no rooms without [join]"));
            }
        }
        let storm = self.storm.as_ref().map(|storm| ("storm", storm.at, storm.share));
        let slow = self.slow.as_ref().map(|slow| ("slow", slow.at, slow.share));
        for (name, at, share) in storm.into_iter().chain(slow) {
            if !(0.0..=1.0).contains(&share) {
                return Err(format!("{name}.share: from 0 to 1"));
            }
            if at >= self.duration {
                return Err(format!("{name}.at: not before the phase's end"));
            }
        }
        Ok(())
    }
}

impl Default for Senders {
    fn default() -> Self {
        Self { count: four(), payload: payload() }
    }
}

impl Default for Mix {
    fn default() -> Self {
        Self { state: 1, changes: 0, post: 0 }
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LevelVisitor)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ramp {
    from: f64,
    to: f64,
}

struct LevelVisitor;

impl<'de> Visitor<'de> for LevelVisitor {
    type Value = Level;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number or { from = …, to = … }")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Level, E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Level, E> {
        Ok(Level { from: value, to: value })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Level, A::Error> {
        let Ramp { from, to } = Ramp::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Level { from, to })
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn one() -> usize {
    1
}

fn four() -> usize {
    4
}

fn payload() -> usize {
    128
}

fn all() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests;
