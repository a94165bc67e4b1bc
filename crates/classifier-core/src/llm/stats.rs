//! What has become of the questions put to a language model, and whether it can be believed.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::types::DegradedReason;

/// Answers that are looked back on.
const WINDOW: usize = 200;
/// With fewer answers nothing is said of the model.
const MIN_ANSWERS: usize = 30;
/// A share of one category that no mix of uncertain questions has.
const SAME_SHARE: f64 = 0.95;
/// The embedded classifier's share of that category above which it may be right.
const PLAUSIBLE_SHARE: f64 = 0.8;

/// What has become of the questions put to a language model.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LlmStats {
    /// Questions the embedded classifier decided.
    pub decided_embedded: u64,
    /// Questions put to the model.
    pub asked: u64,
    /// Answers of the model that were valid.
    pub answered: u64,
    /// Replies that were not valid, repaired or not.
    pub invalid_replies: u64,
    /// Second attempts after a reply that was not valid.
    pub repairs: u64,
    /// Questions that were asked by themselves because they got no valid item in a reply to many.
    pub fallen_apart: u64,
    /// Questions the embedded classifier answered in the model's place, by reason.
    pub degraded: BTreeMap<String, u64>,
    /// By the embedded classifier's category: how often the model said the same, and what else.
    pub by_category: BTreeMap<String, CategoryCounts>,
    /// A category that the model says of nearly everything, while the embedded classifier does not: the model is
    /// not to be believed.
    pub always_says: Option<String>,
}

/// How often the model has agreed with the embedded classifier on one of its categories.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CategoryCounts {
    /// It said the same.
    pub agreed: u64,
    /// It said another category.
    pub disagreed: BTreeMap<String, u64>,
}

/// Counts while questions are asked.
#[derive(Debug, Default)]
pub(super) struct Counting {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    stats: LlmStats,
    /// The last answers: what the embedded classifier and what the model said, as indices of categories.
    recent: VecDeque<(usize, usize)>,
}

impl Counting {
    pub(super) fn count(&self, what: impl FnOnce(&mut LlmStats)) {
        what(&mut self.lock().stats);
    }

    pub(super) fn degraded(&self, reason: DegradedReason) {
        let name = serde_json::to_value(reason).ok();
        let name = name.as_ref().and_then(|name| name.as_str()).unwrap_or("other").to_owned();
        *self.lock().stats.degraded.entry(name).or_default() += 1;
    }

    /// Counts an answer of the model beside that of the embedded classifier.
    pub(super) fn answered(&self, labels: &[&str], embedded: usize, model: usize) {
        let (Some(embedded_label), Some(model_label)) = (labels.get(embedded), labels.get(model)) else {
            return;
        };
        let mut inner = self.lock();
        let Inner { stats, recent } = &mut *inner;
        stats.answered += 1;
        let counts = stats.by_category.entry((*embedded_label).to_owned()).or_default();
        if embedded == model {
            counts.agreed += 1;
        } else {
            *counts.disagreed.entry((*model_label).to_owned()).or_default() += 1;
        }
        if recent.len() == WINDOW {
            recent.pop_front();
        }
        recent.push_back((embedded, model));
        let always = (0..labels.len()).find(|&category| is_always(recent, category));
        let always = always.map(|category| labels[category].to_owned());
        if always.is_some() && always != stats.always_says {
            tracing::warn!(
                category = always.as_deref(),
                "the language model says the same of nearly every question; check the model and its prompt"
            );
        }
        stats.always_says = always;
    }

    pub(super) fn snapshot(&self) -> LlmStats {
        self.lock().stats.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the model says a category of nearly everything, and the embedded classifier does not.
fn is_always(recent: &VecDeque<(usize, usize)>, category: usize) -> bool {
    let share = |of: fn(&(usize, usize)) -> usize| {
        recent.iter().filter(|both| of(both) == category).count() as f64 / recent.len() as f64
    };
    recent.len() >= MIN_ANSWERS
        && share(|both| both.1) >= SAME_SHARE
        && share(|both| both.0) < PLAUSIBLE_SHARE
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [&str; 3] = ["A", "B", "C"];

    #[test]
    fn agreement_is_counted_by_category() {
        let counting = Counting::default();
        for (embedded, model) in [(0, 0), (0, 0), (0, 2), (1, 1)] {
            counting.answered(&LABELS, embedded, model);
        }
        let stats = counting.snapshot();
        assert_eq!((stats.answered, stats.always_says), (4, None));
        assert_eq!((stats.by_category["A"].agreed, stats.by_category["A"].disagreed["C"]), (2, 1));
        assert_eq!(stats.by_category["B"], CategoryCounts { agreed: 1, ..CategoryCounts::default() });
    }

    #[test]
    fn a_model_that_always_says_the_same_is_noticed() {
        let counting = Counting::default();
        for n in 0..MIN_ANSWERS {
            assert_eq!(counting.snapshot().always_says, None, "after {n} answers");
            counting.answered(&LABELS, n % 3, 1);
        }
        assert_eq!(counting.snapshot().always_says.as_deref(), Some("B"));
        for n in 0..WINDOW {
            counting.answered(&LABELS, n % 3, n % 3);
        }
        assert_eq!(counting.snapshot().always_says, None, "it has come to its senses");
    }

    #[test]
    fn the_same_answer_to_the_same_kind_of_question_is_no_fault() {
        let counting = Counting::default();
        (0..2 * WINDOW).for_each(|_| counting.answered(&LABELS, 2, 2));
        assert_eq!(counting.snapshot().always_says, None);
    }

    #[test]
    fn what_was_answered_in_its_place_is_counted_by_reason() {
        let counting = Counting::default();
        counting.degraded(DegradedReason::OverBudget);
        counting.degraded(DegradedReason::OverBudget);
        assert_eq!(counting.snapshot().degraded["over_budget"], 2);
    }
}
