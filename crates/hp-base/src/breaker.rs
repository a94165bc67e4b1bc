//! A circuit breaker: after too many failures nobody is sent there any more, until a few trials have gone well.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Clock;

/// How a [`CircuitBreaker`] judges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerConfig {
    /// How far back calls count. Default: 10 s.
    pub window: Duration,
    /// Fewer calls within the window prove nothing. Default: 5.
    pub min_calls: u32,
    /// Opens at this share of failed calls within the window, in (0, 1]. Default: 0.5.
    pub failure_rate: f64,
    /// A call that takes this long is slow. Default: 1 s.
    pub slow_call: Duration,
    /// Opens at this share of slow calls within the window, in (0, 1]. Default: 0.8.
    pub slow_rate: f64,
    /// How long it stays open the first time; each failed trial doubles it. Default: 500 ms.
    pub open_for: Duration,
    /// The longest it stays open. Default: 10 s.
    pub open_for_most: Duration,
    /// So many trials in a row must go well before it closes, and no more are let through at once. Default: 2.
    pub n_trials: u32,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10),
            min_calls: 5,
            failure_rate: 0.5,
            slow_call: Duration::from_secs(1),
            slow_rate: 0.8,
            open_for: Duration::from_millis(500),
            open_for_most: Duration::from_secs(10),
            n_trials: 2,
        }
    }
}

/// What a breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum BreakerState {
    /// Everything.
    #[default]
    Closed,
    /// Nothing.
    Open,
    /// A few trials.
    HalfOpen,
}

/// Keeps callers from what fails or is slow.
///
/// A call asks for [leave](Self::try_call) and says how it went; one that is dropped without a word, such as one
/// that was cancelled, counts as neither. Failures and slow calls are counted over a rolling window.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use hp_base::{BreakerConfig, BreakerState, CircuitBreaker, ManualClock};
///
/// let clock = Arc::new(ManualClock::new());
/// let breaker = CircuitBreaker::new(BreakerConfig::default(), clock.clone());
/// for _ in 0..5 {
///     breaker.try_call().expect("it is closed").failed();
/// }
/// assert_eq!(breaker.state(), BreakerState::Open);
/// assert!(breaker.try_call().is_none());
///
/// clock.advance(Duration::from_millis(500));
/// breaker.try_call().expect("a trial is let through").succeeded();
/// breaker.try_call().expect("and another").succeeded();
/// assert_eq!(breaker.state(), BreakerState::Closed);
/// ```
#[derive(Debug)]
pub struct CircuitBreaker {
    config: BreakerConfig,
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
}

/// Leave to make one call.
#[derive(Debug)]
#[must_use = "say how the call went"]
pub struct Call<'a> {
    breaker: &'a CircuitBreaker,
    started: Instant,
    /// Calls of an earlier period say nothing about this one.
    period: u64,
    is_trial: bool,
    is_told: bool,
}

const N_SLICES: usize = 10;

#[derive(Debug)]
struct Inner {
    state: BreakerState,
    period: u64,
    slices: [Slice; N_SLICES],
    /// The number, counted from `origin`, of the slice that calls are counted in.
    current: u64,
    origin: Instant,
    open_until: Instant,
    open_for: Duration,
    n_running_trials: u32,
    n_good_trials: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slice {
    n_calls: u32,
    n_failed: u32,
    n_slow: u32,
}

impl CircuitBreaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(config: BreakerConfig, clock: Arc<dyn Clock>) -> Self {
        let now = clock.now();
        let inner = Inner {
            state: BreakerState::Closed,
            period: 0,
            slices: [Slice::default(); N_SLICES],
            current: 0,
            origin: now,
            open_until: now,
            open_for: config.open_for,
            n_running_trials: 0,
            n_good_trials: 0,
        };
        Self { config, clock, inner: Mutex::new(inner) }
    }

