//! How long calls usually take, and when one is slow.

use std::time::Duration;

use super::BreakerConfig;

/// What is known from fewer calls is not relied on.
const MIN_LEARNT: u32 = 10;
/// A call weighs one in so many, once there have been as many.
const MEMORY: u32 = 32;
/// How much a trial weighs that went well, though slowly.
const SLOW_TRIAL_WEIGHT: f64 = 0.25;

/// The running mean of calls that went well.
#[derive(Debug, Default)]
pub(super) struct Usual {
    mean_secs: f64,
    n_learnt: u32,
}

impl Usual {
    /// A call that went well and was not slow.
    pub(super) fn learn(&mut self, took: Duration) {
        self.n_learnt = self.n_learnt.saturating_add(1).min(MEMORY);
        self.move_towards(took, 1.0 / f64::from(self.n_learnt));
    }

    /// A trial that went well, though slowly: so it may be from now on.
    pub(super) fn learn_slow(&mut self, took: Duration) {
        if self.n_learnt > 0 {
            self.move_towards(took, SLOW_TRIAL_WEIGHT);
        }
    }

    /// From when on a call is slow.
    pub(super) fn slow_after(&self, config: &BreakerConfig) -> Duration {
        match config.adaptive_slow {
            Some(adaptive) if self.n_learnt >= MIN_LEARNT => {
                Duration::try_from_secs_f64(self.mean_secs * adaptive.factor)
                    .unwrap_or(config.slow_call)
                    .max(adaptive.floor)
                    .min(config.slow_call)
            }
            _ => config.slow_call,
        }
    }

    fn move_towards(&mut self, took: Duration, weight: f64) {
        self.mean_secs += (took.as_secs_f64() - self.mean_secs) * weight;
    }
}
