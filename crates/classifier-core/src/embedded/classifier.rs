//! The embedded classifier: a model, what may be said with it, and the answer.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use hp_base::{Clock, SystemClock};

use super::analysis::{Analysis, Named};
use super::explain;
use super::features::{self, Features};
use super::model::Model;
use crate::classifier::{Classifier, Request, Verdict};
use crate::error::Result;
use crate::lexicon::Kind;
use crate::taxonomy::Taxonomy;
use crate::types::{Alternative, BiomedicalSignals, Classification, Source, TemporalSignals, Uncertainty};

/// No list of signals is longer than this, however long the question.
const MAX_SIGNALS: usize = 32;
/// A question of so few words hardly says what it asks.
const VERY_SHORT_WORDS: usize = 2;

/// A question of more words says what it asks even when it has no cue.
const OPEN_WORDS: usize = 6;

/// Years count as recent for so long, unless the options say otherwise.
const RECENT_YEARS: u16 = 2;

/// The model that is compiled in.
static BUILT_IN: &[u8] = include_bytes!("../../data/clinical-metabolomics/model.bin");

/// What the embedded classifier says with its probabilities.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddedOptions {
    /// Years from this one on count as recent. Default: none, which is two years before the current one.
    pub recent_from_year: Option<u16>,
    /// Below this confidence an answer is marked `low_confidence`; in [0, 1]. Default: 0.6.
    pub low_confidence_threshold: f64,
    /// A second category nearer than this is marked `close_alternatives`; in [0, 1]. Default: 0.2.
    pub close_alternatives_margin: f64,
    /// A question is hybrid when the second category of a declared pair has this probability; in [0, 0.5].
    /// Default: 0.25.
    pub hybrid_threshold: f64,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            recent_from_year: None,
            low_confidence_threshold: 0.6,
            close_alternatives_margin: 0.2,
            hybrid_threshold: 0.25,
        }
    }
}

/// Classifies questions in microseconds with nothing but memory.
///
/// ```
/// use classifier_core::EmbeddedClassifier;
///
/// let classifier = EmbeddedClassifier::built_in();
/// let answer = classifier.classify("How does leptin regulate appetite?");
/// assert_eq!(answer.category.as_str(), "KNOWLEDGE_GRAPH");
/// ```
#[derive(Debug)]
pub struct EmbeddedClassifier {
    model: Model,
    taxonomy: Taxonomy,
    options: EmbeddedOptions,
    clock: Arc<dyn Clock>,
}

/// Buffers that are reused from question to question.
#[derive(Debug, Default)]
struct Workspace {
    analysis: Analysis,
    features: Features,
    outputs: Vec<f64>,
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

impl EmbeddedClassifier {
    /// The model for clinical metabolomics that is compiled in.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the file is compiled in, and a test decodes it")]
    pub fn built_in() -> Self {
        Self::from_bytes(BUILT_IN).expect("the built-in model is valid")
    }

    /// Reads a model file made by [`train`](super::train::train).
    ///
    /// # Errors
    /// [`InvalidModel`](crate::ErrorKind::InvalidModel) when the bytes are truncated, altered, of another format version
    /// or made with other features.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let model = Model::decode(bytes)?;
        Ok(Self {
            taxonomy: model.taxonomy.clone(),
            model,
            options: EmbeddedOptions::default(),
            clock: Arc::new(SystemClock),
        })
    }

    /// Answers with other options.
    #[must_use]
    pub fn with_options(mut self, options: EmbeddedOptions) -> Self {
        self.options = options;
        self
    }

    /// Reads the current year from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Keeps the cut-off of recent years where it is now, so that the answers of a long run do not change at New Year.
    #[must_use]
    pub fn with_fixed_year(mut self) -> Self {
        self.options.recent_from_year = Some(self.recent_from());
        self
    }

    /// Answers with the routes, descriptions and evidence of `taxonomy` instead of those the model was trained with.
    ///
    /// # Errors
    /// [`InvalidModel`](crate::ErrorKind::InvalidModel) when its labels or patterns are others: these are in the weights.
    pub fn with_taxonomy(mut self, taxonomy: Taxonomy) -> Result<Self> {
        self.model.check_serves(&taxonomy)?;
        self.taxonomy = taxonomy;
        Ok(self)
    }

    /// Whether a label of `taxonomy` looks like one this classifier knows, misspelt.
    pub(crate) fn misspelt(&self, taxonomy: &Taxonomy) -> bool {
        self.model.misspelt(taxonomy)
    }

    /// The taxonomy it answers with.
    #[must_use]
    pub fn taxonomy(&self) -> &Taxonomy {
        &self.taxonomy
    }

