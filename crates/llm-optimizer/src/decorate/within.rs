//! What ends in time, or is dropped.

use std::time::Duration;

use crate::{LlmError, LlmErrorKind};

/// What comes of a call within a time, or that it ran out of it; [`Duration::MAX`] sets no limit.
pub(super) async fn within<T>(
    time: Duration,
    call: impl Future<Output = Result<T, LlmError>>,
) -> Result<T, LlmError> {
    if time == Duration::MAX {
        return call.await;
    }
    tokio::time::timeout(time, call).await.unwrap_or_else(|_| {
        Err(LlmError::new(
            LlmErrorKind::OutOfTime,
            "no reply came in time; allow the request more, or ask a faster model",
        ))
    })
}
