//! How long calls take: a rolling distribution that is read without a lock.

use std::fmt::{self, Debug};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use hp_base::Clock;

/// A window is not ended before it has as many calls, so that little traffic does not make forgetful.
const MIN_CALLS: u64 = 20;
/// The longest call that is told from longer ones.
const LONGEST: Duration = Duration::from_secs(600);

/// The distribution of the times of the latest calls.
///
/// There are two histograms, begun half a window apart; both count every call, the elder is read, and when it is a window old
/// it makes way for the younger. So what is read always covers between half a window and a whole one.
pub(super) struct Latency {
    clock: Arc<dyn Clock>,
    half_window: Duration,
    quantile: f64,
    counts: Mutex<Counts>,
    // What was last read from the elder, for those who only want to know.
    n_calls: AtomicU64,
    median_micros: AtomicU64,
    quantile_micros: AtomicU64,
}

struct Counts {
    elder: Histogram<u32>,
    younger: Histogram<u32>,
    younger_since: Instant,
}

impl Latency {
    /// Nothing known yet. Calls count for between half a `window` and a whole one; besides the median, a `quantile` in (0, 1)
    /// is kept at hand.
    pub(super) fn new(window: Duration, quantile: f64, clock: Arc<dyn Clock>) -> Self {
        let counts = Counts { elder: histogram(), younger: histogram(), younger_since: clock.now() };
        Self {
            clock,
            half_window: window / 2,
            quantile,
            counts: Mutex::new(counts),
            n_calls: AtomicU64::new(0),
            median_micros: AtomicU64::new(0),
            quantile_micros: AtomicU64::new(0),
        }
    }

    /// A call has taken so long.
    pub(super) fn record(&self, took: Duration) {
        let now = self.clock.now();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = now.saturating_duration_since(counts.younger_since) >= self.half_window;
        if is_due && counts.younger.len() >= MIN_CALLS {
            let counts = &mut *counts;
            std::mem::swap(&mut counts.elder, &mut counts.younger);
            counts.younger.reset();
            counts.younger_since = now;
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        counts.elder.saturating_record(micros);
        counts.younger.saturating_record(micros);
        self.median_micros.store(counts.elder.value_at_quantile(0.5), Ordering::Relaxed);
        self.quantile_micros.store(counts.elder.value_at_quantile(self.quantile), Ordering::Relaxed);
        self.n_calls.store(counts.elder.len(), Ordering::Release);
    }

    /// What half of the calls take at the most, if there was one.
    pub(super) fn median(&self) -> Option<Duration> {
        self.if_known(1, &self.median_micros)
    }

    /// What the share of calls takes at the most, if there were at least `min_calls`.
    pub(super) fn quantile(&self, min_calls: u64) -> Option<Duration> {
        self.if_known(min_calls.max(1), &self.quantile_micros)
    }

    fn if_known(&self, min_calls: u64, micros: &AtomicU64) -> Option<Duration> {
        let is_known = self.n_calls.load(Ordering::Acquire) >= min_calls;
        is_known.then(|| Duration::from_micros(micros.load(Ordering::Relaxed)))
    }
}

impl Debug for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latency")
            .field("n_calls", &self.n_calls)
            .field("median_micros", &self.median_micros)
            .field("quantile_micros", &self.quantile_micros)
            .finish_non_exhaustive()
    }
}

/// Two digits are told apart.
#[expect(clippy::expect_used, reason = "the bounds are constants that the type allows")]
fn histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1, LONGEST.as_micros() as u64, 2)
        .expect("two digits, and a range of more than two")
}

#[cfg(test)]
mod tests {
    use hp_base::ManualClock;

    use super::*;

    fn latency() -> (Latency, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new());
        (Latency::new(Duration::from_secs(60), 0.95, clock.clone()), clock)
    }

    /// Two digits are told apart.
    #[track_caller]
    fn check_near(found: Option<Duration>, millis: u64) {
        let found = found.unwrap().as_secs_f64() * 1000.0;
        assert!((found / millis as f64 - 1.0).abs() < 0.02, "{found} where {millis} was expected");
    }

    #[test]
    fn nothing_is_known_before_there_are_enough_calls() {
        let (latency, _) = latency();
        assert_eq!(latency.median(), None);
        (1..=19).for_each(|millis| latency.record(Duration::from_millis(millis)));
        check_near(latency.median(), 10);
        assert_eq!(latency.quantile(20), None);
        latency.record(Duration::from_millis(20));
        check_near(latency.quantile(20), 19);
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten_once_there_is_enough_that_is_newer() {
        let (latency, clock) = latency();
        (0..100).for_each(|_| latency.record(Duration::from_millis(100)));
        clock.advance(Duration::from_secs(30));
        (0..20).for_each(|_| latency.record(Duration::from_millis(900)));
        check_near(latency.median(), 100);
        clock.advance(Duration::from_secs(30));
        (0..19).for_each(|_| latency.record(Duration::from_millis(900)));
        check_near(latency.median(), 900);
    }

    #[test]
    fn a_few_calls_an_hour_are_enough_to_go_on_knowing() {
        let (latency, clock) = latency();
        (0..20).for_each(|_| latency.record(Duration::from_millis(100)));
        for _ in 0..5 {
            clock.advance(Duration::from_secs(3600));
            latency.record(Duration::from_millis(100));
            assert!(latency.quantile(20).is_some());
        }
    }

    #[test]
    fn no_time_is_too_long_to_be_recorded() {
        let (latency, _) = latency();
        latency.record(Duration::MAX);
        check_near(latency.median(), 600_000);
    }
}
