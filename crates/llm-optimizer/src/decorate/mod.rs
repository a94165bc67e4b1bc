//! What is put around a model so that its calls are bounded, in time, and cheap.
//!
//! Each decorator is a [`ChatModel`](crate::ChatModel) around an `Arc<dyn ChatModel>` and knows nothing of the others, so any
//! of them may be left out. `Display` names the stack: `deadline(retry(breaker(openai gpt-4o-mini)))`.
//!
//! # Stack order
//!
//! Outermost first:
//!
//! 1. [`WithDeadline`]: nothing within it, neither a retry nor a queue, can make a call longer than its request allows.
//! 2. [`Fallback`]: each model it chooses from has its own of everything that follows.
//! 3. [`Hedge`]: a late call is late with its retries and its waiting; what is below bounds and bills the second request
//!    like any other.
//! 4. [`Retry`]: gives its place in the queue back while it waits, and sees what the breaker says.
//! 5. [`Concurrency`]: counts calls and not waits between them; a call that waits here is not yet slow to the breaker.
//! 6. [`Breaker`]: sees what the provider does, call by call, and refuses before money is put aside.
//! 7. The budget: puts aside what the call may cost, and settles what it has cost, call by call.
//! 8. The meter: sees what has really been sent.
//! 9. The provider.
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
