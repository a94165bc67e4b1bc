//! What the way of a request and the work in the background share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cache_tiers::{CacheLevel, Key, KeySpace, Retention, TieredCache, Warmed, normalize};
use hp_base::{Clock, Deadline, Priority};
use request_optimizer::Coalescer;

use super::CachedAnswer;
use super::asked::MostAsked;
use super::gate::{Ended, Gate, Question};
use crate::classifier::{Classifier, Request, Verdict};
use crate::error::{Error, ErrorKind, Result};
use crate::types::{Classification, LlmUse, Source};

/// How long an answer is kept, in memory alone, that a better one should soon replace.
const DEGRADED_TTL: Duration = Duration::from_secs(5);

/// An answer, and what is known of how it came about.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) answer: CachedAnswer,
    pub(super) source: Source,
    pub(super) level: Option<CacheLevel>,
    pub(super) llm: Option<Box<LlmUse>>,
    /// Whether it was worked out in one call with others.
    pub(super) batched: bool,
    /// Whether it has just been put where others find it.
    pub(super) is_kept: bool,
    /// When there may be room, where there was none.
    pub(super) retry_after: Option<Duration>,
}

impl Given {
    pub(super) fn new(answer: CachedAnswer, source: Source) -> Self {
        Self { answer, source, level: None, llm: None, batched: false, is_kept: false, retry_after: None }
    }

    /// What a cache had.
    pub(super) fn cached(answer: CachedAnswer, level: CacheLevel) -> Self {
        Self { level: Some(level), ..Self::new(answer, Source::of(level)) }
    }

    /// The answer as one has it who did not ask for it first.
    pub(super) fn shared(self) -> Self {
        Self::new(self.answer, Source::Coalesced)
    }
}

impl From<Verdict> for Given {
    fn from(verdict: Verdict) -> Self {
        let Verdict { classification, source, llm } = verdict;
        Self { llm, ..Self::new(Arc::new(classification), source) }
    }
}

#[derive(Debug)]
pub(super) struct Engine {
    pub(super) classifier: Arc<dyn Classifier>,
    /// Answers at once where the classifier does not do so in time.
    pub(super) fallback: Option<Arc<dyn Classifier>>,
    pub(super) cache: Arc<TieredCache<CachedAnswer>>,
    /// Whether equal questions are answered by one computation.
    pub(super) deduplication: bool,
    /// By the key, and by what has been forgotten: nobody is given what was forgotten before they asked.
    pub(super) coalescer: Coalescer<(Key, u64), Given, Ended>,
    /// Questions that compute or wait for the computation of another.
    pub(super) n_coalescing: AtomicUsize,
    /// Before the classifier, where it takes its time.
    pub(super) gate: Gate,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) keys: KeySpace,
    /// By category.
    pub(super) retentions: Vec<Retention>,
    pub(super) asked: Option<Asked>,
    pub(super) max_query_chars: usize,
    pub(super) max_response_time: Duration,
    /// Writes after which warming waits for the tiers below memory, so that none of its writes is dropped.
    pub(super) writes_between_drains: usize,
}

/// What is asked most, kept as a note beside the entries on disk.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) counts: Mutex<MostAsked>,
    /// Whether the counts of the run before have been taken over.
    pub(super) is_taken_over: tokio::sync::Mutex<bool>,
    pub(super) note: String,
}

/// Counts one while it is there.
pub(super) struct Present<'a>(&'a AtomicUsize);

