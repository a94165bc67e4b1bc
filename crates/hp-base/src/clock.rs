//! Time as an input: the system's clock, and one that moves only when told to.

use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Where code that cares about time reads it.
///
/// [`now`](Clock::now) is monotonic and measures spans; [`wall`](Clock::wall) is the calendar and may jump.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The monotonic time.
    fn now(&self) -> Instant;

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

    fn wall(&self) -> SystemTime {
        self.wall_origin + self.elapsed()
    }
}

const _: Option<&dyn Clock> = None;
