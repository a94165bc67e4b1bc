//! Sends a second request when the first is late.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::{Either, select};
use hp_base::Clock;

use super::allowance::Allowance;
use super::latency::Latency;
use crate::{ChatModel, ChatReply, ChatRequest, LlmError};

/// How [`Hedge`] behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HedgeConfig {
    /// A call is late when it has taken longer than this share of calls do, in (0, 1). Default: 0.95.
    pub quantile: f64,
    /// So many calls must have gone well before it is known when one is late. Default: 20.
    pub min_samples: u64,
    /// How many second requests there may be, as a share of calls, in [0, 1]. Default: 0.05.
    pub share: f64,
    /// How many there may be besides, when there were few for a while. Default: 3.
    pub burst: u32,
}

impl Default for HedgeConfig {
    fn default() -> Self {
        Self { quantile: 0.95, min_samples: 20, share: 0.05, burst: 3 }
    }
}

/// What has become of late calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HedgeStats {
    /// Second requests sent.
    pub n_sent: u64,
    /// Those that have brought the reply.
    pub n_won: u64,
    /// Not sent, since there would not have been time.
    pub n_no_time: u64,
    /// Not sent, since too many others were.
    pub n_no_allowance: u64,
}

/// A model that is asked a second time, or another one, while the first request is still under way, once that has taken
/// longer than nearly all calls do (Dean and Barroso 2013, "The tail at scale").
///
/// The first reply counts and the other call is dropped; what it has cost until then is for the decorators within to
/// reckon. When both fail, it is the first one's error.
#[derive(Debug)]
pub struct Hedge {
    model: Arc<dyn ChatModel>,
    backup: Option<Arc<dyn ChatModel>>,
    config: HedgeConfig,
    clock: Arc<dyn Clock>,
    latency: Latency,
    allowance: Allowance,
    n_sent: AtomicU64,
    n_won: AtomicU64,
    n_no_time: AtomicU64,
    n_no_allowance: AtomicU64,
}

impl Hedge {
    /// Sends second requests to the model itself.
    #[must_use]
    pub fn new(model: Arc<dyn ChatModel>, config: HedgeConfig, clock: Arc<dyn Clock>) -> Self {
        Self {
            model,
            backup: None,
            latency: Latency::new(super::WINDOW, config.quantile, Arc::clone(&clock)),
            allowance: Allowance::new(config.share, config.burst),
            config,
            clock,
            n_sent: AtomicU64::new(0),
            n_won: AtomicU64::new(0),
            n_no_time: AtomicU64::new(0),
            n_no_allowance: AtomicU64::new(0),
        }
    }

    /// Sends second requests to another model.
    #[must_use]
    pub fn with_backup(mut self, backup: Arc<dyn ChatModel>) -> Self {
        self.backup = Some(backup);
        self
    }

    /// What has happened since it was made.
    pub fn stats(&self) -> HedgeStats {
        HedgeStats {
            n_sent: self.n_sent.load(Ordering::Relaxed),
            n_won: self.n_won.load(Ordering::Relaxed),
            n_no_time: self.n_no_time.load(Ordering::Relaxed),
            n_no_allowance: self.n_no_allowance.load(Ordering::Relaxed),
        }
    }

    /// How long a call may take at present without being late, if that is known.
    pub fn late_after(&self) -> Option<Duration> {
        self.latency.quantile(self.config.min_samples)
    }

    /// Whether a second request may be sent now.
    fn may_send(&self, request: &ChatRequest) -> bool {
        let typical = self.latency.median().unwrap_or_default();
        if request.deadline.left(&*self.clock) < typical {
            self.n_no_time.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        if !self.allowance.spend() {
            self.n_no_allowance.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        self.n_sent.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn record(&self, started: Instant) {
        self.latency.record(self.clock.now().saturating_duration_since(started));
    }

    /// What comes of the first request when there is no second one.
    fn alone(&self, result: Result<ChatReply, LlmError>, started: Instant) -> Result<ChatReply, LlmError> {
        if result.is_ok() {
            self.record(started);
        }
        result
    }

    /// A reply that took two requests.
    fn of_two(&self, mut reply: ChatReply, won: bool) -> ChatReply {
        reply.report.is_hedged = true;
        reply.report.n_attempts = reply.report.n_attempts.max(1).saturating_add(1);
        self.n_won.fetch_add(u64::from(won), Ordering::Relaxed);
        reply
    }
}

impl Display for Hedge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.backup {
            None => write!(f, "hedge({})", self.model),
            Some(backup) => write!(f, "hedge({}, {backup})", self.model),
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ChatModel for Hedge {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatReply, LlmError> {
        self.allowance.earn();
        let started = self.clock.now();
        let mut first = self.model.chat(request);
        let Some(late_after) = self.late_after() else {
            return self.alone(first.await, started);
        };
        if let Ok(result) = tokio::time::timeout(late_after, &mut first).await {
            return self.alone(result, started);
        }
        if !self.may_send(request) {
            return self.alone(first.await, started);
        }
        let second = self.backup.as_ref().unwrap_or(&self.model).chat(request);
        match select(first, second).await {
            Either::Left((Ok(reply), _dropped)) => {
                self.record(started);
                Ok(self.of_two(reply, false))
            }
            Either::Left((Err(error), second)) => match second.await {
                Ok(reply) => Ok(self.of_two(reply, true)),
                Err(_) => Err(error),
            },
            Either::Right((Ok(reply), _dropped)) => {
                // The first would have taken longer still. Without its time the slow calls would be missing, what is
                // known would grow shorter, and ever more calls would seem late.
                self.record(started);
                Ok(self.of_two(reply, true))
            }
            Either::Right((Err(_), first)) => {
                let reply = first.await?;
                self.record(started);
                Ok(self.of_two(reply, false))
            }
        }
    }

    async fn warm(&self) -> Result<(), LlmError> {
        let result = self.model.warm().await;
        match &self.backup {
            Some(backup) => result.and(backup.warm().await),
            None => result,
        }
    }
}