impl<'a> Present<'a> {
    pub(super) fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Engine {
    /// Refuses what is no question.
    pub(super) fn check(&self, request: &Request<'_>) -> Result<()> {
        let invalid = |message: String| Err(Error::new(ErrorKind::InvalidQuery, message));
        let nothing = |c: char| c.is_whitespace() || c.is_control();
        if request.query.chars().all(nothing) {
            return invalid("the query is empty; ask a question".to_owned());
        }
        // Bytes bound characters from above, so most queries need no counting.
        let max = self.max_query_chars;
        if request.query.len() > max || !request.context.is_empty() {
            let n_chars = request.query.chars().count() + request.context.n_chars();
            if n_chars > max {
                return invalid(format!(
                    "the query has {n_chars} characters, more than max_query_chars = {max}; shorten it or raise the limit"
                ));
            }
        }
        Ok(())
    }

    pub(super) fn key(&self, request: &Request<'_>) -> Key {
        let query = normalize(request.query);
        let query = std::iter::once(query.as_bytes());
        if request.context.is_empty() {
            return self.keys.key(query);
        }
        let context: Vec<_> = request.context.parts().map(|(name, value)| (name, normalize(value))).collect();
        let context = context.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        self.keys.key(query.chain(context))
    }

    /// Counts a question among those asked most, unless somebody else is counting at this moment: a count more or less
    /// is not worth waiting for.
    #[inline]
    pub(super) fn count(&self, key: Key, request: &Request<'_>) {
        if let Some(asked) = &self.asked
            && request.context.is_empty()
            && let Ok(mut counts) = asked.counts.try_lock()
        {
            counts.count(key, request.query);
        }
    }

    /// Asks the classifier, however long it takes, and keeps what it says.
    pub(super) async fn answer_anew(&self, request: &Request<'_>, key: Key) -> Result<Given> {
        let given = match self.classifier.at_once(request) {
            Some(verdict) => verdict.into(),
            None => {
                let question = Question::new(request, Deadline::never());
                self.gate.ask(question, request.priority.into()).await.map_err(Ended::into_error)?
            }
        };
        Ok(self.keep(key, given).await)
    }

    /// Keeps an answer for as long as it is good for, unless a better one is there.
    pub(super) async fn keep(&self, key: Key, given: Given) -> Given {
        let retention = self.retention(&given.answer);
        let is_degraded = given.answer.degraded.is_some();
        let known = if is_degraded { self.cache.peek(&key).await } else { None };
        let is_worse = known.is_some_and(|known| known.value.degraded.is_none());
        match retention.filter(|_| !is_worse) {
            Some(retention) => {
                self.cache.put(key, given.answer.clone(), retention).await;
                Given { is_kept: !is_degraded, ..given }
            }
            None => given,
        }
    }

    /// How long an answer is kept, or none for a category that the taxonomy does not have.
    pub(super) fn retention(&self, classification: &Classification) -> Option<Retention> {
        if classification.degraded.is_some() {
            return Some(Retention::memory_only(DEGRADED_TTL));
        }
        let category = self.classifier.taxonomy().index_of(classification.category.as_str())?;
        self.retentions.get(category).copied()
    }

    /// Works an answer out unless a cache has it.
    pub(super) async fn warm(&self, query: &str) -> Result<Warmed> {
        let request = Request { priority: Priority::Low, ..Request::new(query) };
        self.check(&request)?;
        let key = self.key(&request);
        if self.cache.peek(&key).await.is_some_and(|hit| !hit.is_stale) {
            return Ok(Warmed::Skipped);
        }
        self.answer_anew(&request, key).await?;
        // The classifier may not wait for anything, and others want their turn.
        tokio::task::yield_now().await;
        Ok(Warmed::Warmed)
    }

    /// The questions asked most, and how often, the greatest count first.
    pub(super) fn most_asked(&self) -> Vec<(String, u64)> {
        let Some(asked) = &self.asked else { return Vec::new() };
        let counts = asked.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.questions().map(|(query, count)| (query.to_owned(), count)).collect()
    }

    pub(super) fn n_coalescing(&self) -> usize {
        self.n_coalescing.load(Ordering::Relaxed)
    }

    /// Takes over what the run before has counted, if that has not been done and the disk can be read.
    pub(super) async fn take_over_asked(&self) -> bool {
        let (Some(asked), Some(notes)) = (&self.asked, self.cache.notes()) else { return false };
        let mut is_taken_over = asked.is_taken_over.lock().await;
        if !*is_taken_over {
            match notes.read_note(&asked.note).await {
                Ok(note) => {
                    let mut counts = asked.counts.lock().unwrap_or_else(PoisonError::into_inner);
                    counts.take_over(note.as_deref(), |query| self.key(&Request::new(query)));
                    *is_taken_over = true;
                }
                Err(error) => tracing::debug!(%error, "what was asked most is not known yet"),
            }
        }
        *is_taken_over
    }

    /// Writes down what is asked most, if that has changed.
    pub(super) async fn keep_asked(&self) {
        // What an earlier run has counted must not be written over unread.
        if !self.take_over_asked().await {
            return;
        }
        let (Some(asked), Some(notes)) = (&self.asked, self.cache.notes()) else { return };
        let note = asked.counts.lock().unwrap_or_else(PoisonError::into_inner).note();
        if let Some(note) = note
            && let Err(error) = notes.write_note(&asked.note, note).await
        {
            tracing::debug!(%error, "what is asked most was not written down");
            asked.counts.lock().unwrap_or_else(PoisonError::into_inner).keep_again();
        }
    }
}
