//! The cascade: the embedded classifier decides where it is sure, a language model where it is not.

use std::sync::Arc;

use async_trait::async_trait;

use super::classifier::LlmClassifier;
use super::stats::LlmStats;
use crate::classifier::{BatchClassifier, Classifier, EarlyAnswer, Request, Verdict};
use crate::embedded::EmbeddedClassifier;
use crate::error::Result;
use crate::taxonomy::Taxonomy;

/// From which confidence on the embedded classifier decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    /// For every category without one of its own; in [0, 1].
    pub general: f64,
    /// By the name of the category the embedded classifier finds likeliest.
    pub by_category: Vec<(String, f64)>,
}

impl Thresholds {
    fn of(&self, category: &str) -> f64 {
        let own = self.by_category.iter().find(|(name, _)| name == category);
        own.map_or(self.general, |(_, threshold)| *threshold)
    }
}

/// Answers by the embedded classifier where it is sure, else by a language model, and where that has no answer, by the
/// embedded classifier all the same, marked as degraded. It never fails.
#[derive(Debug)]
pub struct Cascade {
    embedded: Arc<EmbeddedClassifier>,
    llm: Arc<LlmClassifier>,
    /// None to ask the model always.
    thresholds: Option<Thresholds>,
}

impl Cascade {
    /// The embedded classifier decides from the thresholds on; without any it never does, and only stands by.
    #[must_use]
    pub fn new(llm: Arc<LlmClassifier>, thresholds: Option<Thresholds>) -> Self {
        Self { embedded: llm.embedded.clone(), llm, thresholds }
    }

    /// The classifier that asks the model.
    #[must_use]
    pub fn llm(&self) -> &Arc<LlmClassifier> {
        &self.llm
    }

    /// What has become of the questions so far.
    #[must_use]
    pub fn stats(&self) -> LlmStats {
        self.llm.counting.snapshot()
    }

    fn decides(&self, verdict: &Verdict) -> bool {
        self.thresholds.as_ref().is_some_and(|thresholds| {
            verdict.classification.confidence >= thresholds.of(verdict.classification.category.as_str())
        })
    }

    fn stand_in(&self, embedded: Verdict, failure: &super::classifier::Failure) -> Verdict {
        self.llm.counting.degraded(failure.reason);
        tracing::debug!(reason = ?failure.reason, error = %failure.error, "the embedded classifier answers instead");
        embedded.degraded(failure.reason)
    }

    async fn answer(&self, request: &Request<'_>, early: Option<&EarlyAnswer<'_>>) -> Verdict {
        let embedded = self.embedded.verdict(request);
        if !request.force_llm && self.decides(&embedded) {
            self.llm.counting.count(|stats| stats.decided_embedded += 1);
            return embedded;
        }
        match self.llm.ask(request, &embedded.classification, early).await {
            Ok(verdict) => verdict,
            Err(failure) => self.stand_in(embedded, &failure),
        }
    }
}

#[async_trait]
impl Classifier for Cascade {
    async fn classify(&self, request: &Request<'_>) -> Result<Verdict> {
        Ok(self.answer(request, None).await)
    }

    fn at_once(&self, request: &Request<'_>) -> Option<Verdict> {
        if request.force_llm {
            return None;
        }
        let verdict = self.embedded.verdict(request);
        self.decides(&verdict).then(|| {
            self.llm.counting.count(|stats| stats.decided_embedded += 1);
            verdict
        })
    }

    async fn classify_early(&self, request: &Request<'_>, early: &EarlyAnswer<'_>) -> Result<Verdict> {
        Ok(self.answer(request, Some(early)).await)
    }

    fn taxonomy(&self) -> &Taxonomy {
        self.embedded.taxonomy()
    }

    fn revision(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.llm.revision());
        if let Some(Thresholds { general, by_category }) = &self.thresholds {
            hasher.update(&general.to_le_bytes());
            for (category, threshold) in by_category {
                hasher.update(category.as_bytes()).update(&threshold.to_le_bytes());
            }
        }
        let mut revision = [0; 16];
        hasher.finalize_xof().fill(&mut revision);
        revision
    }
}

#[async_trait]
impl BatchClassifier for Cascade {
    /// Those the embedded classifier is not sure of go to the model in one call. None fails.
    async fn classify_many(&self, requests: &[Request<'_>]) -> Vec<Result<Verdict>> {
        let seen: Vec<Verdict> = requests.iter().map(|request| self.embedded.verdict(request)).collect();
        let decides =
            |(request, verdict): (&Request<'_>, &Verdict)| !request.force_llm && self.decides(verdict);
        let decided: Vec<bool> = requests.iter().zip(&seen).map(decides).collect();
        let open = || decided.iter().enumerate().filter(|(_, decided)| !**decided).map(|(number, _)| number);
        let questions: Vec<Request<'_>> = open().map(|number| requests[number].clone()).collect();
        let classifications: Vec<_> = open().map(|number| seen[number].classification.clone()).collect();
        let answers = self.llm.ask_many(&questions, &classifications).await;
        let mut verdicts: Vec<Verdict> = seen;
        for (number, answer) in open().zip(answers) {
            let embedded = verdicts[number].clone();
            verdicts[number] = answer.unwrap_or_else(|failure| self.stand_in(embedded, &failure));
        }
        let n_decided = decided.iter().filter(|decided| **decided).count() as u64;
        self.llm.counting.count(|stats| stats.decided_embedded += n_decided);
        verdicts.into_iter().map(Ok).collect()
    }
}
