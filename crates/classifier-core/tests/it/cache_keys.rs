//! What shares a cache entry and what does not.

use std::sync::Arc;
use std::time::Duration;

use cache_tiers::{MemoryConfig, MemoryTier, normalize};
use classifier_core::{CachedAnswer, ClassificationSystem, Context, EmbeddedOptions, Request, Taxonomy};
use hp_base::{ManualClock, Priority};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::support::{HELP_DESK, QUESTIONS, Stepping, block_on, built_in, config, is_hit, quick_system};

/// A system with a classifier of known steps, so that building one is cheap.
fn stepping(
    revision: u8,
    tenant: &str,
    toml: &str,
    cache: &Arc<MemoryTier<CachedAnswer>>,
) -> ClassificationSystem {
    let mut classifier = Stepping::new(Arc::new(ManualClock::new()), Duration::ZERO);
    classifier.revision = [revision; 16];
    classifier.taxonomy = Taxonomy::parse(toml).unwrap();
    ClassificationSystem::builder(&config(&[("tenant", tenant)]))
        .with_classifier(Arc::new(classifier))
        .with_tier(cache.clone())
        .build()
        .unwrap()
}

fn cache() -> Arc<MemoryTier<CachedAnswer>> {
    Arc::new(MemoryTier::new(MemoryConfig::default(), Arc::new(ManualClock::new())))
}

#[tokio::test]
async fn systems_share_an_entry_only_when_tenant_taxonomy_and_classifier_are_the_same() {
    let cache = cache();
    let query = "where is my invoice";
    assert!(!is_hit(&stepping(1, "a", HELP_DESK, &cache), query).await);
    assert!(is_hit(&stepping(1, "a", HELP_DESK, &cache), query).await);
    assert!(!is_hit(&stepping(1, "b", HELP_DESK, &cache), query).await, "another tenant");
    assert!(!is_hit(&stepping(2, "a", HELP_DESK, &cache), query).await, "another classifier");
    let revised = HELP_DESK.replace("help-desk-1", "help-desk-2");
    assert!(!is_hit(&stepping(1, "a", &revised, &cache), query).await, "another taxonomy");
    assert!(is_hit(&stepping(1, "a", HELP_DESK, &cache), query).await, "the first is still there");
}

#[test]
fn every_option_and_the_taxonomy_change_the_revision_of_the_embedded_classifier() {
    use classifier_core::{Classifier, EmbeddedClassifier};

    let plain = EmbeddedOptions::default();
    let mut revisions = vec![EmbeddedClassifier::built_in().revision()];
    for options in [
        EmbeddedOptions { recent_from_year: Some(2020), ..plain.clone() },
        EmbeddedOptions { recent_from_year: Some(2021), ..plain.clone() },
        EmbeddedOptions { low_confidence_threshold: 0.5, ..plain.clone() },
        EmbeddedOptions { close_alternatives_margin: 0.5, ..plain.clone() },
        EmbeddedOptions { hybrid_threshold: 0.5, ..plain.clone() },
    ] {
        revisions.push(EmbeddedClassifier::built_in().with_options(options).revision());
    }
    let source = Taxonomy::clinical_metabolomics().source().replace("lightrag", "graph");
    let rerouted = EmbeddedClassifier::built_in().with_taxonomy(Taxonomy::parse(&source).unwrap()).unwrap();
    revisions.push(rerouted.revision());
    for (at, revision) in revisions.iter().enumerate() {
        assert!(!revisions[..at].contains(revision), "number {at} is a revision of before");
    }
    assert_eq!(EmbeddedClassifier::built_in().revision(), revisions[0]);
    assert_eq!(built_in().revision(), crate::support::recent_from(2024).revision());
}

fn with_context(parts: &[(&str, &str)]) -> Request<'static> {
    let mut context = Context::default();
    for (key, value) in parts {
        context.set(key, value).unwrap();
    }
    Request { context, ..Request::new("and in children?") }
}

#[tokio::test]
async fn the_context_is_part_of_the_key() {
    let (system, _) = quick_system(&[]);
    let asked = async |parts: &[(&str, &str)]| {
        system.classify(&with_context(parts)).await.unwrap().metadata.cache_hit
    };
    assert!(!asked(&[]).await);
    assert!(!asked(&[("topic", "gout")]).await);
    assert!(!asked(&[("previous_query", "gout")]).await, "the name of the part counts");
    assert!(!asked(&[("topic", "sepsis")]).await);
    assert!(!asked(&[("topic", "gout"), ("previous_query", "sepsis")]).await);
    assert!(!asked(&[("topic", "sepsis"), ("previous_query", "gout")]).await);
    for again in [&[][..], &[("topic", "gout")], &[("previous_query", " GOUT? ")], &[("topic", "Sepsis")]] {
        assert!(asked(again).await, "{again:?}");
    }
    assert!(asked(&[("topic", "  ")]).await, "a blank part is none");
}

#[tokio::test]
async fn the_priority_is_no_part_of_the_key() {
    let (system, _) = quick_system(&[]);
    assert!(!is_hit(&system, QUESTIONS[0]).await);
    for priority in Priority::ALL {
        let answer = system.classify(&Request { priority, ..Request::new(QUESTIONS[0]) }).await.unwrap();
        assert!(answer.metadata.cache_hit);
        assert_eq!(answer.metadata.priority, priority);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn spellings_of_one_question_share_an_answer(
        question in select(&QUESTIONS[..]),
        spaces in vec(select(&[" ", "  ", "\t", "\n", "\u{a0}", " \u{200b}"][..]), 16),
        shout in any::<bool>(),
        closing in "[?.! ]{0,4}",
    ) {
        let mut spaces = spaces.into_iter();
        let words = question.trim_end_matches('?').split(' ');
        let mut spelling = words.map(|word| format!("{}{word}", spaces.next().unwrap())).collect::<String>();
        if shout {
            spelling = spelling.to_uppercase();
        }
        spelling.push_str(&closing);
        let (system, _) = quick_system(&[]);
        let [first, second] = [question, &spelling]
            .map(|query| block_on(system.classify(&Request::new(query))).unwrap());
        prop_assert!(second.metadata.cache_hit, "{:?}", spelling);
        prop_assert_eq!(first.classification, second.classification);
    }

    #[test]
    fn questions_share_an_answer_exactly_when_their_normal_forms_are_equal(
        first in "[aAßﬁ1?. \u{200b}é-]{1,4}", second in "[aAßﬁ1?. \u{200b}é-]{1,4}",
    ) {
        prop_assume!(!first.trim().is_empty() && !second.trim().is_empty());
        let system = stepping(1, "a", HELP_DESK, &cache());
        prop_assert!(!block_on(is_hit(&system, &first)));
        prop_assert_eq!(block_on(is_hit(&system, &second)), normalize(&first) == normalize(&second));
    }
}
