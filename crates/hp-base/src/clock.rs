//! Time as an input: the system's clock, and one that moves only when told to.

use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Where code that cares about time reads it.
///
/// [`now`](Clock::now) is monotonic and measures spans; [`coarse_nanos`](Clock::coarse_nanos) is so too, for loops in which
/// `now` would be the dearest step; [`wall`](Clock::wall) is the calendar and may jump.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The monotonic time.
    fn now(&self) -> Instant;

    /// Monotonic nanoseconds since an origin of this clock's own. They may lag behind by some 10 ms, and cost a tenth of
    /// [`now`](Clock::now), which waits for all instructions before it.
    fn coarse_nanos(&self) -> u64;

    /// The calendar time.
    fn wall(&self) -> SystemTime;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[inline]
    fn now(&self) -> Instant {
        Instant::now()
    }

    #[inline]
    #[cfg(target_os = "linux")]
    fn coarse_nanos(&self) -> u64 {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
        // OK to cast: the monotonic clock counts up from the start of the machine.
        (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
    }

    #[cfg(not(target_os = "linux"))]
    fn coarse_nanos(&self) -> u64 {
        static ORIGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        u64::try_from(ORIGIN.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    #[inline]
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that stands still until it is [advanced](ManualClock::advance).
///
/// ```
/// use std::time::Duration;
/// use hp_base::{Clock, ManualClock};
///
/// let clock = ManualClock::new();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(300));
/// assert_eq!(clock.now() - before, Duration::from_secs(300));
/// ```
#[derive(Debug)]
pub struct ManualClock {
    origin: Instant,
    wall_origin: SystemTime,
    elapsed: Mutex<Duration>,
}

impl ManualClock {
    /// A clock whose calendar starts at the Unix epoch.
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(SystemTime::UNIX_EPOCH)
    }

    /// A clock whose calendar starts at `wall`.
    #[must_use]
    pub fn starting_at(wall: SystemTime) -> Self {
        Self { origin: Instant::now(), wall_origin: wall, elapsed: Mutex::new(Duration::ZERO) }
    }

    /// Moves both the monotonic and the calendar time forward.
    pub fn advance(&self, by: Duration) {
        *self.elapsed.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }

    fn elapsed(&self) -> Duration {
        *self.elapsed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.origin + self.elapsed()
    }

    fn coarse_nanos(&self) -> u64 {
        u64::try_from(self.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn wall(&self) -> SystemTime {
        self.wall_origin + self.elapsed()
    }
}

const _: Option<&dyn Clock> = None;

#[cfg(test)]
mod tests {
    use super::{Clock, Duration, ManualClock, SystemClock};

    #[test]
    fn all_readings_of_a_manual_clock_move_together() {
        let clock = ManualClock::new();
        let (now, coarse, wall) = (clock.now(), clock.coarse_nanos(), clock.wall());
        clock.advance(Duration::from_millis(7));
        assert_eq!(clock.now() - now, Duration::from_millis(7));
        assert_eq!(clock.coarse_nanos() - coarse, 7_000_000);
        assert_eq!(clock.wall().duration_since(wall).ok(), Some(Duration::from_millis(7)));
    }

    #[test]
    fn the_coarse_time_of_the_machine_does_not_run_backwards() {
        let readings: Vec<u64> = (0..10_000).map(|_| SystemClock.coarse_nanos()).collect();
        assert!(readings.is_sorted());
    }
}
