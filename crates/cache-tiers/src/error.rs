//! The one error of this crate: what went wrong with a cache, in the few kinds a caller may branch on.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// A cache tier could not do what it was asked.
///
/// A cache is never worth a failed request: whoever meets one of these goes on as if the entry were absent,
/// and uses [`kind`](CacheError::kind) only to count, to open a breaker or to quarantine the tier.
///
/// ```
/// use cache_tiers::{CacheError, CacheErrorKind};
///
/// let error = CacheError::new(CacheErrorKind::Timeout, "no reply within 20 ms");
/// assert_eq!(error.kind(), CacheErrorKind::Timeout);
/// assert_eq!(error.to_string(), "cache timed out: no reply within 20 ms");
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct CacheError {
    kind: CacheErrorKind,
    message: Cow<'static, str>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What kind of failure a [`CacheError`] is.
///
/// The memory tier returns [`TooLarge`](CacheErrorKind::TooLarge) alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheErrorKind {
    /// The store behind the tier cannot be reached, or has been taken out of service. Later may be better.
    Unavailable,
    /// The store did not answer in the time the tier allows itself. Later may be better.
    Timeout,
    /// What was read is not what was written. The tier no longer serves that entry.
    Corrupt,
    /// The entry is heavier than the tier is willing to hold. Trying again is of no use.
    TooLarge,
    /// The value has no form in which the tier could keep it. Trying again is of no use.
    Unsupported,
    /// What the tier was configured with cannot be used; the message says what to write instead.
    InvalidConfig,
}

impl CacheError {
    /// An error with a message in lower case and without a full stop, which says what to do where there is
    /// something to do.
    #[must_use]
    pub fn new(kind: CacheErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Adds the error this one came from, to be found through [`Error::source`].
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What callers may branch on.
    #[must_use]
    pub fn kind(&self) -> CacheErrorKind {
        self.kind
    }
}

impl fmt::Display for CacheErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "cache unavailable",
            Self::Timeout => "cache timed out",
            Self::Corrupt => "cache entry corrupt",
            Self::TooLarge => "cache entry too large",
            Self::Unsupported => "cache entry unsupported",
            Self::InvalidConfig => "cache configuration invalid",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_kept() {
        let error = CacheError::new(CacheErrorKind::Unavailable, "cannot connect to the store")
            .with_source(std::io::Error::other("connection refused"));
        assert_eq!(error.kind(), CacheErrorKind::Unavailable);
        assert_eq!(error.to_string(), "cache unavailable: cannot connect to the store");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("connection refused"));
    }
}
