//! The system: every request goes one way, and every step on it is a trait object.

mod builder;

mod steps;

mod engine;
mod gate;

mod asking;
mod llm;

mod asked;
mod background;
mod caches;
mod codec;
mod ids;
mod lower;
mod resources;
mod warming;

mod benchmark;
mod counts;
mod lifecycle;
mod many;
mod original;
mod recommend;
mod stats;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use cache_tiers::{
    CacheError, CacheLevel, CacheStats, Forget, Hit, Key, Lookup, StoredEntry, TierState, TieredCache,
};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use self::background::Background;
use self::caches::Memory;
use self::counts::Counts;
use self::engine::{Engine, Given};
use self::ids::RequestIds;
use self::llm::LlmPart;
use self::lower::LowerTiers;
use self::resources::Means;
use crate::classifier::Request;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::taxonomy::Taxonomy;
use crate::types::{Classification, Metadata, Optimization, Optimizations, Source};

pub use benchmark::BenchmarkReport;
pub use builder::{SystemBuilder, embedded_classifier};
pub use caches::MissingCache;
pub use codec::AnswerCodec;
pub use counts::{RequestStats, ResponseTimes, SourceCounts};
pub use lifecycle::ShutdownReport;
#[cfg(feature = "llm")]
pub use llm::{Estimate, LlmPath, ModelStats, ledger};
pub use original::{
    HighPerformanceClassificationSystem, HighPerformanceConfig, create_high_performance_system,
    high_performance_classification_context,
};
pub use recommend::{Recommendation, RecommendationPriority};
pub use stats::{CoalescingStats, GateStats, ResourceStats, SystemStats};
pub use steps::{STEPS, Step};

/// What the caches hold.
pub type CachedAnswer = Arc<Classification>;

/// How often a cache that is being opened is looked at by one who waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Classifies questions: refuses what is no question, looks into the caches, asks the classifier, keeps the answer.
///
/// Answers are kept in memory, on disk and on a Redis, as far as the configuration asks for it and the build has it. A
/// disk or a Redis that fails costs its help and nothing else.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), classifier_core::Error> {
/// use classifier_core::{ClassificationSystem, Config, Request};
///
/// let mut config = Config::default();
/// config.l2.enabled = false;
/// let system = ClassificationSystem::new(&config)?;
/// let first = system.classify(&Request::new("What is a metabolome?")).await?;
/// let again = system.classify(&Request::new("what is a  metabolome")).await?;
/// assert_eq!(first.classification.category.as_str(), "GENERAL");
/// assert!(!first.metadata.cache_hit && again.metadata.cache_hit);
/// system.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ClassificationSystem {
    engine: Arc<Engine>,
    background: OnceLock<Background>,
    /// Knows when somebody has waited for long enough, and does nothing else.
    alarms: OnceLock<Background>,
    lower: LowerTiers,
    llm: LlmPart,
    missing: Vec<MissingCache>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    counts: Arc<Counts>,
    means: Means,
    memory: Option<Memory>,
    /// As it was built from; what is started later wants to know.
    config: Config,
    ids: RequestIds,
}

/// An answer and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Where the question goes.
    pub classification: CachedAnswer,
    /// How that came about.
    pub metadata: Metadata,
}

impl Drop for ClassificationSystem {
    /// Ends the work in the background, which may go on in the runtime of somebody else.
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().for_each(JoinHandle::abort);
    }
}

impl ClassificationSystem {
    /// The system a configuration describes.
    ///
    /// # Errors
    /// Those of [`SystemBuilder::build`].
    pub fn new(config: &Config) -> Result<Self> {
        Self::builder(config).build()
    }

