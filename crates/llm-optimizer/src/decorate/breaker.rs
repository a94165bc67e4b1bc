//! Leaves alone for a while what fails, hangs, or replies in vain.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hp_base::{AdaptiveSlow, BreakerConfig, BreakerState, Call, CircuitBreaker, Clock};

use super::latency::Latency;
use crate::{ChatModel, ChatReply, ChatRequest, LlmError, LlmErrorKind};

/// What a breaker has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerStats {
    /// What it lets through now.
    pub state: BreakerState,
    /// How often it has opened, after failed trials too.
    pub n_openings: u64,
    /// Calls it has not let through.
    pub n_refused: u64,
    /// How long a call may take at present without being slow.
    pub slow_after: Duration,
}

/// A model behind a circuit breaker: when too many calls fail or are slow, the others fail at once.
///
/// A call that hangs is slow as soon as it has taken too long, and not only when it ends. Too long is also nearly all the
/// time the request had, if that was twice what a call typically takes: otherwise nobody would notice what hangs when all
/// requests are in a hurry. A call that was refused by a budget or a queue within, or is dropped before it is slow, says
/// nothing of the provider; nor does a request the provider does not take, or one that had too little time.
#[derive(Debug)]
pub struct Breaker {
    model: Arc<dyn ChatModel>,
    breaker: CircuitBreaker,
    clock: Arc<dyn Clock>,
    latency: Latency,
    n_refused: AtomicU64,
    n_openings_logged: AtomicU64,
}

/// What an error says of the provider.
enum Blame {
    Failed,
    /// Only if it has had its time.
    FailedIfSlow,
    Nothing,
}

impl Breaker {
    /// Puts a model behind a closed breaker.
    ///
    /// What suits chat models is [`Breaker::config`].
    #[must_use]
    pub fn new(model: Arc<dyn ChatModel>, config: BreakerConfig, clock: Arc<dyn Clock>) -> Self {
        Self {
            model,
            breaker: CircuitBreaker::new(config, Arc::clone(&clock)),
            latency: Latency::new(super::WINDOW, 0.5, Arc::clone(&clock)),
            clock,
            n_refused: AtomicU64::new(0),
            n_openings_logged: AtomicU64::new(0),
        }
    }

    /// What suits chat models: slow is three times the usual time, but never less than 500 ms and never more than
    /// 1.5 s, so that requests of two seconds see it; it stays open for one second the first time and 30 s at the most. The
    /// rest is as usual.
    #[must_use]
    pub fn config() -> BreakerConfig {
        BreakerConfig {
            slow_call: Duration::from_millis(1500),
            adaptive_slow: Some(AdaptiveSlow { factor: 3.0, floor: Duration::from_millis(500) }),
            open_for: Duration::from_secs(1),
            open_for_most: Duration::from_secs(30),
            ..BreakerConfig::default()
        }
    }

    /// Says that the latest reply was of no use, which only who asked can tell: it counts as a failed call.
    pub fn report_bad_reply(&self) {
        self.breaker.failed_after_all();
        self.log_opening();
    }

    /// What has happened since it was made.
    pub fn stats(&self) -> BreakerStats {
        BreakerStats {
            state: self.breaker.state(),
            n_openings: self.breaker.n_openings(),
            n_refused: self.n_refused.load(Ordering::Relaxed),
            slow_after: self.breaker.slow_after(),
        }
    }

    /// How long the call of a request may take without being late.
    fn late_after(&self, request: &ChatRequest) -> Duration {
        let slow_after = self.breaker.slow_after();
        let left = request.deadline.left(&*self.clock);
        let typical = self.latency.median().unwrap_or(super::TYPICAL_CALL);
        if left < typical.saturating_mul(2) { slow_after } else { slow_after.min(left / 10 * 9) }
    }

    fn refusal(&self) -> LlmError {
        self.n_refused.fetch_add(1, Ordering::Relaxed);
        let error = LlmError::new(
            LlmErrorKind::CircuitOpen,
            format!("too many calls to {} have failed; ask another model, or again later", self.model),
        );
        match self.breaker.open_for() {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        }
    }

    fn tell(&self, call: Call<'_>, is_late: bool, result: &Result<ChatReply, LlmError>) {
        match result
            .as_ref()
            .map_err(|error| if error.is_unsent() { Blame::Nothing } else { blame(error.kind()) })
        {
            Ok(_) => call.succeeded(),
            Err(Blame::Failed) => call.failed(),
            Err(Blame::FailedIfSlow) if is_late => call.failed(),
            Err(Blame::FailedIfSlow | Blame::Nothing) => drop(call),
        }
        self.log_opening();
    }

    fn log_opening(&self) {
        let n_openings = self.breaker.n_openings();
        if self.n_openings_logged.fetch_max(n_openings, Ordering::Relaxed) < n_openings {
            tracing::warn!(model = %self.model, n_openings, "the circuit breaker has opened");
        }
    }
}

const fn blame(kind: LlmErrorKind) -> Blame {
    match kind {
        // A wrong key or name fails every call alike.
        LlmErrorKind::Unauthorized
        | LlmErrorKind::NotFound
        | LlmErrorKind::RateLimited
        | LlmErrorKind::Unavailable
        | LlmErrorKind::Disconnected
        | LlmErrorKind::InvalidReply => Blame::Failed,
        LlmErrorKind::OutOfTime => Blame::FailedIfSlow,
        LlmErrorKind::InvalidConfig
        | LlmErrorKind::InvalidRequest
        | LlmErrorKind::CircuitOpen
        | LlmErrorKind::Busy
        | LlmErrorKind::OverBudget
        | LlmErrorKind::BudgetUnknown => Blame::Nothing,
    }
}

impl Display for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "breaker({})", self.model)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ChatModel for Breaker {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatReply, LlmError> {
        let Some(mut call) = self.breaker.try_call() else { return Err(self.refusal()) };
        let started = self.clock.now();
        let mut reply = self.model.chat(request);
        let in_time = tokio::time::timeout(self.late_after(request), &mut reply).await;
        let (result, is_late) = match in_time {
            Ok(result) => (result, false),
            Err(_) => {
                call.late();
                self.log_opening();
                (reply.await, true)
            }
        };
        if result.is_ok() {
            self.latency.record(self.clock.now().saturating_duration_since(started));
        }
        self.tell(call, is_late, &result);
        result
    }

    async fn warm(&self) -> Result<(), LlmError> {
        self.model.warm().await
    }
}
