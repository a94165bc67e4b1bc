//! A circuit breaker: after too many failures nobody is sent there any more, until a few trials have gone well.

mod config;
mod usual;
mod window;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use self::config::{AdaptiveSlow, BreakerConfig, BreakerState};
use self::usual::Usual;
use self::window::{SliceNumber, Window};
use crate::Clock;

/// Keeps callers from what fails or is slow.
///
/// A call asks for [leave](Self::try_call) and says how it went; one that is dropped without a word, such as one
/// that was cancelled, counts as neither, unless it was said to be [late](Call::late). Failures and slow calls are counted
/// over a rolling window.
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
    is_late: bool,
    /// Where it was counted when it was late.
    counted_in: Option<SliceNumber>,
    is_told: bool,
}

/// What is told of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Succeeded,
    Failed,
    Late,
}

#[derive(Debug)]
struct Inner {
    state: BreakerState,
    period: u64,
    window: Window,
    usual: Usual,
    open_until: Instant,
    open_for: Duration,
    n_openings: u64,
    n_running_trials: u32,
    n_good_trials: u32,
}

impl CircuitBreaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(config: BreakerConfig, clock: Arc<dyn Clock>) -> Self {
        let now = clock.now();
        let inner = Inner {
            state: BreakerState::Closed,
            period: 0,
            window: Window::new(config.window, now),
            usual: Usual::default(),
            open_until: now,
            open_for: config.open_for,
            n_openings: 0,
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
        Some(Call {
            breaker: self,
            started: now,
            period: inner.period,
            is_trial,
            is_late: false,
            counted_in: None,
            is_told: false,
        })
    }

    /// What is let through now.
    pub fn state(&self) -> BreakerState {
        let mut inner = self.lock();
        inner.half_open_if_due(self.clock.now());
        inner.state
    }

    /// How long until trials are let through; nothing if it is not open.
    pub fn open_for(&self) -> Option<Duration> {
        let now = self.clock.now();
        let mut inner = self.lock();
        inner.half_open_if_due(now);
        (inner.state == BreakerState::Open).then(|| inner.open_until.saturating_duration_since(now))
    }

    /// How often it has opened since it was made, failed trials included.
    pub fn n_openings(&self) -> u64 {
        self.lock().n_openings
    }

    /// How long a call may take at present without being slow.
    pub fn slow_after(&self) -> Duration {
        self.lock().usual.slow_after(&self.config)
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

    /// Takes back that the latest call went well: what it has brought has turned out to be useless.
    pub fn failed_after_all(&self) {
        let now = self.clock.now();
        let mut inner = self.lock();
        inner.half_open_if_due(now);
        match inner.state {
            BreakerState::Closed => {
                inner.window.fail_latest(now);
                inner.open_if_too_bad(&self.config, now);
            }
            BreakerState::Open => {}
            BreakerState::HalfOpen => inner.open(&self.config, now),
        }
    }

    fn tell(&self, call: &mut Call<'_>, word: Word) {
        let now = self.clock.now();
        let took = now.saturating_duration_since(call.started);
        let mut inner = self.lock();
        call.is_told = true;
        call.is_late |= word == Word::Late || took >= inner.usual.slow_after(&self.config);
        let counts = call.period == inner.period;
        if word == Word::Succeeded {
            if !call.is_late && counts {
                inner.usual.learn(took);
            } else if call.is_late && call.is_trial {
                inner.usual.learn_slow(took);
            }
        }
        if !counts {
            return;
        }
        if call.is_trial {
            inner.n_running_trials -= 1;
            if word != Word::Succeeded || call.is_late {
                inner.open(&self.config, now);
            } else {
                inner.n_good_trials += 1;
                if inner.n_good_trials >= self.config.n_trials {
                    inner.close(&self.config);
                }
            }
            return;
        }
        match (call.counted_in, word) {
            (None, _) => {
                call.counted_in = Some(inner.window.count(now, word == Word::Failed, call.is_late));
            }
            (Some(slice), Word::Failed) => inner.window.fail_counted(now, slice),
            (Some(_), Word::Succeeded | Word::Late) => return,
        }
        inner.open_if_too_bad(&self.config, now);
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
        self.window.clear();
    }

    fn open(&mut self, config: &BreakerConfig, now: Instant) {
        if self.state == BreakerState::HalfOpen {
            self.open_for = self.open_for.saturating_mul(2).min(config.open_for_most);
        }
        self.begin(BreakerState::Open);
        self.n_openings += 1;
        self.open_until = now + self.open_for;
    }

    fn open_if_too_bad(&mut self, config: &BreakerConfig, now: Instant) {
        if self.window.is_too_bad(config) {
            self.open(config, now);
        }
    }

    fn close(&mut self, config: &BreakerConfig) {
        self.begin(BreakerState::Closed);
        self.open_for = config.open_for;
    }
}

impl Call<'_> {
    /// The call went well, if it was not slow.
    pub fn succeeded(mut self) {
        self.tell(Word::Succeeded);
    }

    /// The call failed.
    pub fn failed(mut self) {
        self.tell(Word::Failed);
    }

    /// The call is slow and has not ended yet: counts it as slow now, so that what hangs is seen before it ends. How it
    /// ends may still be said; it is one call all the same.
    pub fn late(&mut self) {
        if !self.is_late {
            self.tell(Word::Late);
        }
    }

    fn tell(&mut self, word: Word) {
        let breaker = self.breaker;
        breaker.tell(self, word);
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