    /// A builder, for those who bring parts of their own.
    #[must_use]
    pub fn builder(config: &Config) -> SystemBuilder<'_> {
        SystemBuilder::new(config)
    }

    /// Classifies a question.
    ///
    /// # Errors
    /// [`InvalidQuery`](ErrorKind::InvalidQuery) when the query is empty or longer than `max_query_chars`. With a
    /// classifier of your own and nothing to fall back on also whatever that fails with,
    /// [`OutOfTime`](ErrorKind::OutOfTime) when it takes longer than `max_response_time_ms`,
    /// [`Overloaded`](ErrorKind::Overloaded) when there is no room for the question, and [`Closed`](ErrorKind::Closed)
    /// after a shutdown.
    pub async fn classify(&self, request: &Request<'_>) -> Result<Outcome> {
        let started = self.engine.clock.now();
        if let Err(error) = self.engine.check(request) {
            self.counts.refused();
            return Err(error);
        }
        self.finish(self.find(request, started).await, request, started)
    }

    /// Forgets the answer to a question, in this process and in all replicas that share a Redis with it.
    ///
    /// # Errors
    /// [`InvalidQuery`](ErrorKind::InvalidQuery) as for [`classify`](Self::classify); [`Io`](ErrorKind::Io) when a
    /// cache cannot say that it has forgotten.
    pub async fn forget(&self, request: &Request<'_>) -> Result<()> {
        let key = self.key(request)?;
        self.forget_in_all(Forget::Key(key)).await
    }

    /// Forgets all answers, in this process and in all replicas that share a Redis with it.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io) when a cache cannot say that it has forgotten.
    pub async fn flush(&self) -> Result<()> {
        self.forget_in_all(Forget::All).await
    }

    /// The key under which the caches have the answer to a question.
    ///
    /// # Errors
    /// [`InvalidQuery`](ErrorKind::InvalidQuery) as for [`classify`](Self::classify).
    pub fn key(&self, request: &Request<'_>) -> Result<Key> {
        self.engine.check(request)?;
        Ok(self.engine.key(request))
    }

    /// The categories it chooses from.
    #[must_use]
    pub fn taxonomy(&self) -> &Taxonomy {
        self.engine.classifier.taxonomy()
    }

    /// Where answers are kept. What it does asynchronously wants a tokio runtime with timers.
    #[must_use]
    pub fn cache(&self) -> &Arc<TieredCache<CachedAnswer>> {
        &self.engine.cache
    }

    /// What the disk or the server has stored under a key, as it is stored: for people who look, and not counted as a
    /// look-up. `None` also where the system has no such tier of its own making.
    ///
    /// # Errors
    /// Those of reading the tier.
    pub async fn stored(
        &self,
        level: CacheLevel,
        key: &Key,
    ) -> std::result::Result<Option<StoredEntry>, CacheError> {
        self.within(self.lower.inspect(level, key)).await
    }

    /// What the caches have done so far.
    #[must_use]
    pub fn cache_stats(&self) -> CacheStats {
        self.engine.cache.stats()
    }

    /// The way to a language model, if the configuration has one.
    #[cfg(feature = "llm")]
    #[must_use]
    pub fn llm(&self) -> Option<&LlmPath> {
        self.llm.path()
    }

    /// Waits for a future that needs the timers and connections of the system, which the caller's runtime may not have.
    #[cfg(feature = "llm")]
    pub async fn inside<T>(&self, future: impl Future<Output = T> + Send) -> T {
        self.within(future).await
    }

    /// The caches that the configuration asks for and that there are not, with the reasons.
    #[must_use]
    pub fn missing_caches(&self) -> &[MissingCache] {
        &self.missing
    }

    /// Waits until no cache is being opened or connected to any more, or until the time is over; returns whether the
    /// caches came first. Nobody needs to wait: a cache that is not there yet is passed over.
    pub async fn caches_ready(&self, within: Duration) -> bool {
        let is_starting = || {
            let stats = self.engine.cache.stats();
            [stats.l2_cache, stats.l3_cache].iter().any(|tier| tier.state == TierState::Starting)
        };
        if !is_starting() {
            return true;
        }
        let ready = async {
            while is_starting() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        self.within(async { tokio::time::timeout(within, ready).await.is_ok() }).await
    }

    async fn forget_in_all(&self, what: Forget) -> Result<()> {
        let forgotten = self.within(self.engine.cache.forget(what)).await;
        forgotten
            .map_err(|error| Error::new(ErrorKind::Io, format!("cannot forget: {error}")).with_source(error))
    }

    /// The way of a question; [`STEPS`] says why in this order.
    #[inline]
    async fn find(&self, request: &Request<'_>, started: Instant) -> Result<Given> {
        let key = self.engine.key(request);
        self.engine.count(key, request);
        if request.force_llm {
            return self.ask(request, key, started).await;
        }
        let hit = match self.engine.cache.probe(&key) {
            Lookup::Hit(hit) => Some(hit),
            Lookup::Miss => None,
            Lookup::Pending(resume) => self.within(self.engine.cache.fetch(&key, resume)).await,
        };
        if let Some(Hit { value, level, is_stale, .. }) = hit
            && (!is_stale || self.renew(key, request))
        {
            return Ok(Given::cached(value, level));
        }
        match self.engine.classifier.at_once(request) {
            Some(verdict) => Ok(self.engine.keep(key, verdict.into()).await),
            None => self.ask(request, key, started).await,
        }
    }

    /// Has a stale answer renewed in the background; false if that cannot be.
    #[cold]
    fn renew(&self, key: Key, request: &Request<'_>) -> bool {
        let Some(handle) = self.handle() else { return false };
        let Some(claim) = self.engine.cache.claim_refresh(&key) else { return true };
        let engine = Arc::clone(&self.engine);
        let (query, context, priority) =
            (request.query.to_owned(), request.context.clone(), request.priority);
        handle.spawn(async move {
            if engine.cache.revalidate(&claim).await.is_none() {
                let request = Request { context, priority, ..Request::new(&query) };
                if let Err(error) = engine.answer_anew(&request, key).await {
                    tracing::debug!(%error, "a stale answer was not renewed");
                }
            }
        });
        true
    }

    /// Where work in the background is done: on a thread of the system's own, else in the runtime of the caller.
    fn handle(&self) -> Option<Handle> {
        match self.background.get() {
            Some(background) => Some(background.handle().clone()),
            None => Handle::try_current().ok(),
        }
    }

    /// A thread of the system's own for what takes time, which is started where there is none yet.
    fn own_background(&self) -> Result<&Background> {
        started(&self.background)
    }

    fn alarms(&self) -> Result<&Background> {
        started(&self.alarms)
    }

    /// Waits for a future that needs timers and blocking threads, which the caller's runtime may not have.
    async fn within<T>(&self, future: impl Future<Output = T> + Send) -> T {
        match self.background.get() {
            Some(background) => background.within(future).await,
            None => future.await,
        }
    }

    /// Counts how a question has ended.
    #[inline]
    fn finish(&self, found: Result<Given>, request: &Request<'_>, started: Instant) -> Result<Outcome> {
        match found {
            Ok(given) => Ok(self.outcome(given, request, started)),
            Err(error) => {
                self.counts.failed();
                Err(error)
            }
        }
    }

    fn outcome(&self, given: Given, request: &Request<'_>, started: Instant) -> Outcome {
        let response_time = self.engine.clock.now().saturating_duration_since(started);
        let optimizations_applied = optimizations(&given);
        let Given { answer: classification, source, level, llm, batched, retry_after, .. } = given;
        let metadata = Metadata {
            request_id: self.ids.next(),
            priority: request.priority,
            optimizations_applied,
            cache_hit: level.is_some(),
            cache_level: level,
            batched,
            deduplicated: source == Source::Coalesced,
            response_time,
            target_met: response_time <= self.config.target_response_time,
            source,
            degraded: classification.degraded.is_some(),
            degraded_reason: classification.degraded,
            retry_after,
            llm,
        };
        self.counts.answered(&metadata);
        Outcome { classification, metadata }
    }
}

