//! What the process and the machine have, and what they use of it.

mod groups;
mod lag;
mod monitor;
mod parse;
mod system;

use std::fmt::Debug;
use std::num::NonZero;
use std::time::Duration;

pub use self::monitor::{ResourceMonitor, Subscription};
pub use self::system::SystemProbe;

/// A sample of what there is and what is used. What cannot be known is `None`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resources {
    /// Processor time of this process since the sample before, in cores: 1.5 is one and a half cores all the time.
    pub process_cpu: Option<f64>,
    /// Share of the machine's processor time that was used since the sample before, in [0, 1].
    pub machine_cpu: Option<f64>,
    /// Cores this process may use: the least of the quotas of its control groups and of the cores it may run on.
    pub cpu_quota: f64,
    /// Share of the cores that may be used: of this process, or of the control group that is nearest to its quota. May
    /// pass 1 for a moment, since quotas are enforced in periods of some 100 ms.
    pub cpu_share_used: Option<f64>,
    /// Share of the scheduler's periods since the sample before in which a control group was held back at its quota, in
    /// [0, 1].
    pub throttled_share: Option<f64>,
    /// How long the threads of the control group were held back since the sample before, added up.
    pub throttled_time: Option<Duration>,
    /// Resident memory of this process, in bytes.
    pub process_memory: Option<u64>,
    /// The smallest limit of memory, in bytes: of the control groups or of the machine.
    pub memory_limit: Option<u64>,
    /// Share of memory that is used and cannot simply be dropped, of whatever is nearest to its limit: a control group,
    /// in which all its processes count, or the machine. In [0, 1], a little more where a soft limit is passed.
    pub memory_share_used: Option<f64>,
    /// Files, sockets and the like this process has open, that through which they are counted included.
    pub n_open_files: Option<u64>,
    /// How many it may have open.
    pub open_files_limit: Option<u64>,
    /// How long a task that is ready waits for the async runtime; at least so long if it is waiting still.
    pub loop_lag: Option<Duration>,
}

impl Resources {
    /// Nothing is known but the cores that may be used.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            process_cpu: None,
            machine_cpu: None,
            // OK to cast: there are not so many cores.
            cpu_quota: n_cpus().get() as f64,
            cpu_share_used: None,
            throttled_share: None,
            throttled_time: None,
            process_memory: None,
            memory_limit: None,
            memory_share_used: None,
            n_open_files: None,
            open_files_limit: None,
            loop_lag: None,
        }
    }
}

/// Where samples come from.
pub trait ResourceProbe: Debug + Send + Sync + 'static {
    /// Takes a sample. May read files, and is not called on the threads of an async runtime.
    fn sample(&self) -> Resources;
}

const _: Option<&dyn ResourceProbe> = None;

/// No probe: nothing is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProbe;

impl ResourceProbe for NoProbe {
    fn sample(&self) -> Resources {
        Resources::unknown()
    }
}

/// How many threads can run at once: the cores this process may run on, fewer where the quota of a control group gives
/// fewer; 1 where that is not known. It is what [`std::thread::available_parallelism`] finds.
#[must_use]
pub fn n_cpus() -> NonZero<usize> {
    std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

#[cfg(test)]
mod tests;