    /// Leave for a call, if calls are let through now.
    pub fn try_call(&self) -> Option<Call<'_>> {
        let now = self.clock.now();
        let mut inner = self.lock();
        inner.half_open_if_due(now);
        let is_trial = match inner.state {
            BreakerState::Closed => false,
            BreakerState::Open => return None,
            BreakerState::HalfOpen if inner.n_running_trials >= self.config.n_trials => return None,
            BreakerState::HalfOpen => true,
        };
        inner.n_running_trials += u32::from(is_trial);
        Some(Call { breaker: self, started: now, period: inner.period, is_trial, is_told: false })
    }

    /// What is let through now.
    pub fn state(&self) -> BreakerState {
        let mut inner = self.lock();
        inner.half_open_if_due(self.clock.now());
        inner.state
    }

    /// Opens it, for those who have learnt elsewhere that calls are in vain.
    pub fn trip(&self) {
        let now = self.clock.now();
        self.lock().open(&self.config, now);
    }

    /// Closes it, for those who have learnt elsewhere that calls go well again.
    pub fn reset(&self) {
        self.lock().close(&self.config);
    }

    fn tell(&self, call: &Call<'_>, failed: bool) {
        let now = self.clock.now();
        let is_slow = now.saturating_duration_since(call.started) >= self.config.slow_call;
        let mut inner = self.lock();
        if call.period != inner.period {
            return;
        }
        if call.is_trial {
            inner.n_running_trials -= 1;
            if failed || is_slow {
                inner.open(&self.config, now);
            } else {
                inner.n_good_trials += 1;
                if inner.n_good_trials >= self.config.n_trials {
                    inner.close(&self.config);
                }
            }
            return;
        }
        inner.count(&self.config, now, failed, is_slow);
        if inner.must_open(&self.config) {
            inner.open(&self.config, now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn half_open_if_due(&mut self, now: Instant) {
        if self.state == BreakerState::Open && now >= self.open_until {
            self.begin(BreakerState::HalfOpen);
        }
    }

    fn begin(&mut self, state: BreakerState) {
        self.state = state;
        self.period += 1;
        self.n_running_trials = 0;
        self.n_good_trials = 0;
        self.slices = [Slice::default(); N_SLICES];
    }

    fn open(&mut self, config: &BreakerConfig, now: Instant) {
        if self.state == BreakerState::HalfOpen {
            self.open_for = self.open_for.saturating_mul(2).min(config.open_for_most);
        }
        self.begin(BreakerState::Open);
        self.open_until = now + self.open_for;
    }

    fn close(&mut self, config: &BreakerConfig) {
        self.begin(BreakerState::Closed);
        self.open_for = config.open_for;
    }

    fn count(&mut self, config: &BreakerConfig, now: Instant, failed: bool, is_slow: bool) {
        let slice = (config.window / N_SLICES as u32).as_nanos().max(1);
        let number = (now.saturating_duration_since(self.origin).as_nanos() / slice) as u64;
        let n_over = number.saturating_sub(self.current).min(N_SLICES as u64);
        for over in 1..=n_over {
            self.slices[((self.current + over) % N_SLICES as u64) as usize] = Slice::default();
        }
        if n_over == N_SLICES as u64 {
            self.slices = [Slice::default(); N_SLICES];
        }
        self.current = self.current.max(number);
        let slice = &mut self.slices[(self.current % N_SLICES as u64) as usize];
        slice.n_calls += 1;
        slice.n_failed += u32::from(failed);
        slice.n_slow += u32::from(is_slow);
    }

    fn must_open(&self, config: &BreakerConfig) -> bool {
        let sum = |of: fn(&Slice) -> u32| self.slices.iter().map(of).sum::<u32>();
        let n_calls = sum(|slice| slice.n_calls);
        let share = |n: u32| f64::from(n) / f64::from(n_calls.max(1));
        n_calls >= config.min_calls
            && (share(sum(|slice| slice.n_failed)) >= config.failure_rate
                || share(sum(|slice| slice.n_slow)) >= config.slow_rate)
    }
}

impl Call<'_> {
    /// The call went well, if it was not slow.
    pub fn succeeded(mut self) {
        self.is_told = true;
        self.breaker.tell(&self, false);
    }

    /// The call failed.
    pub fn failed(mut self) {
        self.is_told = true;
        self.breaker.tell(&self, true);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if self.is_trial && !self.is_told {
            let mut inner = self.breaker.lock();
            if inner.period == self.period {
                inner.n_running_trials -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests;
