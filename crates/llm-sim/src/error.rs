//! The one error of this crate.

use std::error::Error;

/// What went wrong, for callers that branch on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SimErrorKind {
    /// What was configured cannot be used: a probability above 1, a fault nobody knows, a broken line of a file.
    InvalidConfig,
    /// A file or a socket failed.
    Io,
}

/// An error with a [kind](SimError::kind) to branch on.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SimError {
    kind: SimErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl SimError {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self { kind: SimErrorKind::InvalidConfig, message: message.into(), source: None }
    }

    pub(crate) fn io(message: impl Into<String>, source: std::io::Error) -> Self {
        Self { kind: SimErrorKind::Io, message: message.into(), source: Some(source.into()) }
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> SimErrorKind {
        self.kind
    }
}
