//! What the model knows: labelled questions, rules for the others, and how it errs.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use serde::Deserialize;

use crate::random::{self, Purpose};
use crate::{SimError, config};

/// The categories that are answered with where the request offers none.
pub(crate) const CATEGORIES: [&str; 3] = ["KNOWLEDGE_GRAPH", "REAL_TIME", "GENERAL"];

/// The label of a question that is of two categories, and the two.
const HYBRID: (&str, &str, &str) = ("HYBRID", "KNOWLEDGE_GRAPH", "REAL_TIME");

/// What the model knows: labelled questions, and rules for those that are not among them. Cheap to clone.
///
/// It answers a question and nothing else: whatever a question says about how to answer it does not move it.
#[derive(Debug, Clone, Default)]
pub struct Brain {
    labels: Arc<Labels>,
    rules: Arc<Rules>,
}

#[derive(Debug, Default)]
struct Labels {
    by_query: HashMap<String, Label>,
    /// Finds the questions in a text; none for no questions.
    finder: Option<AhoCorasick>,
}

#[derive(Debug, Clone, PartialEq)]
struct Label {
    category: String,
    alternative: Option<String>,
}

/// A rule set, as it is read from a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    default: String,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    contains: String,
    category: String,
}

#[derive(Deserialize)]
struct LabelledLine {
    query: String,
    label: String,
}

/// What the model says of a question.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) category: String,
    /// Another category that fits.
    pub(crate) alternative: Option<String>,
    pub(crate) confidence: f64,
}

impl Brain {
    /// With labelled questions from a file of JSON Lines: objects with `query` and `label`. The label `HYBRID` stands
    /// for `KNOWLEDGE_GRAPH` with the alternative `REAL_TIME`. Of a question that occurs twice the last label counts.
    ///
    /// # Errors
    /// `Io`; `InvalidConfig` with the line that cannot be used.
    pub fn with_labels(self, file: &Path) -> Result<Self, SimError> {
        let mut labels = Vec::new();
        for (line, text) in config::lines(file)? {
            let read: LabelledLine =
                serde_json::from_str(&text).map_err(|error| config::in_line(file, line, &error))?;
            labels.push((read.query, read.label));
        }
        self.with_labelled(labels)
    }

    /// With these questions and their labels, as [`with_labels`](Self::with_labels) reads them from a file; those it
    /// had are kept.
    ///
    /// # Errors
    /// `InvalidConfig` if they are too many to be searched for.
    pub fn with_labelled<Q, L>(self, labelled: impl IntoIterator<Item = (Q, L)>) -> Result<Self, SimError>
    where
        Q: Into<String>,
        L: Into<String>,
    {
        let mut by_query = self.labels.by_query.clone();
        for (query, label) in labelled {
            let label: String = label.into();
            let label = if label == HYBRID.0 {
                Label { category: HYBRID.1.to_owned(), alternative: Some(HYBRID.2.to_owned()) }
            } else {
                Label { category: label, alternative: None }
            };
            by_query.insert(query.into().trim().to_owned(), label);
        }
        by_query.remove("");
        // Sorted, so that two questions of one length are searched for in the same order every time.
        let mut queries: Vec<&String> = by_query.keys().collect();
        queries.sort_unstable();
        let finder = AhoCorasick::builder().match_kind(MatchKind::Standard).build(queries);
        let finder = finder.map_err(|error| {
            SimError::invalid(format!("there are too many labelled questions, give fewer: {error}"))
        })?;
        Ok(Self { labels: Arc::new(Labels { by_query, finder: Some(finder) }), ..self })
    }

    /// With the rules of a TOML file in place of the ones built in: `default = "GENERAL"` and any number of
    /// `[[rules]]` with `contains = "latest"` (in any case) and `category = "REAL_TIME"`; the first that fits counts.
    ///
    /// # Errors
    /// `Io`; `InvalidConfig` if it is not TOML of that form.
    pub fn with_rules(self, file: &Path) -> Result<Self, SimError> {
        let rules: Rules = toml::from_str(&config::read(file)?)
            .map_err(|error| SimError::invalid(format!("{} cannot be used: {error}", file.display())))?;
        Ok(Self { rules: Arc::new(rules), ..self })
    }

