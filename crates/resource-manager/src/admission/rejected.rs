//! Why somebody was not admitted.

use std::time::Duration;

/// Why somebody was not admitted, for callers that branch on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectReason {
    /// As many as may be are under way, and there is no room to wait, or waiting was not wanted.
    Full,
    /// Somebody more urgent has taken the place in the queue.
    Displaced,
    /// By how long work takes and how many are ahead, it could not be done in time.
    TooLate,
    /// The time was over, before the wait or during it.
    OutOfTime,
    /// Nobody is admitted any more.
    Closed,
}

impl RejectReason {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Full, Self::Displaced, Self::TooLate, Self::OutOfTime, Self::Closed];

    /// The name used in metrics and log lines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Displaced => "displaced",
            Self::TooLate => "too_late",
            Self::OutOfTime => "out_of_time",
            Self::Closed => "closed",
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::Full => "as many requests as may be are under way or waiting; ask again later",
            Self::Displaced => "a more urgent request has taken the place in the queue; ask again later",
            Self::TooLate => {
                "too many requests are ahead to be served in time; ask again later, or allow more time"
            }
            Self::OutOfTime => "the time was over before the request was admitted; allow more time",
            Self::Closed => "no request is admitted any more; ask another replica",
        }
    }
}

/// Not admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", reason.message())]
pub struct Rejected {
    reason: RejectReason,
    retry_after: Option<Duration>,
}

impl Rejected {
    /// For people who write an admission of their own.
    #[must_use]
    pub const fn new(reason: RejectReason) -> Self {
        Self { reason, retry_after: None }
    }

    /// With how long to wait before asking again.
    #[must_use]
    pub const fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// Why.
    #[must_use]
    pub const fn reason(&self) -> RejectReason {
        self.reason
    }

    /// How long to wait before asking again, as far as that can be reckoned.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}