/// A runtime, which is started where there is none yet.
fn started(cell: &OnceLock<Background>) -> Result<&Background> {
    if let Some(background) = cell.get() {
        return Ok(background);
    }
    let started = Background::start()?;
    // Where two start one, one of them is taken.
    Ok(cell.get_or_init(|| started))
}

/// What made an answer cheaper or faster than a plain computation.
fn optimizations(given: &Given) -> Optimizations {
    let Given { answer, source, llm, batched, is_kept, .. } = given;
    // What answers in place of something better has made nothing better.
    if *source == Source::Embedded && answer.degraded.is_some() {
        return Optimizations::default();
    }
    let means = llm.as_deref().map_or([(false, Optimization::Streaming); 4], |llm| {
        [
            (llm.accepted_early, Optimization::Streaming),
            (llm.cached_input_tokens.is_some_and(|n| n > 0), Optimization::PromptCaching),
            (llm.compact, Optimization::TokenOptimization),
            (llm.hedged, Optimization::Hedging),
        ]
    });
    let is_optimized = *batched || means.iter().any(|&(holds, _)| holds);
    [
        (*is_kept, Optimization::ResultCaching),
        (*batched, Optimization::RequestBatching),
        (llm.is_some() && is_optimized, Optimization::LlmOptimization),
    ]
    .into_iter()
    .chain(means)
    .filter(|&(holds, _)| holds)
    .fold(Optimizations::of(*source), |applied, (_, optimization)| applied.with(optimization))
}
