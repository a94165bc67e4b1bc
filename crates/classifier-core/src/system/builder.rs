//! Putting a system together: from a configuration, and from parts of one's own in place of its parts.

use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use cache_tiers::{CacheTier, KeySpace, Retention, TieredCache};
use hp_base::{Clock, SystemClock};
use request_optimizer::{Coalescer, CoalescerConfig};
use resource_manager::{AdaptiveAdmission, Admission, AdmissionConfig, ResourceProbe, SystemProbe};

use super::asked::{self, MostAsked};
use super::background::Background;
use super::caches::{self, Caches};
use super::engine::{Asked, Engine};
use super::gate::{Gate, calls_at_once};
use super::ids::RequestIds;
use super::llm::LlmPart;
use super::resources::Means;
use super::{CachedAnswer, ClassificationSystem};
use crate::classifier::{BatchClassifier, Classifier};
use crate::config::Config;
use crate::embedded::{EmbeddedClassifier, TrainOptions, train};
use crate::error::{Error, ErrorKind, Result};
use crate::taxonomy::{Category, Taxonomy};

/// A category with fewer examples cannot be learnt from them.
const MIN_EXAMPLES: usize = 3;

/// A call takes up to so many times the usual time before it counts as a sign of too many: ten questions are read and
/// answered in twice the time of one.
const TOLERANCE: f64 = 2.0;

/// Changed whenever the parts of a cache key change, so that old entries are not found.
const KEY_CONTEXT: &str = "hp-classify 2026-11 classification";

/// Builds a [`ClassificationSystem`] from a configuration and the parts that are to replace its own.
#[derive(Debug)]
pub struct SystemBuilder<'a> {
    config: &'a Config,
    classifier: Option<Arc<dyn Classifier>>,
    many: Option<Arc<dyn BatchClassifier>>,
    fallback: Option<Arc<dyn Classifier>>,
    admission: Option<Arc<dyn Admission>>,
    probe: Option<Arc<dyn ResourceProbe>>,
    cache: Option<Arc<TieredCache<CachedAnswer>>>,
    tier: Option<Arc<dyn CacheTier<CachedAnswer>>>,
    clock: Arc<dyn Clock>,
}

