//! The system: every request goes one way, and every step on it is a trait object.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cache_tiers::{
    CacheLevel, CacheTier, Entry, Forget, Key, KeySpace, MemoryConfig, MemoryTier, Probe, TierStats,
    normalize,
};
use hp_base::{Clock, SystemClock};

use crate::classifier::{Classifier, Request};
use crate::config::Config;
use crate::embedded::{EmbeddedClassifier, TrainOptions, train};
use crate::error::{Error, ErrorKind, Result};
use crate::taxonomy::Taxonomy;
use crate::types::{Classification, Metadata, Optimization, Optimizations, RequestId, Source};

/// What the caches hold.
pub type CachedAnswer = Arc<Classification>;

/// A category with fewer examples cannot be learnt from them.
const MIN_EXAMPLES: usize = 3;

/// Changed whenever the parts of a cache key change, so that old entries are not found.
const KEY_CONTEXT: &str = "hp-classify 2026-11 classification";

/// Classifies questions: refuses what is no question, looks into the cache, asks the classifier, keeps the answer.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), classifier_core::Error> {
/// use classifier_core::{ClassificationSystem, Config, Request};
///
/// let system = ClassificationSystem::new(&Config::default())?;
/// let first = system.classify(&Request::new("What is a metabolome?")).await?;
/// let again = system.classify(&Request::new("what is a  metabolome")).await?;
/// assert_eq!(first.classification.category.as_str(), "GENERAL");
/// assert!(!first.metadata.cache_hit && again.metadata.cache_hit);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ClassificationSystem {
    classifier: Arc<dyn Classifier>,
    cache: Arc<dyn CacheTier<CachedAnswer>>,
    clock: Arc<dyn Clock>,
    keys: KeySpace,
    ttl: Duration,
    target_response_time: Duration,
    max_query_chars: usize,
    ids: RequestIds,
}

/// An answer and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Where the question goes.
    pub classification: CachedAnswer,
    /// How that came about.
    pub metadata: Metadata,
}

/// Builds a [`ClassificationSystem`] from a configuration and the parts that are to replace its own.
#[derive(Debug)]
pub struct SystemBuilder<'a> {
    config: &'a Config,
    classifier: Option<Arc<dyn Classifier>>,
    cache: Option<Arc<dyn CacheTier<CachedAnswer>>>,
    clock: Arc<dyn Clock>,
}

impl<'a> SystemBuilder<'a> {
    /// Asks `classifier` instead of the embedded one.
    #[must_use]
    pub fn with_classifier(mut self, classifier: Arc<dyn Classifier>) -> Self {
        self.classifier = Some(classifier);
        self
    }

    /// Keeps answers in `cache` instead of a memory tier of its own.
    #[must_use]
    pub fn with_cache(mut self, cache: Arc<dyn CacheTier<CachedAnswer>>) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Reads time from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Builds the system.
    ///
    /// # Errors
    /// Those of [`embedded_classifier`], when the classifier is not given.
    pub fn build(self) -> Result<ClassificationSystem> {
        let Self { config, classifier, cache, clock } = self;
        let classifier = match classifier {
            Some(classifier) => classifier,
            None => Arc::new(embedded_classifier(config)?.with_clock(clock.clone())),
        };
        let cache = cache.unwrap_or_else(|| {
            let l1 = MemoryConfig {
                max_entries: config.l1.max_entries,
                max_bytes: config.l1.max_bytes,
                ttl: config.l1.ttl,
                ttl_jitter: config.l1.ttl_jitter,
            };
            Arc::new(MemoryTier::new(l1, clock.clone()).with_weigher(Classification::weigh))
        });
        let keys = KeySpace::builder(KEY_CONTEXT)
            .part("tenant", config.tenant.as_bytes())
            .part("taxonomy", classifier.taxonomy().revision().as_bytes())
            .part("classifier", &classifier.revision())
            .build();
        Ok(ClassificationSystem {
            classifier,
            cache,
            clock,
            keys,
            ttl: config.l1.ttl,
            target_response_time: config.target_response_time,
            max_query_chars: config.max_query_chars,
            ids: RequestIds::new(),
        })
    }
}

/// The embedded classifier that a configuration asks for.
///
/// A taxonomy of one's own goes with a model trained for it. Without a model, a taxonomy that has the categories and
/// patterns of the built-in one brings its own routes, descriptions and evidence; any other is learnt from the examples
/// it gives, which takes milliseconds and is as good as the examples are many.
///
/// # Errors
/// [`InvalidTaxonomy`](ErrorKind::InvalidTaxonomy), [`InvalidModel`](ErrorKind::InvalidModel),
/// [`NotFound`](ErrorKind::NotFound) or [`Io`](ErrorKind::Io), each with the file's name.
pub fn embedded_classifier(config: &Config) -> Result<EmbeddedClassifier> {
    let taxonomy = config.taxonomy.as_deref().map(Taxonomy::load).transpose()?;
    let classifier = match (&config.model, taxonomy) {
        (None, None) => EmbeddedClassifier::built_in(),
        (Some(path), taxonomy) => {
            let bytes = std::fs::read(path).map_err(|error| Error::io("read the model", path, error))?;
            let model = EmbeddedClassifier::from_bytes(&bytes).and_then(|model| match taxonomy {
                Some(taxonomy) => model.with_taxonomy(taxonomy),
                None => Ok(model),
            });
            model.map_err(|error| Error::new(error.kind(), format!("{}: {error}", path.display())))?
        }
        (None, Some(taxonomy)) => {
            let built_in = EmbeddedClassifier::built_in();
            let misspelt = built_in.misspelt(&taxonomy);
            let classifier = match built_in.with_taxonomy(taxonomy.clone()) {
                Err(_) if !misspelt => learnt_from_examples(&taxonomy),
                other => other,
            };
            classifier.map_err(|error| {
                let file = config.taxonomy.as_deref().unwrap_or(Path::new("")).display();
                Error::new(error.kind(), format!("{file}: {error}"))
            })?
        }
    };
    Ok(classifier.with_options(config.embedded.clone()))
}

