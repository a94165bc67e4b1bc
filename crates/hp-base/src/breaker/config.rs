//! How a breaker judges, and what it lets through.

use std::time::Duration;

/// How a [`CircuitBreaker`](crate::CircuitBreaker) judges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerConfig {
    /// How far back calls count. Default: 10 s.
    pub window: Duration,
    /// Fewer calls within the window prove nothing. Default: 5.
    pub min_calls: u32,
    /// Opens at this share of failed calls within the window, in (0, 1]. Default: 0.5.
    pub failure_rate: f64,
    /// A call that takes this long is slow, whatever is usual. Default: 1 s.
    pub slow_call: Duration,
    /// How a shorter time is found from what is usual; none keeps to `slow_call`. Default: none.
    pub adaptive_slow: Option<AdaptiveSlow>,
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
            adaptive_slow: None,
            slow_rate: 0.8,
            open_for: Duration::from_millis(500),
            open_for_most: Duration::from_secs(10),
            n_trials: 2,
        }
    }
}

/// Takes a call for slow that takes several times what is usual.
///
/// Usual is the running mean of calls that went well and were not slow. What has become slow for good is learnt from
/// trials: one that goes well, though slowly, weighs more than the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaptiveSlow {
    /// How many times the usual time is slow, above 1. Default: 3.
    pub factor: f64,
    /// A call that takes less is never slow, unless `slow_call` is shorter still. Default: 100 ms.
    pub floor: Duration,
}

impl Default for AdaptiveSlow {
    fn default() -> Self {
        Self { factor: 3.0, floor: Duration::from_millis(100) }
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
