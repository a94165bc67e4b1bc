//! The probe of the machine, the control groups and the process, from the files in which Linux shows them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hp_base::{Clock, SystemClock};

use super::groups::{GroupCpu, Groups, Memory, read};
use super::{ResourceProbe, Resources, n_cpus, parse};

/// Rates over a shorter time would be mostly the coarseness of the kernel's ticks.
const SHORTEST_SPAN: Duration = Duration::from_millis(100);

/// Reads what Linux shows in `/proc` and in the control groups of either version, nested ones included.
///
/// Rates are those since the sample before, and unknown at the first. Samples less than 100 ms apart repeat the rates
/// of the one before. On other systems all but the number of cores is unknown.
#[derive(Debug)]
pub struct SystemProbe {
    root: PathBuf,
    clock: Arc<dyn Clock>,
    groups: Groups,
    before: Mutex<Option<Before>>,
}

/// The sample before.
#[derive(Debug)]
struct Before {
    at: Instant,
    counts: Counts,
    rates: Rates,
}

/// What only grows.
#[derive(Debug)]
struct Counts {
    process: Option<Duration>,
    machine: Option<(u64, u64)>,
    groups: Vec<GroupCpu>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Rates {
    process_cpu: Option<f64>,
    machine_cpu: Option<f64>,
    fullest_group: Option<f64>,
    throttled_share: Option<f64>,
    throttled_time: Option<Duration>,
}

impl SystemProbe {
    /// A probe of this machine and this process.
    #[must_use]
    pub fn new() -> Self {
        Self::with_root(Path::new("/"), Arc::new(SystemClock))
    }

    /// A probe of the files `proc/…` and of the control groups under this folder, whose rates are by this clock.
    #[must_use]
    pub fn with_root(root: &Path, clock: Arc<dyn Clock>) -> Self {
        Self { root: root.to_owned(), clock, groups: Groups::find(root), before: Mutex::new(None) }
    }

    fn read(&self, name: &str) -> Option<String> {
        read(&self.root.join("proc").join(name))
    }

    /// The rates since the sample before.
    fn rates(&self, groups: Vec<GroupCpu>) -> Rates {
        let counts = Counts {
            process: self.read("self/stat").and_then(|stat| parse::process_time(&stat)),
            machine: self.read("stat").and_then(|stat| parse::machine_ticks(&stat)),
            groups,
        };
        let now = self.clock.now();
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let rates = match &*before {
            None => Rates::default(),
            Some(before) => {
                let span = now.saturating_duration_since(before.at);
                if span < SHORTEST_SPAN {
                    return before.rates;
                }
                Rates::between(&before.counts, &counts, span)
            }
        };
        *before = Some(Before { at: now, counts, rates });
        rates
    }
}

impl Default for SystemProbe {
    fn default() -> Self {
        Self::new()
    }
}

impl Rates {
    fn between(before: &Counts, now: &Counts, span: Duration) -> Self {
        let cores = |before: Option<Duration>, now: Option<Duration>| {
            Some(now?.checked_sub(before?)?.as_secs_f64() / span.as_secs_f64())
        };
        let mut rates = Self {
            process_cpu: cores(before.process, now.process),
            machine_cpu: before
                .machine
                .zip(now.machine)
                .and_then(|(before, now)| share(now.0.checked_sub(before.0)?, now.1.checked_sub(before.1)?)),
            ..Self::default()
        };
        for (before, now) in before.groups.iter().zip(&now.groups) {
            let used = cores(before.used, now.used).zip(now.quota).map(|(used, quota)| used / quota);
            let difference = |before: Option<u64>, now: Option<u64>| now?.checked_sub(before?);
            let throttled = difference(before.n_throttled, now.n_throttled)
                .zip(difference(before.n_periods, now.n_periods))
                .and_then(|(n_throttled, n_periods)| match n_periods {
                    // A period begins only while there is work.
                    0 => Some(0.0),
                    _ => share(n_throttled, n_periods),
                });
            let time = now.throttled.zip(before.throttled).and_then(|(now, before)| now.checked_sub(before));
            rates.fullest_group = larger(rates.fullest_group, used);
            rates.throttled_share = larger(rates.throttled_share, throttled);
            rates.throttled_time = rates.throttled_time.max(time);
        }
        rates
    }
}

impl ResourceProbe for SystemProbe {
    fn sample(&self) -> Resources {
        let status = self.read("self/status").unwrap_or_default();
        let groups = self.groups.cpu();
        // OK to cast: there are not so many cores.
        let n_allowed = parse::n_allowed_cpus(&status).unwrap_or_else(|| n_cpus().get() as u64) as f64;
        let cpu_quota = groups.iter().filter_map(|group| group.quota).fold(n_allowed, f64::min);
        let rates = self.rates(groups);
        let process_share = rates.process_cpu.map(|cores| cores / cpu_quota);
        let memory = self.groups.memory().into_iter().chain(self.machine_memory());
        let (limit, memory_share) = memory.fold((None, None), |(limit, fullest), memory| {
            let used =
                memory.used.and_then(|used| (memory.limit > 0).then(|| used as f64 / memory.limit as f64));
            (Some(memory.limit.min(limit.unwrap_or(u64::MAX))), larger(fullest, used))
        });
        Resources {
            process_cpu: rates.process_cpu,
            machine_cpu: rates.machine_cpu,
            cpu_quota,
            cpu_share_used: larger(process_share, rates.fullest_group),
            throttled_share: rates.throttled_share,
            throttled_time: rates.throttled_time,
            process_memory: parse::number_of(&status, "VmRSS"),
            memory_limit: limit,
            memory_share_used: memory_share,
            n_open_files: n_entries(&self.root.join("proc/self/fd")),
            open_files_limit: self.read("self/limits").and_then(|limits| parse::open_files_limit(&limits)),
            loop_lag: None,
        }
    }
}

impl SystemProbe {
    fn machine_memory(&self) -> Option<Memory> {
        let meminfo = self.read("meminfo")?;
        let limit = parse::number_of(&meminfo, "MemTotal")?;
        let available = parse::number_of(&meminfo, "MemAvailable");
        Some(Memory { used: available.map(|available| limit.saturating_sub(available)), limit })
    }
}

fn n_entries(folder: &Path) -> Option<u64> {
    // OK to cast: a process has not so many files.
    fs::read_dir(folder).ok().map(|entries| entries.count() as u64)
}

fn share(part: u64, whole: u64) -> Option<f64> {
    // OK to cast: a float is exact enough.
    (whole > 0).then(|| (part as f64 / whole as f64).min(1.0))
}

/// The larger of what is known.
fn larger(one: Option<f64>, another: Option<f64>) -> Option<f64> {
    match (one, another) {
        (Some(one), Some(another)) => Some(one.max(another)),
        (one, another) => one.or(another),
    }
}
