//! The few words the other crates share.
//!
//! - [`Clock`]: time as a value that comes in from outside, so that nothing has to sleep to be tested.
//! - [`Deadline`]: when an answer must be there.
//! - [`Priority`]: how urgent a request is.
//! - [`CircuitBreaker`]: keeps callers from what fails or is slow.
//! - [`Backoff`]: how long to wait before trying again.
//! - [`Secret`]: text that no formatting shows.
//!
//! Nothing here knows of async runtimes; `serde` is a feature that is off by default.

mod backoff;
mod breaker;
mod clock;
mod deadline;
mod priority;
mod secret;

pub use backoff::Backoff;
pub use breaker::{AdaptiveSlow, BreakerConfig, BreakerState, Call, CircuitBreaker};
pub use clock::{Clock, ManualClock, SystemClock};
pub use deadline::Deadline;
pub use priority::{ParsePriorityError, Priority};
pub use secret::Secret;
