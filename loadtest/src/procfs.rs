//! What the machine is and what a process uses of it, from /proc (proc(5)). Linux only; elsewhere
//! everything reads as unknown.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::error::Error;

/// USER_HZ: 100 on every architecture that Linux runs servers on.
const TICKS_A_SECOND: f64 = 100.0;

const SAMPLING: Duration = Duration::from_secs(1);

/// What a process has used until now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// User and system time of all its threads, in steps of 10 ms.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// The most it ever was.
    pub peak_rss_bytes: u64,
}

impl Usage {
    /// Of the process with this id.
    pub fn of(pid: u32) -> Result<Self, Error> {
        Self::under(PathBuf::from(format!("/proc/{pid}")))
    }

    /// The sum over these processes; None if there are none.
    pub fn of_all(pids: &[u32]) -> Result<Option<Self>, Error> {
        let mut sum: Option<Self> = None;
        for &pid in pids {
            sum = Some(sum.unwrap_or_default().plus(Self::of(pid)?));
        }
        Ok(sum)
    }

    /// Of two processes together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds + other.cpu_seconds,
            rss_bytes: self.rss_bytes + other.rss_bytes,
            peak_rss_bytes: self.peak_rss_bytes + other.peak_rss_bytes,
        }
    }

    /// Of this process; None where there is no /proc.
    pub fn of_self() -> Option<Self> {
        Self::under(PathBuf::from("/proc/self")).ok()
    }

    fn under(folder: PathBuf) -> Result<Self, Error> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(|source| Error::File { path, source })
        };
        let (stat, status) = (read("stat")?, read("status")?);
        parse(&stat, &status)
            .ok_or_else(|| Error::Setup(format!("{}: not as proc(5) says", folder.display())))
    }
}

fn parse(stat: &str, status: &str) -> Option<Usage> {
    // The command name is in parentheses and may hold spaces and parentheses itself.
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Usage {
        cpu_seconds: (user + system) as f64 / TICKS_A_SECOND,
        rss_bytes: kib_line(status, "VmRSS:")?,
        peak_rss_bytes: kib_line(status, "VmHWM:")?,
    })
}

fn kib_line(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// What the servers used in one second.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Seconds since the sampling began.
    pub second: f64,
    /// CPU time since the last sample: 1.0 is one core.
    pub cores: f64,
    /// Resident memory.
    pub rss_bytes: u64,
}

/// Takes a sample every second.
#[derive(Debug)]
pub(crate) struct Sampler {
    stop: oneshot::Sender<()>,
    samples: JoinHandle<Vec<Sample>>,
}

impl Sampler {
    /// Of the sum of these processes; of none, there are no samples.
    pub(crate) fn start(pids: &[u32]) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let pids = pids.to_vec();
        let samples = tokio::spawn(async move {
            let mut samples = Vec::new();
            let started = Instant::now();
            let Ok(Some(mut last)) = Usage::of_all(&pids) else { return samples };
            let mut last_second = 0.0;
            while tokio::time::timeout(SAMPLING, &mut stopped).await.is_err() {
                // A server that is gone has no more samples; the reading at the end names it.
                let Ok(Some(usage)) = Usage::of_all(&pids) else { break };
                let second = started.elapsed().as_secs_f64();
                let cores = (usage.cpu_seconds - last.cpu_seconds) / (second - last_second);
                samples.push(Sample { second, cores, rss_bytes: usage.rss_bytes });
                (last, last_second) = (usage, second);
            }
            samples
        });
        Self { stop, samples }
    }

    pub(crate) async fn finish(self) -> Vec<Sample> {
        // It may have ended by itself.
        self.stop.send(()).ok();
        self.samples.await.unwrap_or_default()
    }
}

/// The machine that the run was on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// Cores this process may use.
    pub cores: usize,
    /// Memory in all.
    pub memory_bytes: Option<u64>,
    /// The first processor's name.
    pub processor: Option<String>,
    /// The kernel's version.
    pub kernel: Option<String>,
}

impl Machine {
    /// This machine.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let kernel = read("/proc/sys/kernel/osrelease");
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kib_line(&read("/proc/meminfo"), "MemTotal:"),
            processor: cpuinfo.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                (name.trim() == "model name").then(|| value.trim().to_owned())
            }),
            kernel: Some(kernel.trim().to_owned()).filter(|version| !version.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_and_status_are_read_past_an_odd_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 8 0 100 1000 200";
        let status = "Name:\ta ) b\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n";
        let usage = parse(stat, status).unwrap();
        assert_eq!(usage.cpu_seconds, 3.0);
        assert_eq!((usage.rss_bytes, usage.peak_rss_bytes), (1 << 20, 2 << 20));
    }

    #[test]
    fn a_kernel_thread_has_no_memory() {
        assert!(parse("2 (k) S 0 0 0 0 -1 1 0 0 0 0 0 0", "Name:\tk\n").is_none());
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(Usage::of_self().unwrap().rss_bytes > 0);
        assert!(Usage::of(0).is_err());
    }
}
