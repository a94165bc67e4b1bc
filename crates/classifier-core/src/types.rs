//! What an answer consists of, under the names the original system gave its parts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cache_tiers::CacheLevel;
use hp_base::Priority;
use serde::{Deserialize, Serialize, Serializer};

use crate::taxonomy::CategoryId;

/// Where a question goes, how sure that is, and why.
///
/// [`confidence`](Self::confidence) and the confidences of the alternatives sum to 1.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct Classification {
    /// The most probable category.
    pub category: CategoryId,
    /// Its calibrated probability, in (0, 1].
    pub confidence: f64,
    /// Which evidence decided, in one or two sentences.
    pub reasoning: String,
    /// All other categories, most probable first.
    pub alternative_categories: Vec<Alternative>,
    /// Reasons to be careful with this answer.
    pub uncertainty_indicators: Vec<Uncertainty>,
    /// What of the life sciences the question names, as it is written there.
    pub biomedical_signals: BiomedicalSignals,
    /// What in the question speaks of time.
    pub temporal_signals: TemporalSignals,
    /// Whether the question asks for two categories at once; the second is the first of the alternatives.
    pub hybrid: bool,
    /// Where questions of the category go.
    pub route: String,
    /// Why something better has not given this answer, where it should have. Such an answer is kept for seconds only,
    /// and not shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<DegradedReason>,
}

impl Classification {
    /// About how many bytes it takes, for a cache's bound.
    #[must_use]
    pub(crate) fn weigh(this: &Arc<Self>) -> usize {
        let strings =
            |strings: &[String]| strings.iter().map(|text| text.len() + size_of::<String>()).sum::<usize>();
        size_of::<Self>()
            + this.reasoning.len()
            + this.route.len()
            + this.alternative_categories.len() * size_of::<Alternative>()
            + this.uncertainty_indicators.len()
            + strings(&this.biomedical_signals.entities)
            + strings(&this.biomedical_signals.relationships)
            + strings(&this.biomedical_signals.techniques)
            + strings(&this.temporal_signals.keywords)
            + strings(&this.temporal_signals.patterns)
            + this.temporal_signals.years.len() * 2
    }
}

/// A category that was not chosen.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct Alternative {
    /// The category.
    pub category: CategoryId,
    /// Its calibrated probability, in [0, 1).
    pub confidence: f64,
}

/// A reason to be careful with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Uncertainty {
    /// The confidence is below `low_confidence_threshold`.
    LowConfidence,
    /// The second category is nearer than `close_alternatives_margin`.
    CloseAlternatives,
    /// One or two words only.
    VeryShortQuery,
    /// Nothing of the life sciences is named.
    OutOfDomain,
    /// Written in another language than English, of which the model knows less.
    NonEnglish,
}

/// What of the life sciences a question names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct BiomedicalSignals {
    /// Metabolites, genes, proteins, diseases, drugs, pathways, organisms and tissues.
    pub entities: Vec<String>,
    /// Words that state a relation.
    pub relationships: Vec<String>,
    /// Analytical, statistical and computational techniques.
    pub techniques: Vec<String>,
}

/// What in a question speaks of time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct TemporalSignals {
    /// Single words that ask for recency.
    pub keywords: Vec<String>,
    /// Expressions of several words that ask for recency.
    pub patterns: Vec<String>,
    /// Years from 1900 to 2049.
    pub years: Vec<u16>,
}

/// How an answer came about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metadata {
    /// Unique among the answers of all processes.
    pub request_id: RequestId,
    /// The priority asked for.
    pub priority: Priority,
    /// What made this answer cheaper or faster than a plain computation.
    pub optimizations_applied: Optimizations,
    /// Whether a cache tier held the answer.
    pub cache_hit: bool,
    /// Which tier held it.
    pub cache_level: Option<CacheLevel>,
    /// Whether it was computed together with other requests.
    pub batched: bool,
    /// Whether it was computed for another, equal request.
    pub deduplicated: bool,
    /// From the call to the answer, in milliseconds.
    #[serde(rename = "response_time_ms", serialize_with = "as_milliseconds")]
    pub response_time: Duration,
    /// Whether that is within `target_response_time_ms`.
    pub target_met: bool,
    /// What computed or held the answer.
    pub source: Source,
    /// Whether something that should have helped did not.
    pub degraded: bool,
    /// What did not help.
    pub degraded_reason: Option<DegradedReason>,
    /// When it may be worth while to ask again, in milliseconds, where there was no room for the question.
    #[serde(rename = "retry_after_ms", serialize_with = "as_milliseconds_if_any")]
    pub retry_after: Option<Duration>,
    /// What asking a language model took, where one has given this answer just now.
    pub llm: Option<Box<LlmUse>>,
}

