//! The few words the other crates share.
//!
//! - [`Clock`]: time as a value that comes in from outside, so that nothing has to sleep to be tested.
//! - [`Priority`]: how urgent a request is.
//!
//! Nothing here knows of async runtimes; `serde` is a feature that is off by default.

mod clock;
mod priority;

pub use clock::{Clock, ManualClock, SystemClock};
pub use priority::{ParsePriorityError, Priority};
