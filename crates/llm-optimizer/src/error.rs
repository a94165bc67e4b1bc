//! The one error of this crate.

use std::error::Error;
use std::time::Duration;

/// What went wrong, for callers that branch on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LlmErrorKind {
    /// What was configured cannot be used: an address, a header, a key with a line break.
    InvalidConfig,
    /// The provider does not take the request: its form, its length.
    InvalidRequest,
    /// The provider does not know the key, or does not let it do this.
    Unauthorized,
    /// The provider knows no such model or address.
    NotFound,
    /// Too many requests or tokens within a time, by the provider's count; see [`LlmError::retry_after`].
    RateLimited,
    /// Nobody answers: refused, not resolved, an error of the provider's (5xx).
    Unavailable,
    /// The connection broke while the reply was awaited or read.
    Disconnected,
    /// There is no time left, or there would not be enough.
    OutOfTime,
    /// What came is not what the provider's protocol allows.
    InvalidReply,
    /// The circuit breaker is open: what fails is left alone for a while.
    CircuitOpen,
    /// As many calls as are allowed at once are under way, and none will end in time.
    Busy,
    /// The budget of the day or the hour is spent, or the call might exceed it.
    OverBudget,
    /// Nobody can say what is left of the budget.
    BudgetUnknown,
}

/// An error with a [kind](LlmError::kind) to branch on.
///
/// Its message contains neither the prompt nor the reply nor a key.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct LlmError {
    kind: LlmErrorKind,
    message: String,
    retry_after: Option<Duration>,
    is_unsent: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl LlmError {
    /// An error.
    #[must_use]
    pub fn new(kind: LlmErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None, is_unsent: false, source: None }
    }

    /// With what has caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// With how long the provider asks to be left alone.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// For a call that was refused without anything being sent, so that it tells nothing new of the provider.
    #[must_use]
    pub fn unsent(mut self) -> Self {
        self.is_unsent = true;
        self
    }

    /// Whether the call is known to have been refused without anything being sent.
    #[must_use]
    pub const fn is_unsent(&self) -> bool {
        self.is_unsent
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> LlmErrorKind {
        self.kind
    }

    /// How long the provider asks to be left alone, where it says so.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}
