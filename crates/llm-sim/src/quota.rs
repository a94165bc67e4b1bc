//! Requests and tokens a minute: buckets that fill evenly.

use std::time::{Duration, Instant};

/// A bucket of what may be taken within a minute.
#[derive(Debug)]
pub(crate) struct Quota {
    per_minute: f64,
    left: f64,
    at: Instant,
}

/// What a bucket holds after something was taken of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Level {
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    /// Until it is full again.
    pub(crate) reset: Duration,
}

impl Quota {
    pub(crate) fn new(per_minute: u32, now: Instant) -> Self {
        Self { per_minute: f64::from(per_minute), left: f64::from(per_minute), at: now }
    }

    /// Takes so many, or says how long it takes until they can be taken.
    pub(crate) fn take(&mut self, n: u32, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        let missing = f64::from(n) - self.left;
        if missing <= 0.0 {
            self.left -= f64::from(n);
            return Ok(());
        }
        Err(self.time_for(missing))
    }

    pub(crate) fn level(&mut self, now: Instant) -> Level {
        self.fill(now);
        // OK to cast: it saturates.
        let (limit, remaining) = (self.per_minute as u32, self.left as u32);
        Level { limit, remaining, reset: self.time_for(self.per_minute - self.left) }
    }

    fn fill(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + seconds * self.per_minute / 60.0).min(self.per_minute);
        self.at = now;
    }

    fn time_for(&self, n: f64) -> Duration {
        // Nothing is ever given back to a bucket of none.
        Duration::try_from_secs_f64(n * 60.0 / self.per_minute).unwrap_or(Duration::from_secs(86_400))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_evenly() {
        let start = Instant::now();
        let mut quota = Quota::new(60, start);
        assert_eq!(quota.take(60, start), Ok(()));
        assert_eq!(quota.take(2, start), Err(Duration::from_secs(2)));
        let later = start + Duration::from_millis(2500);
        assert_eq!(quota.take(2, later), Ok(()));
        let level = quota.level(later);
        assert_eq!((level.limit, level.remaining), (60, 0));
        assert_eq!(level.reset, Duration::from_millis(59_500));
        assert_eq!(quota.level(start + Duration::from_secs(600)).remaining, 60);
    }
}
