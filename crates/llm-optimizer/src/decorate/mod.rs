//! What is put around a model so that its calls are bounded, in time, and cheap.
//!
//! Each decorator is a [`ChatModel`](crate::ChatModel) around an `Arc<dyn ChatModel>` and knows nothing of the others, so any
//! of them may be left out. `Display` names the stack: `deadline(retry(breaker(openai gpt-4o-mini)))`.
//!
//! Dropping a call's future at any point gives back all that the call has taken: permits, trials, connections.

mod breaker;
mod concurrency;
mod deadline;
mod fallback;
mod hedge;
mod retry;

mod allowance;
mod kinds;
mod latency;
mod within;

use std::time::Duration;

pub use breaker::{Breaker, BreakerStats};
pub use concurrency::{Concurrency, ConcurrencyConfig, ConcurrencyStats};
pub use deadline::{DeadlineConfig, DeadlineStats, WithDeadline};
pub use fallback::{Fallback, FallbackConfig, FallbackStats};
pub use hedge::{Hedge, HedgeConfig, HedgeStats};
pub use hp_base::{AdaptiveSlow, BreakerConfig, BreakerState};
pub use retry::{Retry, RetryConfig, RetryStats};

/// How long a call is taken to last before one has gone well.
const TYPICAL_CALL: Duration = Duration::from_millis(300);
/// How far back the times of calls count.
const WINDOW: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests;
