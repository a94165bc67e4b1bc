//! Calls counted over a rolling window.

use std::time::{Duration, Instant};

use super::BreakerConfig;

const N_SLICES: u64 = 10;

/// The calls of the last while, in slices that are dropped as they grow too old.
#[derive(Debug)]
pub(super) struct Window {
    slices: [Slice; N_SLICES as usize],
    slice_nanos: u128,
    origin: Instant,
    /// The number, counted from `origin`, of the slice that calls are counted in.
    current: u64,
}

/// The number of the slice a call was counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SliceNumber(u64);

#[derive(Debug, Clone, Copy, Default)]
struct Slice {
    n_calls: u32,
    n_failed: u32,
    n_slow: u32,
}

impl Window {
    pub(super) fn new(length: Duration, origin: Instant) -> Self {
        Self {
            slices: Default::default(),
            slice_nanos: (length / N_SLICES as u32).as_nanos().max(1),
            origin,
            current: 0,
        }
    }

    /// Forgets all calls.
    pub(super) fn clear(&mut self) {
        self.slices = Default::default();
    }

    pub(super) fn count(&mut self, now: Instant, failed: bool, is_slow: bool) -> SliceNumber {
        self.move_to(now);
        let number = self.current;
        let slice = self.slice(number);
        slice.n_calls += 1;
        slice.n_failed += u32::from(failed);
        slice.n_slow += u32::from(is_slow);
        SliceNumber(number)
    }

    /// Says of a call that was counted that it has failed, unless it is too old by now.
    pub(super) fn fail_counted(&mut self, now: Instant, SliceNumber(number): SliceNumber) {
        self.move_to(now);
        if number + N_SLICES > self.current {
            let slice = self.slice(number);
            slice.n_failed = (slice.n_failed + 1).min(slice.n_calls);
        }
    }

    /// Says of the latest call that has not failed that it has.
    pub(super) fn fail_latest(&mut self, now: Instant) {
        self.move_to(now);
        for number in (self.current.saturating_sub(N_SLICES - 1)..=self.current).rev() {
            let slice = self.slice(number);
            if slice.n_failed < slice.n_calls {
                slice.n_failed += 1;
                return;
            }
        }
    }

    /// Whether so much has failed, or was slow, that the breaker must open.
    pub(super) fn is_too_bad(&self, config: &BreakerConfig) -> bool {
        let sum = |of: fn(&Slice) -> u32| self.slices.iter().map(of).sum::<u32>();
        let n_calls = sum(|slice| slice.n_calls);
        let share = |n: u32| f64::from(n) / f64::from(n_calls.max(1));
        n_calls >= config.min_calls
            && (share(sum(|slice| slice.n_failed)) >= config.failure_rate
                || share(sum(|slice| slice.n_slow)) >= config.slow_rate)
    }

    fn move_to(&mut self, now: Instant) {
        let number = (now.saturating_duration_since(self.origin).as_nanos() / self.slice_nanos) as u64;
        let n_over = number.saturating_sub(self.current);
        for over in 1..=n_over.min(N_SLICES) {
            *self.slice(self.current + over) = Slice::default();
        }
        self.current += n_over;
    }

    fn slice(&mut self, number: u64) -> &mut Slice {
        &mut self.slices[(number % N_SLICES) as usize]
    }
}
