//! Bounds how many calls are under way at once.

use std::fmt::{self, Display};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hp_base::Clock;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::latency::Latency;
use crate::{ChatModel, ChatReply, ChatRequest, LlmError, LlmErrorKind};

/// How [`Concurrency`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConcurrencyConfig {
    /// Calls at once, at the most; 0 counts as 1. Default: 8.
    pub limit: usize,
    /// Calls that wait, at the most; those beyond are refused. Default: 1,000.
    pub max_waiting: usize,
    /// How long a call is taken to last before one has gone well. Default: 300 ms.
    pub typical_call: Duration,
}

impl Default for ConcurrencyConfig {
    fn default() -> Self {
        Self { limit: 8, max_waiting: 1_000, typical_call: super::TYPICAL_CALL }
    }
}

/// Where calls are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConcurrencyStats {
    /// Calls at once, at the most.
    pub limit: usize,
    /// Under way now.
    pub n_in_flight: usize,
    /// Waiting now.
    pub n_waiting: usize,
    /// Refused, since they would have come too late or too many were waiting.
    pub n_refused: u64,
}

/// A model that has so many calls at once and no more; the others wait in the order they came.
///
/// Who cannot be served in time is told at once, as far as that can be reckoned from how long calls take and how many
/// are waiting, and at the latest when what is left is less than a call takes.
#[derive(Debug)]
pub struct Concurrency {
    model: Arc<dyn ChatModel>,
    config: ConcurrencyConfig,
    clock: Arc<dyn Clock>,
    latency: Latency,
    semaphore: Semaphore,
    limit: Mutex<Limit>,
    n_in_flight: AtomicUsize,
    n_waiting: AtomicUsize,
    n_refused: AtomicU64,
}

#[derive(Debug)]
struct Limit {
    limit: usize,
    /// Permits that are still out and must not come back, since the limit was lowered meanwhile.
    n_owed: usize,
}

/// Leave to have a call under way, until it is dropped.
#[derive(Debug)]
struct Leave<'a> {
    owner: &'a Concurrency,
    permit: Option<SemaphorePermit<'a>>,
}

/// Counts one who waits.
struct Waiting<'a>(&'a AtomicUsize);

impl Concurrency {
    /// Bounds a model's calls.
    #[must_use]
    pub fn new(model: Arc<dyn ChatModel>, config: ConcurrencyConfig, clock: Arc<dyn Clock>) -> Self {
        let limit = allowed(config.limit);
        Self {
            model,
            latency: Latency::new(super::WINDOW, 0.5, Arc::clone(&clock)),
            config,
            clock,
            semaphore: Semaphore::new(limit),
            limit: Mutex::new(Limit { limit, n_owed: 0 }),
            n_in_flight: AtomicUsize::new(0),
            n_waiting: AtomicUsize::new(0),
            n_refused: AtomicU64::new(0),
        }
    }

    /// Allows so many calls at once from now on; 0 counts as 1. Calls under way are left to end.
    pub fn set_limit(&self, limit: usize) {
        let limit = allowed(limit);
        let mut current = self.lock();
        if limit >= current.limit {
            let n_more = limit - current.limit;
            let n_forgiven = n_more.min(current.n_owed);
            current.n_owed -= n_forgiven;
            self.semaphore.add_permits(n_more - n_forgiven);
        } else {
            let n_fewer = current.limit - limit;
            current.n_owed += n_fewer - self.semaphore.forget_permits(n_fewer);
        }
        current.limit = limit;
    }

    /// How things stand.
    pub fn stats(&self) -> ConcurrencyStats {
        ConcurrencyStats {
            limit: self.lock().limit,
            n_in_flight: self.n_in_flight.load(Ordering::Relaxed),
            n_waiting: self.n_waiting.load(Ordering::Relaxed),
            n_refused: self.n_refused.load(Ordering::Relaxed),
        }
    }

    async fn leave(&self, request: &ChatRequest) -> Result<Leave<'_>, LlmError> {
        if let Ok(permit) = self.semaphore.try_acquire() {
            return Ok(self.grant(permit));
        }
        let n_before = self.n_waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(&self.n_waiting);
        if n_before >= self.config.max_waiting {
            return Err(self.refusal("too many calls are waiting for the model; ask again later"));
        }
        let typical = self.latency.median().unwrap_or(self.config.typical_call);
        let left = request.deadline.left(&*self.clock);
        if left < self.expected_wait(n_before, typical).saturating_add(typical) {
            return Err(self.refusal(TOO_LATE));
        }
        let acquire = self.semaphore.acquire();
        let permit = if left == Duration::MAX {
            acquire.await
        } else {
            let most = left.saturating_sub(typical);
            tokio::time::timeout(most, acquire).await.map_err(|_| self.refusal(TOO_LATE))?
        };
        drop(waiting);
        // OK to refuse: nobody closes the semaphore.
        permit.map(|permit| self.grant(permit)).map_err(|_| self.refusal(TOO_LATE))
    }

    /// How long the one before whom so many wait will wait: `limit` calls end, on average, in the time one takes.
    fn expected_wait(&self, n_before: usize, typical: Duration) -> Duration {
        let limit = self.lock().limit;
        // OK to saturate: nobody waits behind so many.
        let n_before = u32::try_from(n_before).unwrap_or(u32::MAX);
        typical.saturating_mul(n_before) / u32::try_from(limit).unwrap_or(u32::MAX)
    }

    fn grant<'a>(&'a self, permit: SemaphorePermit<'a>) -> Leave<'a> {
        self.n_in_flight.fetch_add(1, Ordering::Relaxed);
        Leave { owner: self, permit: Some(permit) }
    }

    fn refusal(&self, message: &str) -> LlmError {
        self.n_refused.fetch_add(1, Ordering::Relaxed);
        LlmError::new(LlmErrorKind::Busy, message)
    }

    fn lock(&self) -> MutexGuard<'_, Limit> {
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const TOO_LATE: &str =
    "too many calls are under way to be served in time; allow more at once, or the request more time";

fn allowed(limit: usize) -> usize {
    limit.clamp(1, Semaphore::MAX_PERMITS)
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.owner.n_in_flight.fetch_sub(1, Ordering::Relaxed);
        let Some(permit) = self.permit.take() else { return };
        let mut limit = self.owner.lock();
        if limit.n_owed > 0 {
            limit.n_owed -= 1;
            permit.forget();
        } else {
            // While the limit cannot change.
            drop(permit);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "concurrency({})", self.model)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ChatModel for Concurrency {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatReply, LlmError> {
        let _leave = self.leave(request).await?;
        let started = self.clock.now();
        let reply = self.model.chat(request).await?;
        self.latency.record(self.clock.now().saturating_duration_since(started));
        Ok(reply)
    }

    async fn warm(&self) -> Result<(), LlmError> {
        self.model.warm().await
    }
}