/// What asking a language model took. What only the end of a reply tells is null where an answer was accepted before it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LlmUse {
    /// The model that has replied.
    pub model: Option<String>,
    /// The prompt that was used, with its revision.
    pub prompt: String,
    /// Whether that was the prompt of fewer tokens.
    pub compact: bool,
    /// Requests sent for the reply, those in vain included.
    pub n_calls: Option<u32>,
    /// By what means the reply was held to its form: `json_schema`, `tool`, `json_object` or `prompt`.
    pub reply_form: Option<&'static str>,
    /// Whether a second request was sent because the first was late, as far as the end of the reply has told.
    pub hedged: bool,
    /// Whether the model asked first could not answer, as far as the end of the reply has told.
    pub fallback: bool,
    /// Whether the reply was asked for once more because it was not valid.
    pub repaired: bool,
    /// Whether the answer was accepted before the reply was complete.
    pub accepted_early: bool,
    /// Questions that the reply has answered; tokens and costs are this question's share.
    pub batch_size: u32,
    /// From the request to the first piece of the reply, in milliseconds.
    #[serde(rename = "time_to_first_token_ms", serialize_with = "as_milliseconds")]
    pub time_to_first_token: Duration,
    /// Tokens of the prompt, as the provider counts them.
    pub input_tokens: Option<u32>,
    /// Of those, the ones the provider had worked out before.
    pub cached_input_tokens: Option<u32>,
    /// Tokens of the reply, as the provider counts them.
    pub output_tokens: Option<u32>,
    /// What the reply costs, in millionths of a US dollar, where the price is known.
    pub cost_micros: Option<u64>,
}

/// What computed or held an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Source {
    /// The memory of this process.
    L1,
    /// The disk of this machine.
    L2,
    /// The server that replicas share.
    L3,
    /// The embedded classifier, just now.
    Embedded,
    /// A language model, just now.
    Llm,
    /// Whatever answered an equal question that was asked at the same time.
    Coalesced,
}

impl Source {
    /// The cache of a level.
    pub(crate) const fn of(level: CacheLevel) -> Self {
        match level {
            CacheLevel::L1Memory => Self::L1,
            CacheLevel::L2Persistent => Self::L2,
            CacheLevel::L3Distributed => Self::L3,
        }
    }
}

/// Why an answer is not as good as it should be, which a classifier says of it. The embedded one never does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DegradedReason {
    /// What would have answered better did not do so in time.
    TimedOut,
    /// The language model cannot be reached, or fails.
    Unavailable,
    /// The language model has failed so often that it is left alone for a while.
    CircuitOpen,
    /// The provider of the language model wants fewer requests.
    RateLimited,
    /// As many calls as are allowed at once are under way, and none would have ended in time.
    Busy,
    /// What the language model replied is no answer.
    InvalidReply,
    /// The language model does not take the request: its key, its name or its form.
    Refused,
    /// The budget of the hour or the day is spent.
    OverBudget,
    /// Nobody can say what is left of the budget.
    BudgetUnknown,
    /// A classifier has failed in a way that is no one's to foresee.
    Failed,
    /// More questions are waiting than can be answered in time; `retry_after_ms` says when there may be room.
    Overloaded,
    /// The system is being shut down and asks nobody any more.
    ShuttingDown,
}

/// Something that made an answer cheaper or faster than a plain computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Optimization {
    /// The answer came from a cache; [`Metadata::cache_level`] says from which.
    MultiLevelCache,
    /// The answer was worked out for an equal question that was asked at the same time, or just before.
    RequestDeduplication,
    /// The answer was worked out in one call with those to other questions.
    RequestBatching,
    /// The answer is kept for those who ask the same.
    ResultCaching,
    /// The embedded classifier was sure enough that nothing slower was asked.
    EmbeddedClassifier,
    /// A language model was asked by one or more of the means that follow.
    LlmOptimization,
    /// The answer was accepted while the reply was still being written.
    Streaming,
    /// The provider had part of the prompt worked out already, by its own count.
    PromptCaching,
    /// A prompt of fewer tokens was enough.
    TokenOptimization,
    /// A second request was sent because the first was late.
    Hedging,
}

/// A set of [`Optimization`]s; serialised as a list of names.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Optimizations(u32);

impl Optimizations {
    const ALL: [Optimization; 10] = [
        Optimization::MultiLevelCache,
        Optimization::RequestDeduplication,
        Optimization::RequestBatching,
        Optimization::ResultCaching,
        Optimization::EmbeddedClassifier,
        Optimization::LlmOptimization,
        Optimization::Streaming,
        Optimization::PromptCaching,
        Optimization::TokenOptimization,
        Optimization::Hedging,
    ];

    /// What the source of an answer tells by itself.
    pub(crate) const fn of(source: Source) -> Self {
        Self(0).with(match source {
            Source::L1 | Source::L2 | Source::L3 => Optimization::MultiLevelCache,
            Source::Embedded => Optimization::EmbeddedClassifier,
            Source::Coalesced => Optimization::RequestDeduplication,
            Source::Llm => return Self(0),
        })
    }

    /// The set with `optimization` in it.
    #[must_use]
    pub const fn with(self, optimization: Optimization) -> Self {
        Self(self.0 | 1 << optimization as u32)
    }

    /// Whether `optimization` is in the set.
    #[must_use]
    pub const fn contains(self, optimization: Optimization) -> bool {
        self.0 & 1 << optimization as u32 != 0
    }

    /// The members of the set.
    pub fn iter(self) -> impl Iterator<Item = Optimization> {
        Self::ALL.into_iter().filter(move |&optimization| self.contains(optimization))
    }
}

impl fmt::Debug for Optimizations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for Optimizations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// Names one answer: 128 bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub(crate) u128);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

pub(crate) fn as_milliseconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_nanos() as f64 / 1e6)
}

fn as_milliseconds_if_any<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => as_milliseconds(time, serializer),
        None => serializer.serialize_none(),
    }
}
