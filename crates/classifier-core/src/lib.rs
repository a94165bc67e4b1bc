//! Decides where a question goes: an answer from established relations, from the news, or from general knowledge.
//!
//! ```
//! use classifier_core::EmbeddedClassifier;
//!
//! let classifier = EmbeddedClassifier::built_in();
//! let answer = classifier.classify("Has the FDA approved a new drug for gout this year?");
//! assert_eq!(answer.category.as_str(), "REAL_TIME");
//! assert_eq!(answer.route, "perplexity");
//! assert_eq!(answer.temporal_signals.patterns, ["FDA approved", "new drug", "this year"]);
//! ```
//!
//! # Nouns
//!
//! - A [`Taxonomy`] is a file that names the categories, their routes and the cues that speak for them.
//! - A [`Classifier`] answers a [`Request`] with a [`Classification`]. The [`EmbeddedClassifier`] is one that needs
//!   nothing; [`train`] makes its model from labelled rows.
//! - The [`ClassificationSystem`] puts caches before a classifier and says in [`Metadata`] how an answer came about.
//! - A [`Config`] is resolved by [`config::Layers`] from flags, environment, file and defaults.
//!
//! # Features
//!
//! - `disk`: a cache on disk, so that answers survive a restart. Brings RocksDB, which takes long to compile.
//! - `llm`: a language model is asked where the embedded classifier is not sure.
//! - `remote`: a cache on Redis or Valkey, so that replicas share answers.
//!
//! # Errors
//!
//! One, [`Error`], with a [`kind`](Error::kind) to branch on.

mod taxonomy;
mod types;

mod classifier;
mod embedded;
#[cfg(feature = "llm")]
mod llm;
mod system;

pub mod config;
pub mod dataset;
pub mod evaluation;
pub mod lines;

mod error;
mod lexicon;
mod text;

pub use classifier::{BatchClassifier, Classifier, Context, EarlyAnswer, Request, Verdict};
pub use config::Config;
pub use embedded::{EmbeddedClassifier, EmbeddedOptions, TrainOptions, TrainReport, Trained, train};
pub use error::{Error, ErrorKind, Result, nearest};
pub use hp_base::{Deadline, Priority};
#[cfg(feature = "llm")]
pub use llm::{Cascade, CategoryCounts, LlmClassifier, LlmOptions, LlmStats, PromptPreview, Thresholds};
pub use system::{
    AnswerCodec, BenchmarkReport, CachedAnswer, ClassificationSystem, CoalescingStats, GateStats,
    HighPerformanceClassificationSystem, HighPerformanceConfig, MissingCache, Outcome, Recommendation,
    RecommendationPriority, RequestStats, ResourceStats, ResponseTimes, STEPS, ShutdownReport, SourceCounts,
    Step, SystemBuilder, SystemStats, create_high_performance_system, embedded_classifier,
    high_performance_classification_context,
};
#[cfg(feature = "llm")]
pub use system::{Estimate, LlmPath, ModelStats, ledger};
pub use taxonomy::{Category, CategoryId, CueGroup, Hybrid, Taxonomy};
pub use types::{
    Alternative, BiomedicalSignals, Classification, DegradedReason, LlmUse, Metadata, Optimization,
    Optimizations, RequestId, Source, TemporalSignals, Uncertainty,
};