impl<'a> SystemBuilder<'a> {
    pub(super) fn new(config: &'a Config) -> Self {
        Self {
            config,
            classifier: None,
            many: None,
            fallback: None,
            admission: None,
            probe: None,
            cache: None,
            tier: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// Asks `classifier` instead of the embedded one. Each question it does not answer at once is a call of its own.
    #[must_use]
    pub fn with_classifier(mut self, classifier: Arc<dyn Classifier>) -> Self {
        self.classifier = Some(classifier);
        self.many = None;
        self
    }

    /// Asks `classifier` instead of the embedded one, many questions in a call where they wait; no more calls at once than
    /// `parallel_llm_calls`.
    #[must_use]
    pub fn with_batch_classifier(mut self, classifier: Arc<dyn BatchClassifier>) -> Self {
        self.classifier = Some(classifier.clone());
        self.many = Some(classifier);
        self
    }

    /// Lets `admission` decide how many calls to a classifier that takes its time may be under way.
    #[must_use]
    pub fn with_admission(mut self, admission: Arc<dyn Admission>) -> Self {
        self.admission = Some(admission);
        self
    }

    /// Looks at the machine through `probe`.
    #[must_use]
    pub fn with_probe(mut self, probe: Arc<dyn ResourceProbe>) -> Self {
        self.probe = Some(probe);
        self
    }

    /// Lets `fallback` answer, marked as degraded, where a classifier of one's own has not answered in time or has failed.
    /// It must answer [at once](Classifier::at_once), as the embedded one does, and choose from the same categories.
    #[must_use]
    pub fn with_fallback(mut self, fallback: Arc<dyn Classifier>) -> Self {
        self.fallback = Some(fallback);
        self
    }

    /// Keeps answers in `cache` instead of the tiers that the configuration asks for. A cache with tiers below memory is
    /// best built with the times of the configuration, and the system then used, inside a tokio runtime with timers.
    #[must_use]
    pub fn with_cache(mut self, cache: Arc<TieredCache<CachedAnswer>>) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Keeps answers in `tier` alone, whose methods must be done at once, as those of a tier in memory are.
    #[must_use]
    pub fn with_tier(mut self, tier: Arc<dyn CacheTier<CachedAnswer>>) -> Self {
        self.tier = Some(tier);
        self
    }

    /// Reads time from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Builds the system. Inside of a runtime or outside: what the caches do in the background is done on a thread of
    /// the system's own, which there is only with a cache on disk or on a server.
    ///
    /// # Errors
    /// Those of [`embedded_classifier`], when the classifier is not given;
    /// [`InvalidConfig`](ErrorKind::InvalidConfig), [`NotFound`](ErrorKind::NotFound) or [`Io`](ErrorKind::Io) when what
    /// is said of Redis cannot be used. A disk or a Redis that fails is no error.
    pub fn build(self) -> Result<ClassificationSystem> {
        let Self { config, classifier, many, fallback, admission, probe, cache, tier, clock } = self;
        // First, so that the disk is opened while the model is read.
        let mut caches = match (cache, tier) {
            (Some(cache), _) => Caches::given(cache, config)?,
            (None, Some(tier)) => caches::around(tier, config, &clock)?,
            (None, None) => caches::configured(config, &clock)?,
        };
        let parts = match classifier {
            Some(classifier) => Parts { classifier, many, fallback, llm: LlmPart::default() },
            None => {
                let embedded = Arc::new(embedded_classifier(config)?.with_clock(clock.clone()));
                deciding(config, embedded, &clock, &mut caches.background)?
            }
        };
        let Parts { classifier, many, fallback, llm } = parts;
        let keys = KeySpace::builder(KEY_CONTEXT)
            .part("tenant", config.tenant.as_bytes())
            .part("taxonomy", classifier.taxonomy().revision().as_bytes())
            .part("classifier", &classifier.revision())
            .build();
        let asked = caches.cache.notes().map(|_| Asked {
            counts: Mutex::new(MostAsked::new(asked::CAPACITY)),
            is_taken_over: tokio::sync::Mutex::new(false),
            note: format!("most-asked.{}", config.tenant),
        });
        let retentions =
            classifier.taxonomy().categories().iter().map(|category| retention(category, config)).collect();
        let admission = admission.unwrap_or_else(|| self::admission(many.is_some(), config, &clock));
        let gate = Gate::new(classifier.clone(), many, admission, config, &clock);
        let coalescer = CoalescerConfig { window: config.traffic.dedup_window, ..CoalescerConfig::default() };
        let probe = probe.unwrap_or_else(|| Arc::new(SystemProbe::new()));
        let engine = Engine {
            classifier,
            fallback,
            cache: caches.cache,
            deduplication: config.traffic.deduplication,
            coalescer: Coalescer::new(coalescer, clock.clone()),
            n_coalescing: AtomicUsize::new(0),
            gate,
            clock,
            keys,
            retentions,
            asked,
            max_query_chars: config.max_query_chars,
            max_response_time: config.max_response_time,
            writes_between_drains: (config.write_queue / 4).max(1),
        };
        let system = ClassificationSystem {
            engine: Arc::new(engine),
            background: caches.background.map_or_else(OnceLock::new, OnceLock::from),
            alarms: OnceLock::new(),
            lower: caches.lower,
            llm,
            missing: caches.missing,
            tasks: Mutex::default(),
            counts: Arc::default(),
            means: Means::new(config, probe),
            memory: caches.memory,
            config: config.clone(),
            ids: RequestIds::new(),
        };
        system.keep_asked_in_background();
        Ok(system)
    }
}

/// Who decides, who stands by, and the way to a language model.
struct Parts {
    classifier: Arc<dyn Classifier>,
    /// The same, where it answers many at once for less.
    many: Option<Arc<dyn BatchClassifier>>,
    fallback: Option<Arc<dyn Classifier>>,
    llm: LlmPart,
}

/// The classifier of a configuration.
fn deciding(
    config: &Config,
    embedded: Arc<EmbeddedClassifier>,
    clock: &Arc<dyn Clock>,
    background: &mut Option<Background>,
) -> Result<Parts> {
    if !config.llm.is_asked_for() {
        return Ok(Parts { classifier: embedded, many: None, fallback: None, llm: LlmPart::default() });
    }
    if background.is_none() {
        *background = Some(Background::start()?);
    }
    let _entered = background.as_ref().map(Background::enter);
    let (many, llm) = super::llm::build(config, embedded.clone(), clock)?;
    Ok(Parts { classifier: many.clone(), many: Some(many), fallback: Some(embedded), llm })
}

/// As many calls at once as are configured, and fewer while the provider shows that those are too many.
fn admission(in_batches: bool, config: &Config, clock: &Arc<dyn Clock>) -> Arc<dyn Admission> {
    let most = calls_at_once(in_batches, config);
    let admission =
        AdmissionConfig { initial: most, ceiling: most, tolerance: TOLERANCE, ..AdmissionConfig::default() };
    Arc::new(AdaptiveAdmission::new(admission, clock.clone()))
}

/// For how long an answer is kept where.
fn retention(category: &Category, config: &Config) -> Retention {
    let at_most = |ttl: Duration| category.cache_ttl.map_or(ttl, |own| own.min(ttl));
    Retention { l1: at_most(config.l1.ttl), l2: at_most(config.l2.ttl), l3: at_most(config.l3.ttl) }
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
