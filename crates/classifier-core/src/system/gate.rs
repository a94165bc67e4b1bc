//! The gate before a classifier that takes its time: lanes, batches, and as many calls at once as are good for it.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hp_base::{Clock, Deadline, Priority};
use request_optimizer::{
    BatchError, BatchHandler, Batcher, BatcherConfig, BatcherStats, Done, LanesConfig, Terms, Urgency,
};
use resource_manager::{Admission, AdmissionStats, Applicant, Permit};
use tokio::sync::oneshot;

use super::engine::{Given, Present};
use crate::classifier::{BatchClassifier, Classifier, Context, Request, Verdict};
use crate::config::Config;
use crate::error::Error;
use crate::types::{DegradedReason, Source};

/// Tokens of the questions of a batch at the most. Ten short questions have 200; a batch of long ones takes longer than
/// there is time.
const MAX_BATCH_TOKENS: u64 = 4_000;
/// What a question adds to a batch beside its text, in tokens: its id, its braces, its item of the reply.
const TOKENS_AROUND: u64 = 50;
/// Fewer characters make a token in no language that is asked in.
const CHARS_PER_TOKEN: u64 = 3;
/// How long a call is taken to last before one has been seen.
const TYPICAL_CALL: Duration = Duration::from_millis(600);
/// How soon one asks again for leave to call when it was refused without a word of when.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// Calls at once for a classifier of which nothing is known.
pub(super) const CALLS_OF_AN_OWN_CLASSIFIER: usize = 1_000;

/// A question that a task can take along.
pub(super) struct Question {
    query: String,
    context: Context,
    priority: Priority,
    force_llm: bool,
    pub(super) deadline: Deadline,
    /// Who is told an answer that stands before everything about it is known.
    tell: Mutex<Option<oneshot::Sender<Verdict>>>,
}

impl Question {
    pub(super) fn new(request: &Request<'_>, deadline: Deadline) -> Self {
        Self {
            query: request.query.to_owned(),
            context: request.context.clone(),
            priority: request.priority,
            force_llm: request.force_llm,
            deadline,
            tell: Mutex::new(None),
        }
    }

    /// The question of one who wants to be told an answer as soon as it stands.
    pub(super) fn telling(mut self, tell: oneshot::Sender<Verdict>) -> Self {
        self.tell = Mutex::new(Some(tell));
        self
    }

    pub(super) fn request(&self) -> Request<'_> {
        let Self { query, context, priority, force_llm, deadline, .. } = self;
        Request {
            query,
            context: context.clone(),
            priority: *priority,
            force_llm: *force_llm,
            deadline: *deadline,
        }
    }

    /// Whether the caches and the embedded classifier are not to be heard.
    pub(super) fn is_forced(&self) -> bool {
        self.force_llm
    }

    fn tell(&self, verdict: Verdict) {
        if let Some(tell) = self.tell.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // OK to ignore: whoever asked may not wait any more.
            let _ = tell.send(verdict);
        }
    }

    fn n_tokens(&self) -> u64 {
        (self.query.len() + self.context.n_chars()) as u64 / CHARS_PER_TOKEN + TOKENS_AROUND
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nobody's words belong in a log.
        f.debug_struct("Question").field("priority", &self.priority).finish_non_exhaustive()
    }
}

/// Why a classifier has given no answer.
#[derive(Debug, Clone)]
pub(super) enum Ended {
    Late,
    Failed(Arc<Error>),
    /// It has panicked, or its runtime has ended.
    Broken,
    /// There was no room; there may be after the time given.
    Shed(Duration),
    Closed,
}

/// Lets questions through to a classifier: the urgent first, together where that is cheaper, and no more calls at once
/// than it can take.
#[derive(Debug)]
pub(super) struct Gate {
    batcher: Batcher<Question, Verdict, Calls>,
    calls: Arc<Calls>,
    /// As configured.
    max_batch_size: usize,
    /// As it is now.
    batch_size: AtomicUsize,
    max_in_flight: usize,
    /// Questions on their way.
    n_open: AtomicUsize,
}

#[derive(Debug)]
struct Calls {
    classifier: Arc<dyn Classifier>,
    many: Option<Arc<dyn BatchClassifier>>,
    admission: Arc<dyn Admission>,
}

impl Gate {
    pub(super) fn new(
        classifier: Arc<dyn Classifier>,
        many: Option<Arc<dyn BatchClassifier>>,
        admission: Arc<dyn Admission>,
        config: &Config,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let batching = many.is_some() && config.traffic.batching;
        let max_batch_size = if batching { config.traffic.max_batch_size } else { 1 };
        let max_in_flight = calls_at_once(many.is_some(), config);
        let calls = Arc::new(Calls { classifier, many, admission });
        let batcher = BatcherConfig {
            max_batch_size,
            batch_timeout: config.traffic.batch_timeout,
            max_weight: MAX_BATCH_TOKENS,
            max_in_flight,
            lanes: LanesConfig {
                max_waiting: config.traffic.max_waiting,
                // Whoever is answered within the limit does not wait for so long: it helps those who are patient, and
                // takes nothing from the urgent.
                age_after: config.max_response_time.saturating_mul(2),
                ..LanesConfig::default()
            },
            typical_call: TYPICAL_CALL.min(config.max_response_time / 3),
        };
        Self {
            batcher: Batcher::new(calls.clone(), batcher, clock.clone()),
            calls,
            max_batch_size,
            batch_size: AtomicUsize::new(max_batch_size),
            max_in_flight,
            n_open: AtomicUsize::new(0),
        }
    }

