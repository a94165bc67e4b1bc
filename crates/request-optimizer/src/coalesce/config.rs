//! How a coalescer behaves, and who comes to it.

use std::time::Duration;

use hp_base::{Deadline, Priority};

/// How a [`Coalescer`](super::Coalescer) behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoalescerConfig {
    /// How long a value is given to equal requests that come after it was worked out; with nothing, only to those that
    /// came before. Default: 0.
    pub window: Duration,
    /// Values kept for that long, at the most; the oldest go first. Default: 10,000.
    pub max_kept: usize,
    /// What happens to those who wait when a computation fails or panics. Default: [`OnFailure::Share`].
    pub on_failure: OnFailure,
}

impl Default for CoalescerConfig {
    fn default() -> Self {
        Self { window: Duration::ZERO, max_kept: 10_000, on_failure: OnFailure::Share }
    }
}

/// What happens to those who wait when a computation fails or panics; the one who led has the error in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// They fail as well: what cannot be done for one is tried once and no more.
    #[default]
    Share,
    /// One of them leads next, with a computation of its own. Nobody leads twice, so it ends.
    Retry,
}

/// Who asks: how urgently, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiter {
    /// How urgent the request is. Default: [`Priority::Normal`].
    pub priority: Priority,
    /// When it is of no use any more. Default: never.
    pub deadline: Deadline,
}