fn learnt_from_examples(taxonomy: &Taxonomy) -> Result<EmbeddedClassifier> {
    let rows = taxonomy.example_rows();
    for category in taxonomy.categories() {
        let n = rows.iter().filter(|row| row.label == category.id.as_str()).count();
        if n < MIN_EXAMPLES {
            return Err(Error::new(
                ErrorKind::InvalidTaxonomy,
                format!(
                    "the category `{}` has {n} examples; give it {MIN_EXAMPLES} or more, or name a model made by \
                     `hp-classify train --taxonomy … --data … --out …`",
                    category.id
                ),
            ));
        }
    }
    let trained = train(taxonomy, &rows, &TrainOptions::default())?;
    tracing::info!(n_rows = rows.len(), "learnt a classifier from the taxonomy's examples");
    EmbeddedClassifier::from_bytes(&trained.bytes)
}

impl ClassificationSystem {
    /// The system a configuration describes.
    ///
    /// # Errors
    /// Those of [`embedded_classifier`].
    pub fn new(config: &Config) -> Result<Self> {
        Self::builder(config).build()
    }

    /// A builder, for those who bring parts of their own.
    #[must_use]
    pub fn builder(config: &Config) -> SystemBuilder<'_> {
        SystemBuilder { config, classifier: None, cache: None, clock: Arc::new(SystemClock) }
    }

    /// Classifies a question.
    ///
    /// # Errors
    /// [`InvalidQuery`](ErrorKind::InvalidQuery) when the query is empty or longer than `max_query_chars`; otherwise
    /// whatever the classifier fails with, which the embedded one never does.
    pub async fn classify(&self, request: &Request<'_>) -> Result<Answer> {
        let started = self.clock.now();
        self.check(request)?;
        let key = self.key(request);
        if let Some(classification) = self.cached(&key).await {
            let applied = Optimizations::default().with(Optimization::L1Cache);
            return Ok(self.answer(classification, request, started, Source::L1, applied));
        }
        let classification = Arc::new(self.classifier.classify(request).await?);
        let entry = Entry { value: classification.clone(), ttl: self.ttl };
        if let Err(error) = self.cache.put(key, entry).await {
            tracing::debug!(%error, "an answer was not cached");
        }
        let source = self.classifier.source();
        let applied = match source {
            Source::Embedded => Optimizations::default().with(Optimization::EmbeddedClassifier),
            Source::L1 => Optimizations::default(),
        };
        Ok(self.answer(classification, request, started, source, applied))
    }

    /// Forgets the answer to a question.
    ///
    /// # Errors
    /// [`InvalidQuery`](ErrorKind::InvalidQuery) as for [`classify`](Self::classify); [`Io`](ErrorKind::Io) when the
    /// cache cannot say that it has forgotten.
    pub async fn forget(&self, request: &Request<'_>) -> Result<()> {
        self.check(request)?;
        let forgotten = self.cache.forget(Forget::Key(self.key(request))).await;
        forgotten
            .map_err(|error| Error::new(ErrorKind::Io, format!("cannot forget: {error}")).with_source(error))
    }

    /// The categories it chooses from.
    #[must_use]
    pub fn taxonomy(&self) -> &Taxonomy {
        self.classifier.taxonomy()
    }

    /// What the cache has done so far.
    #[must_use]
    pub fn cache_stats(&self) -> TierStats {
        self.cache.stats()
    }

    fn check(&self, request: &Request<'_>) -> Result<()> {
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

    fn key(&self, request: &Request<'_>) -> Key {
        let query = normalize(request.query);
        let query = std::iter::once(query.as_bytes());
        if request.context.is_empty() {
            return self.keys.key(query);
        }
        let context: Vec<_> = request.context.parts().map(|(name, value)| (name, normalize(value))).collect();
        let context = context.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        self.keys.key(query.chain(context))
    }

    async fn cached(&self, key: &Key) -> Option<CachedAnswer> {
        match self.cache.probe(key) {
            Probe::Hit(entry) => Some(entry.value),
            Probe::Miss => None,
            Probe::Pending => match self.cache.fetch(key).await {
                Ok(entry) => entry.map(|entry| entry.value),
                Err(error) => {
                    tracing::debug!(%error, "the cache was not read");
                    None
                }
            },
        }
    }

    fn answer(
        &self,
        classification: CachedAnswer,
        request: &Request<'_>,
        started: Instant,
        source: Source,
        optimizations_applied: Optimizations,
    ) -> Answer {
        let response_time = self.clock.now().saturating_duration_since(started);
        let cache_hit = source == Source::L1;
        let metadata = Metadata {
            request_id: self.ids.next(),
            priority: request.priority,
            optimizations_applied,
            cache_hit,
            cache_level: cache_hit.then_some(CacheLevel::L1Memory),
            batched: false,
            deduplicated: false,
            response_time,
            target_met: response_time <= self.target_response_time,
            source,
            degraded: false,
            degraded_reason: None,
        };
        Answer { classification, metadata }
    }
}

/// Makes ids that no other process makes: 64 random bits of the process, 64 bits counted.
#[derive(Debug)]
struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl RequestIds {
    fn new() -> Self {
        // The standard library seeds its hash maps from the operating system's random numbers.
        Self { process: RandomState::new().hash_one(std::process::id()), next: AtomicU64::new(1) }
    }

    fn next(&self) -> RequestId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        RequestId(u128::from(self.process) << 64 | u128::from(number))
    }
}
