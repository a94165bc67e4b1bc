//! Holds a call to its deadline, whatever the model within does.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hp_base::{Clock, Deadline};

use super::within::within;
use crate::{ChatModel, ChatReply, ChatRequest, LlmError, LlmErrorKind};

/// How [`WithDeadline`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadlineConfig {
    /// How long a call may take whose request has no deadline; none lets it take for ever. Default: 10 s.
    pub call_timeout: Option<Duration>,
    /// A call with less time than this is not begun. Default: 50 ms.
    pub least: Duration,
}

impl Default for DeadlineConfig {
    fn default() -> Self {
        Self { call_timeout: Some(Duration::from_secs(10)), least: Duration::from_millis(50) }
    }
}

/// Calls that had no time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeadlineStats {
    /// Not begun, since too little was left.
    pub n_refused: u64,
    /// Ended by the deadline, or by the model within because of it.
    pub n_out_of_time: u64,
}

/// A model whose calls end by the request's deadline and its grace: with the reply, or
/// [out of time](LlmErrorKind::OutOfTime).
///
/// What is late is dropped. Everything within sees the deadline in the request, so that it can plan with it.
#[derive(Debug)]
pub struct WithDeadline {
    model: Arc<dyn ChatModel>,
    config: DeadlineConfig,
    clock: Arc<dyn Clock>,
    n_refused: AtomicU64,
    n_out_of_time: AtomicU64,
}

impl WithDeadline {
    /// Holds a model's calls to their deadlines.
    #[must_use]
    pub fn new(model: Arc<dyn ChatModel>, config: DeadlineConfig, clock: Arc<dyn Clock>) -> Self {
        Self { model, config, clock, n_refused: AtomicU64::new(0), n_out_of_time: AtomicU64::new(0) }
    }

    /// What has happened since it was made.
    pub fn stats(&self) -> DeadlineStats {
        DeadlineStats {
            n_refused: self.n_refused.load(Ordering::Relaxed),
            n_out_of_time: self.n_out_of_time.load(Ordering::Relaxed),
        }
    }

    async fn held(&self, request: &ChatRequest) -> Result<ChatReply, LlmError> {
        let left = request.deadline.left(&*self.clock);
        if left.is_zero() || left < self.config.least {
            self.n_refused.fetch_add(1, Ordering::Relaxed);
            return Err(LlmError::new(
                LlmErrorKind::OutOfTime,
                "too little time is left for a call; allow the request more",
            ));
        }
        let most = request.given_up_at().left(&*self.clock);
        let result = within(most, self.model.chat(request)).await;
        if result.as_ref().is_err_and(|error| error.kind() == LlmErrorKind::OutOfTime) {
            self.n_out_of_time.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

impl Display for WithDeadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "deadline({})", self.model)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ChatModel for WithDeadline {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatReply, LlmError> {
        match self.config.call_timeout {
            Some(timeout) if request.deadline.instant().is_none() => {
                let deadline = Deadline::after(&*self.clock, timeout);
                self.held(&ChatRequest { deadline, ..request.clone() }).await
            }
            _ => self.held(request).await,
        }
    }

    async fn warm(&self) -> Result<(), LlmError> {
        within(self.config.call_timeout.unwrap_or(Duration::MAX), self.model.warm()).await
    }
}
