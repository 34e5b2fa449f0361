//! What Prometheus expects to know of a process (`proc_pid_stat(5)`, `proc_stat(5)`), under the names of
//! its own client libraries.

use std::{fs, sync::atomic::AtomicU64};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// Ticks a second in what Linux shows to programs (`USER_HZ`), the same on all its machines.
const TICKS: f64 = 100.0;

/// Resident memory of this process (`proc_pid_status(5)`, VmRSS); 0 where that cannot be read.
pub(crate) fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    kibibytes.map_or(0, |kibibytes: u64| kibibytes * 1_024)
}

/// Seconds of processor time that were used, and the start in seconds since 1970.
fn times() -> Option<(f64, f64)> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name before may have spaces and parentheses; the state is the first field behind it.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
    let (user, system, started) = (ticks(11)?, ticks(12)?, ticks(19)?);
    let machine = fs::read_to_string("/proc/stat").ok()?;
    let booted = machine.lines().find_map(|line| line.strip_prefix("btime "))?;
    let booted: f64 = booted.trim().parse().ok()?;
    Some(((user + system) / TICKS, booted + started / TICKS))
}

fn open_files() -> Option<u64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64)
}

fn most_files() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Registers what can be read here.
pub(super) fn register(registry: &mut Registry) {
    if let Some((used, started)) = times() {
        let seconds: Counter<f64, AtomicU64> = Counter::default();
        seconds.inc_by(used);
        registry.register("process_cpu_seconds", "Processor time, user and system", seconds);
        let start: Gauge<f64, AtomicU64> = Gauge::default();
        start.set(started);
        registry.register("process_start_time_seconds", "Start since the Unix epoch", start);
    }
    let gauges = [
        ("process_resident_memory_bytes", "Resident memory", Some(resident_bytes())),
        ("process_open_fds", "Open file descriptors", open_files()),
        ("process_max_fds", "Most open file descriptors", most_files()),
    ];
    for (name, help, value) in gauges {
        if let Some(value) = value {
            let gauge: Gauge = Gauge::default();
            gauge.set(value.cast_signed());
            registry.register(name, help, gauge);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_started_and_has_files_open() {
        let (used, started) = times().unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert!(used >= 0.0 && started <= now.as_secs_f64() + 1.0 && started > 1e9);
        assert!(open_files().unwrap() >= 3 && most_files().unwrap() >= open_files().unwrap());
    }
}
