//! When an answer must be there.

use std::time::{Duration, Instant};

use crate::Clock;

/// A point in time after which an answer is of no use, or none.
///
/// ```
/// use std::time::Duration;
/// use hp_base::{Clock, Deadline, ManualClock};
///
/// let clock = ManualClock::new();
/// let deadline = Deadline::after(&clock, Duration::from_secs(2));
/// clock.advance(Duration::from_millis(500));
/// assert_eq!(deadline.left(&clock), Duration::from_millis(1500));
/// assert_eq!(deadline.earlier_by(Duration::from_secs(1)).left(&clock), Duration::from_millis(500));
/// assert_eq!(Deadline::never().left(&clock), Duration::MAX);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// No deadline.
    #[must_use]
    pub const fn never() -> Self {
        Self(None)
    }

    /// At a point in time.
    #[must_use]
    pub const fn at(at: Instant) -> Self {
        Self(Some(at))
    }

    /// So long after the clock's now; never, if that is longer than time can be told.
    #[must_use]
    pub fn after(clock: &dyn Clock, time: Duration) -> Self {
        Self(clock.now().checked_add(time))
    }

    /// The point in time, if there is one.
    #[must_use]
    pub const fn instant(self) -> Option<Instant> {
        self.0
    }

    /// How long is left; nothing once it is over, [`Duration::MAX`] without a deadline.
    #[must_use]
    pub fn left(self, clock: &dyn Clock) -> Duration {
        self.0.map_or(Duration::MAX, |at| at.saturating_duration_since(clock.now()))
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_over(self, clock: &dyn Clock) -> bool {
        self.left(clock).is_zero()
    }

    /// The sooner of two.
    #[must_use]
    pub fn sooner(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(one), Some(another)) => Self(Some(one.min(another))),
            (one, another) => Self(one.or(another)),
        }
    }

    /// One that gives more time; never, if that is later than time can be told.
    #[must_use]
    pub fn later_by(self, time: Duration) -> Self {
        Self(self.0.and_then(|at| at.checked_add(time)))
    }

    /// One that leaves time for what comes after.
    #[must_use]
    pub fn earlier_by(self, time: Duration) -> Self {
        // OK to keep the deadline where it cannot be told: no clock has been running for so long.
        Self(self.0.map(|at| at.checked_sub(time).unwrap_or(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    #[test]
    fn the_sooner_counts_and_never_is_later_than_all() {
        let clock = ManualClock::new();
        let [one, two] = [1, 2].map(|seconds| Deadline::after(&clock, Duration::from_secs(seconds)));
        assert_eq!((one.sooner(two), two.sooner(one)), (one, one));
        assert_eq!((one.sooner(Deadline::never()), Deadline::never().sooner(one)), (one, one));
        assert!(!one.is_over(&clock));
        clock.advance(Duration::from_secs(1));
        assert!(one.is_over(&clock) && !two.is_over(&clock) && !Deadline::never().is_over(&clock));
    }

    #[test]
    fn a_time_past_all_telling_is_never() {
        let clock = ManualClock::new();
        assert_eq!(Deadline::after(&clock, Duration::MAX), Deadline::never());
        let soon = Deadline::after(&clock, Duration::from_secs(1));
        assert_eq!(soon.later_by(Duration::MAX), Deadline::never());
        assert_eq!(soon.later_by(Duration::from_secs(2)).left(&clock), Duration::from_secs(3));
    }
}