    /// The options it answers with.
    #[must_use]
    pub fn options(&self) -> &EmbeddedOptions {
        &self.options
    }

    /// Identifies the model: the digest of its file.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        self.model.digest
    }

    /// How many labelled rows the model was fitted to.
    #[must_use]
    pub fn n_training_rows(&self) -> usize {
        self.model.header.n_rows
    }

    /// Classifies a question; any text gets an answer.
    ///
    /// Takes microseconds for a question and about a millisecond for 8,000 characters.
    #[must_use]
    pub fn classify(&self, question: &str) -> Classification {
        WORKSPACE.with_borrow_mut(|workspace| {
            self.weigh(question, workspace);
            self.answer(question, &workspace.analysis, &workspace.outputs)
        })
    }

    /// What it says of a question and what went before it.
    pub(crate) fn verdict(&self, request: &Request<'_>) -> Verdict {
        let classification = if request.context.is_empty() || !self.leaves_open(request.query) {
            self.classify(request.query)
        } else {
            self.classify(&request.context.before(request.query))
        };
        Verdict::new(classification, Source::Embedded)
    }

    /// The calibrated probability of each category, in the taxonomy's order; they sum to 1.
    #[must_use]
    pub fn probabilities(&self, question: &str) -> Vec<f64> {
        WORKSPACE.with_borrow_mut(|workspace| {
            self.weigh(question, workspace);
            category_probabilities(&self.taxonomy, &workspace.outputs)
        })
    }

    /// Whether a question says too little to be classified without what went before it: a few words none of which is a
    /// cue, or an answer of low confidence.
    fn leaves_open(&self, question: &str) -> bool {
        WORKSPACE.with_borrow_mut(|workspace| {
            self.weigh(question, workspace);
            let analysis = &workspace.analysis;
            let is_bare =
                analysis.prepared.tokens().len() <= OPEN_WORDS && !analysis.ask_cues.contains(&true);
            let probabilities = category_probabilities(&self.taxonomy, &workspace.outputs);
            is_bare || probabilities.iter().all(|&p| p < self.options.low_confidence_threshold)
        })
    }

    fn weigh(&self, question: &str, workspace: &mut Workspace) {
        let Workspace { analysis, features, outputs } = workspace;
        self.model.analyzer.analyze(question, self.recent_from(), analysis);
        features::extract(&self.model.analyzer, analysis, features);
        self.model.logits(features, outputs);
        self.model.softmax(outputs);
    }

    fn recent_from(&self) -> u16 {
        self.options.recent_from_year.unwrap_or_else(|| {
            let since_1970 = self.clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            year_of(since_1970.as_secs() / 86_400).saturating_sub(RECENT_YEARS)
        })
    }

    fn answer(&self, question: &str, analysis: &Analysis, outputs: &[f64]) -> Classification {
        let taxonomy = &self.taxonomy;
        let probabilities = category_probabilities(taxonomy, outputs);
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]).then(a.cmp(&b)));
        let (first, second) = (order[0], order[1]);
        let chosen = &taxonomy.categories()[first];
        let hybrid = self.is_hybrid(first, second, &probabilities);
        Classification {
            category: chosen.id.clone(),
            confidence: probabilities[first],
            reasoning: explain::reasoning(
                &self.model,
                taxonomy,
                question,
                analysis,
                &probabilities,
                &order,
                hybrid,
            ),
            alternative_categories: order[1..]
                .iter()
                .map(|&index| Alternative {
                    category: taxonomy.categories()[index].id.clone(),
                    confidence: probabilities[index],
                })
                .collect(),
            uncertainty_indicators: self.uncertainty(analysis, probabilities[first], probabilities[second]),
            biomedical_signals: BiomedicalSignals {
                entities: written(question, analysis, |name| name.kind.is_entity()),
                relationships: written(question, analysis, |name| name.kind == Kind::Relation),
                techniques: written(question, analysis, |name| name.kind == Kind::Technique),
            },
            temporal_signals: TemporalSignals {
                keywords: written(question, analysis, |name| {
                    name.kind == Kind::Temporal && name.tokens.len() == 1
                }),
                patterns: written(question, analysis, |name| {
                    name.kind == Kind::Temporal && name.tokens.len() > 1
                }),
                years: years(analysis),
            },
            hybrid,
            route: chosen.route.clone(),
            degraded: None,
        }
    }

    fn is_hybrid(&self, first: usize, second: usize, probabilities: &[f64]) -> bool {
        let pair = [first.min(second), first.max(second)];
        probabilities[second] >= self.options.hybrid_threshold
            && self.taxonomy.hybrids().iter().any(|hybrid| hybrid.categories == pair)
    }

    fn uncertainty(&self, analysis: &Analysis, first: f64, second: f64) -> Vec<Uncertainty> {
        let in_domain =
            |name: &Named| name.kind.is_entity() || matches!(name.kind, Kind::Technique | Kind::Domain);
        [
            (first < self.options.low_confidence_threshold, Uncertainty::LowConfidence),
            (first - second < self.options.close_alternatives_margin, Uncertainty::CloseAlternatives),
            (analysis.prepared.tokens().len() <= VERY_SHORT_WORDS, Uncertainty::VeryShortQuery),
            (!analysis.named.iter().any(in_domain), Uncertainty::OutOfDomain),
            (analysis.language.is_some(), Uncertainty::NonEnglish),
        ]
        .into_iter()
        .filter_map(|(holds, indicator)| holds.then_some(indicator))
        .collect()
    }
}

