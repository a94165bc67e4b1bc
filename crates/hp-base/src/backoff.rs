//! How long to wait before trying again.

use std::time::Duration;

/// Waits that double from `first` to `longest`, each shortened by lot, so that many who failed together do not come
/// back together.
///
/// Equal jitter (Brooker 2015, "Exponential backoff and jitter"): between half the wait and all of it.
///
/// ```
/// use std::time::Duration;
/// use hp_base::Backoff;
///
/// let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// let first = backoff.next();
/// assert!(first >= Duration::from_millis(50) && first <= Duration::from_millis(100));
/// assert!(backoff.next() >= Duration::from_millis(100));
/// backoff.reset();
/// assert!(backoff.next() <= Duration::from_millis(100));
/// ```
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    n_waits: u32,
    lot: u64,
}

impl Backoff {
    /// Waits of `first`, twice that, and so on up to `longest`, before jitter.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, n_waits: 0, lot: seed() }
    }

    /// The next wait.
    #[expect(clippy::should_implement_trait, reason = "it never ends, and a for loop over it never would")]
    pub fn next(&mut self) -> Duration {
        let doubled = self.first.saturating_mul(1_u32.checked_shl(self.n_waits).unwrap_or(u32::MAX));
        let wait = doubled.min(self.longest);
        self.n_waits = self.n_waits.saturating_add(1).min(31);
        // A step of a full-period generator (Knuth's MMIX); its upper bits are as even as jitter needs.
        self.lot = self.lot.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let share = (self.lot >> 40) as f64 / (1_u64 << 24) as f64;
        wait.mul_f64(0.5 + 0.5 * share)
    }

    /// Begins with `first` again: what was tried has worked.
    pub fn reset(&mut self) {
        self.n_waits = 0;
    }
}

/// A number that differs between processes and instances.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_never_overflow() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        for expected in [1, 2, 4, 8, 10, 10].into_iter().chain([10; 60]) {
            let (wait, expected) = (backoff.next(), Duration::from_secs(expected));
            assert!(wait >= expected / 2 && wait <= expected, "{wait:?} where {expected:?} is the most");
        }
    }
}