    /// Has the question answered when its turn comes.
    pub(super) async fn ask(&self, question: Question, urgency: Urgency) -> Result<Given, Ended> {
        let _present = Present::new(&self.n_open);
        let terms = Terms {
            urgency,
            deadline: question.deadline,
            // Whoever asked is told in time by others; a late answer is kept for the next who asks.
            grace: Duration::MAX,
            weight: question.n_tokens(),
            ..Terms::default()
        };
        match self.batcher.submit(question, terms).await {
            Ok(Done { value: verdict, batch_size, .. }) => {
                let batched = match &verdict.llm {
                    Some(llm) => llm.batch_size > 1,
                    None => batch_size > 1 && verdict.source != Source::Embedded,
                };
                Ok(Given { batched, ..verdict.into() })
            }
            Err(BatchError::Failed(error)) => Err(Ended::Failed(error)),
            Err(BatchError::Full { retry_after } | BatchError::TooLate { retry_after }) => {
                Err(Ended::Shed(retry_after))
            }
            Err(BatchError::OutOfTime) => Err(Ended::Late),
            Err(BatchError::Panicked) => Err(Ended::Broken),
            Err(BatchError::Closed) => Err(Ended::Closed),
            Err(_) => Err(Ended::Broken),
        }
    }

    /// Fewer calls and larger batches, for a machine that has no time; or as configured again.
    pub(super) fn save(&self, is_saving: bool) {
        self.calls.admission.squeeze(if is_saving { 0.5 } else { 1.0 });
        let size =
            if is_saving && self.max_batch_size > 1 { self.max_batch_size * 2 } else { self.max_batch_size };
        self.batch_size.store(size, Ordering::Relaxed);
        self.batcher.set_max_batch_size(size);
    }

    /// Questions on their way.
    pub(super) fn n_open(&self) -> usize {
        self.n_open.load(Ordering::Relaxed)
    }

    pub(super) fn stats(&self) -> BatcherStats {
        self.batcher.stats()
    }

    /// Questions that may share a call now.
    pub(super) fn max_batch_size(&self) -> usize {
        self.batch_size.load(Ordering::Relaxed)
    }

    /// Calls that may be under way, as configured.
    pub(super) fn max_in_flight(&self) -> usize {
        self.max_in_flight
    }

    pub(super) fn admission(&self) -> AdmissionStats {
        self.calls.admission.stats()
    }

    /// Takes no more and waits for what is under way.
    pub(super) async fn close(&self) {
        self.batcher.close().await;
    }

    /// Turns away whoever waits.
    pub(super) fn shut(&self) {
        self.batcher.shut();
    }
}

/// Calls at once at the most.
pub(super) fn calls_at_once(in_batches: bool, config: &Config) -> usize {
    if in_batches { config.llm.parallel_calls } else { CALLS_OF_AN_OWN_CLASSIFIER }
}

#[async_trait]
impl BatchHandler<Question, Verdict> for Calls {
    type Slot = Permit;
    type Error = Arc<Error>;

    async fn ready(&self, urgency: Priority) -> Permit {
        let applicant = Applicant { priority: urgency, ..Applicant::default() };
        loop {
            match self.admission.admit(applicant).await {
                Ok(permit) => return permit,
                Err(rejected) => tokio::time::sleep(rejected.retry_after().unwrap_or(ASK_AGAIN)).await,
            }
        }
    }

    async fn handle(
        &self,
        permit: Permit,
        batch: Vec<Arc<Question>>,
    ) -> Result<Vec<Result<Verdict, Arc<Error>>>, Arc<Error>> {
        let requests: Vec<Request<'_>> = batch.iter().map(|question| question.request()).collect();
        let verdicts = match (&self.many, &requests[..], &batch[..]) {
            (_, [request], [question]) => {
                let early = |verdict: Verdict| question.tell(verdict);
                vec![self.classifier.classify_early(request, &early).await]
            }
            (Some(many), _, _) => many.classify_many(&requests).await,
            (None, _, _) => {
                // OK to be slow: without a classifier of batches there are none.
                let mut verdicts = Vec::new();
                for request in &requests {
                    verdicts.push(self.classifier.classify(request).await);
                }
                verdicts
            }
        };
        learn(permit, &verdicts);
        Ok(verdicts.into_iter().map(|verdict| verdict.map_err(Arc::new)).collect())
    }
}

/// Tells the limit of calls at once how a call went.
fn learn(permit: Permit, verdicts: &[crate::Result<Verdict>]) {
    let reasons = || verdicts.iter().flatten().map(|verdict| verdict.classification.degraded);
    if reasons().any(|reason| reason == Some(DegradedReason::RateLimited)) {
        permit.overloaded();
    } else if reasons().any(|reason| matches!(reason, None | Some(DegradedReason::TimedOut))) {
        permit.done();
    }
    // What failed in any other way says nothing of how many calls are too many.
}
