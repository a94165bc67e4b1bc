//! The trait of everything that can classify, and what it is asked.

use std::fmt::Debug;

use async_trait::async_trait;
use hp_base::{Deadline, Priority};

use crate::error::{Error, ErrorKind, Result};
use crate::taxonomy::Taxonomy;
use crate::types::{Classification, DegradedReason, LlmUse, Source};

/// Something that classifies questions.
#[async_trait]
pub trait Classifier: Debug + Send + Sync + 'static {
    /// Classifies a question.
    ///
    /// # Errors
    /// Whatever keeps this classifier from an answer. The embedded classifier always has one.
    async fn classify(&self, request: &Request<'_>) -> Result<Verdict>;

    /// The answer, if there is one without waiting for anything. Without: the system asks in a task of its own, and
    /// waits no longer than the request has time.
    fn at_once(&self, request: &Request<'_>) -> Option<Verdict> {
        let _ = request;
        None
    }

    /// As [`classify`](Self::classify), and tells `early` an answer that stands, as soon as there is one; what is
    /// returned in the end may say more about it.
    ///
    /// # Errors
    /// As [`classify`](Self::classify).
    async fn classify_early(&self, request: &Request<'_>, early: &EarlyAnswer<'_>) -> Result<Verdict> {
        let _ = early;
        self.classify(request).await
    }

    /// The categories it chooses from.
    fn taxonomy(&self) -> &Taxonomy;

    /// Changes with everything that may change an answer; part of every cache key.
    fn revision(&self) -> [u8; 16];
}

const _: Option<&dyn Classifier> = None;

/// A classifier that answers many questions for less than so many times one.
#[async_trait]
pub trait BatchClassifier: Classifier {
    /// Classifies many questions, and gives the answers in their order, one for each.
    ///
    /// # Errors
    /// By question, as [`classify`](Classifier::classify).
    async fn classify_many(&self, requests: &[Request<'_>]) -> Vec<Result<Verdict>>;
}

const _: Option<&dyn BatchClassifier> = None;

/// Who is told an answer before the classifier is done.
pub type EarlyAnswer<'a> = dyn Fn(Verdict) + Send + Sync + 'a;

/// What a classifier says of a question, and how it came to say so.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Where the question goes, and whether something better should have said so.
    pub classification: Classification,
    /// What has computed it.
    pub source: Source,
    /// What asking a language model took, if that has computed it.
    pub llm: Option<Box<LlmUse>>,
}

impl Verdict {
    /// What a classifier says by itself.
    #[must_use]
    pub fn new(classification: Classification, source: Source) -> Self {
        Self { classification, source, llm: None }
    }

    /// The verdict, as second to something that failed.
    #[must_use]
    pub fn degraded(mut self, reason: DegradedReason) -> Self {
        self.classification.degraded = Some(reason);
        self
    }
}

/// A question and what is known about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// The question as it was asked.
    pub query: &'a str,
    /// What went before.
    pub context: Context,
    /// How urgent it is.
    pub priority: Priority,
    /// Whether a language model is to answer whatever the caches hold and however sure the embedded classifier is.
    /// Without one, the answer is worked out anew.
    pub force_llm: bool,
    /// When the answer must be there, if before `max_response_time_ms` have passed.
    pub deadline: Deadline,
}

impl<'a> Request<'a> {
    /// A question of normal priority without context.
    #[must_use]
    pub fn new(query: &'a str) -> Self {
        Self { query, ..Self::default() }
    }
}

/// What went before a question. It counts only where the question itself leaves open what is asked, as in "and in
/// children?": few words without a cue, or an answer of low confidence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The question before this one.
    pub previous_query: Option<String>,
    /// What the conversation is about.
    pub topic: Option<String>,
}

impl Context {
    const KEYS: [&'static str; 2] = ["previous_query", "topic"];

    /// Sets the part named `key`.
    ///
    /// # Errors
    /// [`InvalidQuery`](ErrorKind::InvalidQuery) when there is no such part.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let part = match key {
            "previous_query" => &mut self.previous_query,
            "topic" => &mut self.topic,
            _ => {
                let hint = crate::error::suggestion(key, Self::KEYS);
                let hint = if hint.is_empty() { ";" } else { hint.as_str() };
                let keys = Self::KEYS.join(", ");
                let message = format!("unknown context key `{key}`{hint} the keys are {keys}");
                return Err(Error::new(ErrorKind::InvalidQuery, message));
            }
        };
        *part = Some(value.to_owned()).filter(|value| !value.trim().is_empty());
        Ok(())
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.previous_query.is_none() && self.topic.is_none()
    }

    /// How many characters all parts have together.
    pub(crate) fn n_chars(&self) -> usize {
        self.parts().map(|(_, value)| value.chars().count()).sum()
    }

    /// The parts that are known, with their names.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let values = [&self.previous_query, &self.topic];
        Self::KEYS.into_iter().zip(values).filter_map(|(key, value)| Some((key, value.as_deref()?)))
    }

    /// The question with its background before it, each part a sentence of its own.
    pub(crate) fn before(&self, query: &str) -> String {
        let mut text = String::new();
        for (_, value) in self.parts() {
            let closing = |c: char| c.is_whitespace() || matches!(c, '?' | '!' | '.');
            text.push_str(value.trim_end_matches(closing));
            text.push_str("? ");
        }
        text.push_str(query);
        text
    }
}
