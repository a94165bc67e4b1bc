//! Asks again what has failed by chance, if there is time.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hp_base::{Backoff, Clock};

use super::allowance::Allowance;
use super::kinds;
use super::latency::Latency;
use crate::{ChatModel, ChatReply, ChatRequest, LlmError, LlmErrorKind};

/// How [`Retry`] behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryConfig {
    /// How often a call is made again at the most; 0 makes none again. Default: 1.
    pub max_retries: u32,
    /// The wait before the first retry, before jitter; each one after waits twice as long. Default: 50 ms.
    pub first_wait: Duration,
    /// The longest wait, before jitter; one the provider asks for may be longer. Default: 500 ms.
    pub longest_wait: Duration,
    /// How many retries there may be, as a share of calls, in [0, 1]. Default: 0.1.
    pub share: f64,
    /// How many retries there may be besides, when all has gone well for a while. Default: 5.
    pub burst: u32,
    /// How long a call is taken to last before one has gone well. Default: 300 ms.
    pub typical_call: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            max_retries: 1,
            first_wait: Duration::from_millis(50),
            longest_wait: Duration::from_millis(500),
            share: 0.1,
            burst: 5,
            typical_call: super::TYPICAL_CALL,
        }
    }
}

/// What has become of calls that failed by chance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetryStats {
    /// Calls made again.
    pub n_retries: u64,
    /// Replies that took more than one call.
    pub n_cured: u64,
    /// Not made again, since there would not have been time.
    pub n_no_time: u64,
    /// Not made again, since too many others were.
    pub n_no_allowance: u64,
}

/// A model that is asked again when it could not be reached, the connection broke or it was asked too often.
///
/// A retry that could not end in time is not begun: what is left after the wait must be what a call typically takes. And
/// there are only so many, so that an outage is not met with twice the load.
#[derive(Debug)]
pub struct Retry {
    model: Arc<dyn ChatModel>,
    config: RetryConfig,
    clock: Arc<dyn Clock>,
    latency: Latency,
    allowance: Allowance,
    n_retries: AtomicU64,
    n_cured: AtomicU64,
    n_no_time: AtomicU64,
    n_no_allowance: AtomicU64,
}

impl Retry {
    /// Asks a model again.
    #[must_use]
    pub fn new(model: Arc<dyn ChatModel>, config: RetryConfig, clock: Arc<dyn Clock>) -> Self {
        Self {
            model,
            latency: Latency::new(super::WINDOW, 0.5, Arc::clone(&clock)),
            allowance: Allowance::new(config.share, config.burst),
            config,
            clock,
            n_retries: AtomicU64::new(0),
            n_cured: AtomicU64::new(0),
            n_no_time: AtomicU64::new(0),
            n_no_allowance: AtomicU64::new(0),
        }
    }

    /// What has happened since it was made.
    pub fn stats(&self) -> RetryStats {
        RetryStats {
            n_retries: self.n_retries.load(Ordering::Relaxed),
            n_cured: self.n_cured.load(Ordering::Relaxed),
            n_no_time: self.n_no_time.load(Ordering::Relaxed),
            n_no_allowance: self.n_no_allowance.load(Ordering::Relaxed),
        }
    }

    /// How long to wait before the call is made again, if it is to be.
    fn wait(&self, error: &LlmError, backoff: &mut Backoff, request: &ChatRequest) -> Option<Duration> {
        let asked_for = match error.kind() {
            LlmErrorKind::RateLimited | LlmErrorKind::Unavailable => error.retry_after(),
            _ => None,
        };
        let wait = backoff.next().max(asked_for.unwrap_or_default());
        let typical = self.latency.median().unwrap_or(self.config.typical_call);
        if request.deadline.left(&*self.clock) < wait.saturating_add(typical) {
            self.n_no_time.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        if !self.allowance.spend() {
            self.n_no_allowance.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(wait)
    }
}

impl Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "retry({})", self.model)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ChatModel for Retry {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatReply, LlmError> {
        self.allowance.earn();
        let mut backoff = Backoff::new(self.config.first_wait, self.config.longest_wait);
        let mut n_failed = 0;
        loop {
            let started = self.clock.now();
            let error = match self.model.chat(request).await {
                Ok(mut reply) => {
                    self.latency.record(self.clock.now().saturating_duration_since(started));
                    reply.report.n_attempts = reply.report.n_attempts.max(1).saturating_add(n_failed);
                    self.n_cured.fetch_add(u64::from(n_failed > 0), Ordering::Relaxed);
                    return Ok(reply);
                }
                Err(error) => error,
            };
            if n_failed >= self.config.max_retries || !kinds::may_pass(error.kind()) {
                return Err(error);
            }
            let Some(wait) = self.wait(&error, &mut backoff, request) else { return Err(error) };
            n_failed += 1;
            self.n_retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(wait).await;
        }
    }

    async fn warm(&self) -> Result<(), LlmError> {
        self.model.warm().await
    }
}