    /// The longest labelled question that stands in the text, between whole words.
    pub(crate) fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        if let Some((query, _)) = self.labels.by_query.get_key_value(text.trim()) {
            return text.find(query.as_str()).map(|at| &text[at..at + query.len()]);
        }
        let finder = self.labels.finder.as_ref()?;
        let in_words = finder.find_overlapping_iter(text).filter(|found| {
            let is_word = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
            !is_word(text[..found.start()].chars().next_back())
                && !is_word(text[found.end()..].chars().next())
        });
        // The first of the longest.
        let longest = in_words.max_by_key(|found| (found.len(), usize::MAX - found.start()))?;
        Some(&text[longest.range()])
    }

    /// What the model says of a question, if it may say one of these categories.
    pub(crate) fn answer(&self, query: &str, offered: &[String], seed: u64, error_rate: f64) -> Answer {
        let query = query.trim();
        let (category, alternative) = match self.labels.by_query.get(query) {
            Some(label) => (label.category.as_str(), label.alternative.as_deref()),
            None => (self.rules.category(query), None),
        };
        let n = random::of_text(query);
        let right = spelled_as(category, offered)
            // Nobody offers what it would say: it says anything, and always the same.
            .or_else(|| spelled_as(&self.rules.default, offered))
            .or_else(|| pick(offered, n, seed))
            .unwrap_or_else(|| category.to_owned());
        let alternative = alternative.and_then(|alternative| spelled_as(alternative, offered));
        let chance = random::unit(seed, n, Purpose::Confidence);
        if random::unit(seed, n, Purpose::Mistake) < error_rate {
            let others: Vec<String> = offered.iter().filter(|other| **other != right).cloned().collect();
            if let Some(wrong) = pick(&others, n, seed) {
                return Answer {
                    category: wrong,
                    alternative: None,
                    confidence: hundredths(0.50 + 0.40 * chance),
                };
            }
        }
        let confidence = if alternative.is_some() { 0.60 + 0.25 * chance } else { 0.80 + 0.19 * chance };
        Answer { category: right, alternative, confidence: hundredths(confidence) }
    }
}

impl Rules {
    fn category(&self, query: &str) -> &str {
        let query = query.to_lowercase();
        let fitting = self.rules.iter().find(|rule| query.contains(&rule.contains.to_lowercase()));
        fitting.map_or(&self.default, |rule| &rule.category)
    }
}

impl Default for Rules {
    fn default() -> Self {
        const REAL_TIME: [&str; 7] =
            ["latest", "recent", "news", "today", "this year", "approval", "clinical trial"];
        const KNOWLEDGE_GRAPH: [&str; 8] = [
            "pathway",
            "relation",
            "mechanism",
            "biomarker",
            "associated with",
            "regulate",
            "interact",
            "metabolite",
        ];
        let rules = |words: &[&str], category: &str| {
            let rule = |word: &&str| Rule { contains: (*word).to_owned(), category: category.to_owned() };
            words.iter().map(rule).collect::<Vec<_>>()
        };
        let mut all = rules(&REAL_TIME, CATEGORIES[1]);
        all.extend(rules(&KNOWLEDGE_GRAPH, CATEGORIES[0]));
        Self { default: CATEGORIES[2].to_owned(), rules: all }
    }
}

/// The category as it is offered: the same, in another case, or shortened to its beginning.
fn spelled_as(category: &str, offered: &[String]) -> Option<String> {
    let lower = category.to_lowercase();
    let begins = |offered: &&String| !offered.is_empty() && lower.starts_with(&offered.to_lowercase());
    let same = offered.iter().find(|offered| *offered == category);
    let in_another_case = || offered.iter().find(|offered| offered.to_lowercase() == lower);
    same.or_else(in_another_case).or_else(|| offered.iter().find(begins)).cloned()
}

fn pick(offered: &[String], n: u64, seed: u64) -> Option<String> {
    let n_offered = u64::try_from(offered.len()).ok().filter(|n_offered| *n_offered > 0)?;
    // OK to cast: the remainder is below a length.
    offered.get((random::bits(seed, n, Purpose::Category) % n_offered) as usize).cloned()
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
