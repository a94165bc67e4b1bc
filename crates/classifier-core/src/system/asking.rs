//! Asking a classifier that takes its time: in a task of its own, and waiting no longer than the request has time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cache_tiers::{Key, LoadError, Loaded, Origin, Retention};
use hp_base::{Deadline, Priority};
use tokio::sync::oneshot;

use super::ClassificationSystem;
use super::engine::{Engine, Given};
use crate::classifier::{Context, EarlyAnswer, Request, Verdict};
use crate::error::{Error, ErrorKind, Result};
use crate::types::{DegradedReason, Source};

/// What is kept back of the time of a request for everything after the wait: being woken on a busy machine above all.
const KEPT_BACK: Duration = Duration::from_millis(100);

/// A question that a task can take along.
#[derive(Debug)]
struct Question {
    query: String,
    context: Context,
    priority: Priority,
    force_llm: bool,
    deadline: Deadline,
}

impl Question {
    fn request(&self) -> Request<'_> {
        let Self { query, context, priority, force_llm, deadline } = self;
        Request {
            query,
            context: context.clone(),
            priority: *priority,
            force_llm: *force_llm,
            deadline: *deadline,
        }
    }
}

impl ClassificationSystem {
    /// Asks the classifier for a question that no cache has the answer to.
    ///
    /// The asking goes on when nobody waits for it any more: the answer is of use to the next who asks.
    pub(super) async fn ask(&self, request: &Request<'_>, key: Key, started: Instant) -> Result<Given> {
        let engine = &self.engine;
        // The caller's runtime may have no timers, and may end before what was paid for has come.
        let background = self.own_background()?;
        let deadline = engine.deadline(request, started);
        let question = Question {
            query: request.query.to_owned(),
            context: request.context.clone(),
            priority: request.priority,
            force_llm: request.force_llm,
            deadline,
        };
        let (tell, mut early) = oneshot::channel();
        let mut asking = background.handle().spawn(Arc::clone(engine).ask(question, key, tell));
        let left = deadline.left(&*engine.clock);
        // Whatever keeps the background busy, such as the replies of a provider gone wild, must not keep the alarm from
        // going off.
        let outcome = self.alarms()?.within(async {
            let late = tokio::time::sleep(left);
            tokio::select! {
                biased;
                done = &mut asking => done.unwrap_or_else(|_| Err(Ended::Broken)),
                Ok(verdict) = &mut early => Ok(verdict.into()),
                () = late => Err(Ended::Late),
            }
        });
        match outcome.await {
            Ok(given) => Ok(given),
            // It may have told an answer in the same moment in which it has failed.
            Err(ended) => match early.try_recv() {
                Ok(verdict) => Ok(verdict.into()),
                Err(_) => engine.fall_back(request, ended),
            },
        }
    }
}

/// Why a classifier has given no answer.
#[derive(Debug)]
enum Ended {
    Late,
    Failed(Error),
    /// It has panicked, or its runtime has ended.
    Broken,
}

impl Engine {
    /// When the answer must be had, so that it is there in time.
    fn deadline(&self, request: &Request<'_>, started: Instant) -> Deadline {
        let most = started.checked_add(self.max_response_time).map_or_else(Deadline::never, Deadline::at);
        most.sooner(request.deadline).earlier_by(KEPT_BACK.min(self.max_response_time / 4))
    }

    /// Works the answer out once for all who ask at this time, in all processes that share a Redis, and keeps it.
    async fn ask(
        self: Arc<Self>,
        question: Question,
        key: Key,
        tell: oneshot::Sender<Verdict>,
    ) -> std::result::Result<Given, Ended> {
        let tell = Mutex::new(Some(tell));
        let early = |verdict: Verdict| {
            let tell = tell.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(tell) = tell {
                // OK to ignore: whoever asked may not wait any more.
                let _ = tell.send(verdict);
            }
        };
        let request = question.request();
        if request.force_llm {
            let verdict = self.classifier.classify_early(&request, &early).await.map_err(Ended::Failed)?;
            return Ok(self.keep(key, verdict).await);
        }
        self.ask_once(&request, key, &early).await
    }

    async fn ask_once(
        &self,
        request: &Request<'_>,
        key: Key,
        early: &EarlyAnswer<'_>,
    ) -> std::result::Result<Given, Ended> {
        let told = Mutex::new(None);
        let load = || async {
            let verdict = self.classifier.classify_early(request, early).await?;
            let retention = self.retention(&verdict.classification);
            let Given { answer, source, llm, .. } = verdict.into();
            *told.lock().unwrap_or_else(PoisonError::into_inner) = Some((source, llm));
            Ok((answer, retention.unwrap_or(Retention::memory_only(Duration::ZERO))))
        };
        let patience = request.deadline.left(&*self.clock);
        match self.cache.load(&key, patience, load).await {
            Ok(Loaded { value, origin: Origin::Cached(level), .. }) => Ok(Given::cached(value, level)),
            Ok(Loaded { value, origin: Origin::Coalesced, .. }) => {
                Ok(Given { answer: value, source: Source::Coalesced, level: None, llm: None })
            }
            Ok(Loaded { value, origin: Origin::Loaded, .. }) => {
                let told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
                let (source, llm) = told.unwrap_or((Source::Embedded, None));
                Ok(Given { answer: value, source, level: None, llm })
            }
            Err(LoadError::Load(error)) => Err(Ended::Failed(error)),
            Err(LoadError::OutOfTime) => Err(Ended::Late),
        }
    }

    /// What answers at once where the classifier has not answered.
    fn fall_back(&self, request: &Request<'_>, ended: Ended) -> Result<Given> {
        let verdict = self.fallback.as_ref().and_then(|fallback| fallback.at_once(request));
        let reason = match (&ended, &verdict) {
            (Ended::Failed(error), Some(_)) => {
                tracing::debug!(%error, "the classifier has failed; the fallback answers");
                DegradedReason::Failed
            }
            (Ended::Broken, _) => {
                tracing::warn!("a classifier has panicked");
                DegradedReason::Failed
            }
            (Ended::Late | Ended::Failed(_), _) => DegradedReason::TimedOut,
        };
        match (verdict, ended) {
            (Some(verdict), _) => Ok(verdict.degraded(reason).into()),
            (None, Ended::Failed(error)) => Err(error),
            (None, Ended::Late) => {
                let message = "the classifier has not answered within max_response_time_ms; give it more, or give \
                               the system a classifier to fall back on";
                Err(Error::new(ErrorKind::OutOfTime, message))
            }
            (None, Ended::Broken) => Err(Error::new(ErrorKind::Io, "the classifier has panicked")),
        }
    }
}
