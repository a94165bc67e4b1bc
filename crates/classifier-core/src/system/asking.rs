//! Asking a classifier that takes its time: in a task of its own, once for all who ask the same, and waiting no longer
//! than the request has time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cache_tiers::{Key, LoadError, Loaded, Origin, Retention};
use hp_base::Deadline;
use request_optimizer::{CoalesceError, Flown, Role, Urgency, Waiter};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::ClassificationSystem;
use super::engine::{Engine, Given, Present};
use super::gate::{Ended, Question};
use crate::classifier::Request;
use crate::error::{Error, ErrorKind, Result};
use crate::types::{DegradedReason, Source};

/// What is kept back of the time of a request for everything after the wait: being woken on a busy machine above all.
const KEPT_BACK: Duration = Duration::from_millis(100);

impl ClassificationSystem {
    /// Asks the classifier for a question that no cache has the answer to.
    ///
    /// The asking goes on when nobody waits for it any more: the answer is of use to the next who asks.
    pub(super) async fn ask(&self, request: &Request<'_>, key: Key, started: Instant) -> Result<Given> {
        let engine = &self.engine;
        // The caller's runtime may have no timers, and may end before what was paid for has come.
        let handle = self.own_background()?.handle();
        let deadline = engine.deadline(request, started);
        let compute = |urgency| engine.begin(handle, request, key, urgency, started);
        // Whatever keeps the background busy, such as the replies of a provider gone wild, must not keep the alarm from
        // going off.
        let outcome = self.alarms()?.within(async {
            if engine.deduplication && !request.force_llm {
                let _present = Present::new(&engine.n_coalescing);
                let waiter = Waiter { priority: request.priority, deadline };
                let key = (key, engine.cache.forgetting(&key));
                return match engine.coalescer.run(key, waiter, compute).await {
                    Ok(Flown { value, role: Role::Led }) => Ok(value),
                    Ok(Flown { value, .. }) => Ok(value.shared()),
                    Err(CoalesceError::Failed(ended)) => Err(ended),
                    Err(CoalesceError::Panicked) => Err(Ended::Broken),
                    Err(CoalesceError::OutOfTime) => Err(Ended::Late),
                };
            }
            let computed = compute(request.priority.into());
            tokio::time::timeout(deadline.left(&*engine.clock), computed).await.unwrap_or(Err(Ended::Late))
        });
        match outcome.await {
            Ok(given) => Ok(given),
            Err(ended) => engine.fall_back(request, ended),
        }
    }
}

impl Engine {
    /// Until when a question is worked on, so that the answer is there in time for who asks now.
    fn bound(&self, started: Instant) -> Deadline {
        let most = started.checked_add(self.max_response_time).map_or_else(Deadline::never, Deadline::at);
        most.earlier_by(KEPT_BACK.min(self.max_response_time / 4))
    }

    /// When this request must have its answer.
    fn deadline(&self, request: &Request<'_>, started: Instant) -> Deadline {
        let own = request.deadline.earlier_by(KEPT_BACK.min(self.max_response_time / 4));
        self.bound(started).sooner(own)
    }

    /// Begins to work an answer out, and waits until one stands.
    async fn begin(
        self: &Arc<Self>,
        handle: &Handle,
        request: &Request<'_>,
        key: Key,
        urgency: Urgency,
        started: Instant,
    ) -> std::result::Result<Given, Ended> {
        let (tell, mut early) = oneshot::channel();
        let question = Question::new(request, self.bound(started)).telling(tell);
        let mut asking = handle.spawn(Arc::clone(self).ask(question, key, urgency));
        let outcome = tokio::select! {
            biased;
            done = &mut asking => done.unwrap_or(Err(Ended::Broken)),
            Ok(verdict) = &mut early => Ok(verdict.into()),
        };
        match outcome {
            Ok(given) => Ok(given),
            // It may have told an answer in the same moment in which it has failed.
            Err(ended) => early.try_recv().map_or(Err(ended), |verdict| Ok(verdict.into())),
        }
    }

    /// Works an answer out, once in all processes that share a Redis, and keeps it.
    async fn ask(
        self: Arc<Self>,
        question: Question,
        key: Key,
        urgency: Urgency,
    ) -> std::result::Result<Given, Ended> {
        if question.is_forced() || !self.deduplication {
            let given = self.gate.ask(question, urgency).await?;
            return Ok(self.keep(key, given).await);
        }
        let told = Mutex::new(None);
        let patience = question.deadline.left(&*self.clock);
        let load = || async {
            let given = self.gate.ask(question, urgency).await?;
            let retention = self.retention(&given.answer).unwrap_or(Retention::memory_only(Duration::ZERO));
            let answer = given.answer.clone();
            *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(given);
            Ok((answer, retention))
        };
        match self.cache.load(&key, patience, load).await {
            Ok(Loaded { value, origin: Origin::Cached(level), .. }) => Ok(Given::cached(value, level)),
            Ok(Loaded { value, origin: Origin::Coalesced, .. }) => Ok(Given::new(value, Source::Coalesced)),
            Ok(Loaded { value, origin: Origin::Loaded, .. }) => {
                let told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
                let given = told.unwrap_or_else(|| Given::new(value, Source::Embedded));
                Ok(Given { is_kept: given.answer.degraded.is_none(), ..given })
            }
            Err(LoadError::Load(ended)) => Err(ended),
            Err(LoadError::OutOfTime) => Err(Ended::Late),
        }
    }

    /// What answers at once where the classifier has not answered.
    fn fall_back(&self, request: &Request<'_>, ended: Ended) -> Result<Given> {
        let verdict = self.fallback.as_ref().and_then(|fallback| fallback.at_once(request));
        let (reason, retry_after) = match &ended {
            Ended::Late => (DegradedReason::TimedOut, None),
            Ended::Failed(_) | Ended::Broken => (DegradedReason::Failed, None),
            Ended::Shed(retry_after) => (DegradedReason::Overloaded, Some(*retry_after)),
            Ended::Closed => (DegradedReason::ShuttingDown, None),
        };
        match &ended {
            Ended::Failed(error) => tracing::debug!(%error, "the classifier has failed"),
            Ended::Broken => tracing::warn!("a classifier has panicked"),
            Ended::Late | Ended::Shed(_) | Ended::Closed => {}
        }
        match verdict {
            Some(verdict) => Ok(Given { retry_after, ..verdict.degraded(reason).into() }),
            None => Err(ended.into_error()),
        }
    }
}

impl Ended {
    /// What is told to whoever asked, where nobody stands by.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Failed(error) => {
                let own = Arc::try_unwrap(error);
                own.unwrap_or_else(|shared| Error::new(shared.kind(), shared.to_string()).with_source(shared))
            }
            Self::Late => {
                let message = "the classifier has not answered within max_response_time_ms; give it more, or give \
                               the system a classifier to fall back on";
                Error::new(ErrorKind::OutOfTime, message)
            }
            Self::Broken => Error::new(ErrorKind::Io, "the classifier has panicked"),
            Self::Shed(retry_after) => {
                let message = format!(
                    "too many questions are waiting for the classifier; ask again in {} ms, or give the system a \
                     classifier to fall back on",
                    retry_after.as_millis()
                );
                Error::new(ErrorKind::Overloaded, message)
            }
            Self::Closed => {
                Error::new(ErrorKind::Closed, "the system is being shut down, and asks nobody any more")
            }
        }
    }
}