#[async_trait]
impl Classifier for EmbeddedClassifier {
    async fn classify(&self, request: &Request<'_>) -> Result<Verdict> {
        Ok(self.verdict(request))
    }

    fn at_once(&self, request: &Request<'_>) -> Option<Verdict> {
        Some(self.verdict(request))
    }

    fn taxonomy(&self) -> &Taxonomy {
        &self.taxonomy
    }

    fn revision(&self) -> [u8; 16] {
        let EmbeddedOptions {
            recent_from_year,
            low_confidence_threshold,
            close_alternatives_margin,
            hybrid_threshold,
        } = &self.options;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.model.digest).update(self.taxonomy.source().as_bytes());
        hasher.update(&[u8::from(recent_from_year.is_some())]);
        hasher.update(&recent_from_year.unwrap_or_default().to_le_bytes());
        for threshold in [low_confidence_threshold, close_alternatives_margin, hybrid_threshold] {
            hasher.update(&threshold.to_le_bytes());
        }
        let mut revision = [0; 16];
        hasher.finalize_xof().fill(&mut revision);
        revision
    }
}

/// The calendar year of a day counted from 1970-01-01 (Gregorian; Hinnant, "chrono-compatible low-level date
/// algorithms").
fn year_of(days: u64) -> u16 {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day = shifted % 146_097;
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Such years start in March; the last 60 days belong to the next one.
    let year = era * 400 + year_of_era + u64::from(day_of_year >= 306);
    u16::try_from(year).unwrap_or(u16::MAX)
}

/// Adds the probability of each hybrid to its two categories, half each.
pub(super) fn category_probabilities(taxonomy: &Taxonomy, outputs: &[f64]) -> Vec<f64> {
    let (categories, hybrids) = outputs.split_at(taxonomy.categories().len());
    let mut probabilities = categories.to_vec();
    for (hybrid, probability) in taxonomy.hybrids().iter().zip(hybrids) {
        for category in hybrid.categories {
            probabilities[category] += probability / 2.0;
        }
    }
    probabilities
}

/// The distinct terms of some kind as they are written in the question, in the order they stand there.
fn written(question: &str, analysis: &Analysis, wanted: impl Fn(&Named) -> bool) -> Vec<String> {
    let mut names: Vec<&Named> = analysis.named.iter().filter(|name| wanted(name)).collect();
    names.sort_by_key(|name| (name.tokens.start, usize::MAX - name.tokens.end));
    let mut found: Vec<String> = Vec::new();
    let mut end = 0;
    for name in names {
        // Of overlapping names of several kinds ("fatty acid", "fatty acid oxidation") the longest stands.
        if name.tokens.start < end {
            continue;
        }
        end = name.tokens.end;
        let text = &question[analysis.prepared.source(name.tokens.clone())];
        if !text.is_empty() && !found.iter().any(|known| known.eq_ignore_ascii_case(text)) {
            found.push(text.to_owned());
            if found.len() == MAX_SIGNALS {
                break;
            }
        }
    }
    found
}

fn years(analysis: &Analysis) -> Vec<u16> {
    let mut years: Vec<u16> = Vec::new();
    for year in analysis.prepared.years() {
        if !years.contains(&year.value) && years.len() < MAX_SIGNALS {
            years.push(year.value);
        }
    }
    years
}

#[cfg(test)]
mod tests {
    use super::year_of;

    #[test]
    fn years_of_days() {
        for (days, year) in [
            (0, 1970),
            (364, 1970),
            (365, 1971),
            (11_016, 2000),
            (11_322, 2000),
            (11_323, 2001),
            (20_779, 2026),
        ] {
            assert_eq!(year_of(days), year, "day {days}");
        }
    }
}
