//! The system: what it refuses, what it remembers, and what it says about how an answer came about.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use cache_tiers::{CacheLevel, NoCache};
use classifier_core::{ClassificationSystem, Context, Error, ErrorKind, Optimization, Request, Source};
use expect_test::{Expect, expect};
use hp_base::{ManualClock, Priority};

use crate::support::{QUESTIONS, Stepping, config, is_hit, system};

fn stepping(
    flags: &[(&str, &str)],
    takes: Duration,
) -> (ClassificationSystem, Arc<Stepping>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let classifier = Arc::new(Stepping::new(clock.clone(), takes));
    let config = config(flags);
    let builder = ClassificationSystem::builder(&config).with_clock(clock.clone());
    (builder.with_classifier(classifier.clone()).build().unwrap(), classifier, clock)
}

#[track_caller]
fn check_refused(error: Error, expected: Expect) {
    assert_eq!(error.kind(), ErrorKind::InvalidQuery);
    expected.assert_eq(&error.to_string());
}

#[tokio::test]
async fn what_is_no_question_is_refused() {
    let (system, classifier, _) = stepping(&[], Duration::ZERO);
    for query in ["", " ", " \t\r\n", "\u{a0}\u{2003}", "\u{0}", "\u{1b}\u{7f}\u{85} \u{0}"] {
        let error = system.classify(&Request::new(query)).await.unwrap_err();
        check_refused(error, expect!["the query is empty; ask a question"]);
        let error = system.forget(&Request::new(query)).await.unwrap_err();
        check_refused(error, expect!["the query is empty; ask a question"]);
    }
    assert_eq!(classifier.n_asked(), 0);
    assert_eq!(system.cache_stats().l1_cache.misses, 0);
}

#[tokio::test]
async fn a_query_too_long_is_refused_by_characters() {
    let (system, classifier, _) = stepping(&[], Duration::ZERO);
    for fits in ["x".repeat(8192), "é".repeat(8192), "🧬".repeat(8192)] {
        assert!(system.classify(&Request::new(&fits)).await.is_ok());
    }
    assert_eq!(classifier.n_asked(), 3);
    for too_long in ["x".repeat(8193), "🧬".repeat(8193)] {
        let error = system.classify(&Request::new(&too_long)).await.unwrap_err();
        check_refused(
            error,
            expect![
                "the query has 8193 characters, more than max_query_chars = 8192; shorten it or raise the limit"
            ],
        );
    }
    let megabyte = "what is glucose ".repeat(65_536);
    let error = system.classify(&Request::new(&megabyte)).await.unwrap_err();
    assert!(error.to_string().contains("1048576 characters"), "{error}");
    assert_eq!(classifier.n_asked(), 3);
}

#[tokio::test]
async fn the_context_counts_towards_the_length() {
    let (system, _, _) = stepping(&[("max_query_chars", "20")], Duration::ZERO);
    let mut request = Request::new("in children?");
    request.context.set("topic", "12345678").unwrap();
    assert!(system.classify(&request).await.is_ok());
    request.context.set("topic", "123456789").unwrap();
    assert_eq!(system.classify(&request).await.unwrap_err().kind(), ErrorKind::InvalidQuery);
}

#[tokio::test]
async fn no_message_repeats_the_query() {
    let (system, _, _) = stepping(&[("max_query_chars", "5")], Duration::ZERO);
    let error = system.classify(&Request::new("patient Doe")).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("Doe"));
}

#[test]
fn an_unknown_part_of_the_context_is_refused() {
    let check = |key: &str, expected: Expect| {
        check_refused(Context::default().set(key, "x").unwrap_err(), expected);
    };
    check(
        "topics",
        expect!["unknown context key `topics`; did you mean `topic`? the keys are previous_query, topic"],
    );
    check("zebra", expect!["unknown context key `zebra`; the keys are previous_query, topic"]);
}

#[tokio::test]
async fn the_second_answer_comes_from_memory_and_says_so() {
    let (system, classifier, _) = stepping(&[], Duration::from_millis(3));
    let request = Request { priority: Priority::High, ..Request::new("where is my invoice") };
    let first = system.classify(&request).await.unwrap();
    assert_eq!(first.metadata.source, Source::Embedded);
    assert!(!first.metadata.cache_hit);
    assert_eq!(first.metadata.cache_level, None);
    assert!(
        first
            .metadata
            .optimizations_applied
            .iter()
            .eq([Optimization::ResultCaching, Optimization::EmbeddedClassifier])
    );
    assert_eq!(first.metadata.response_time, Duration::from_millis(3));
    assert_eq!(first.metadata.priority, Priority::High);
    assert_eq!(first.classification.reasoning, "asked urgently", "the request reaches the classifier");

    let second = system.classify(&request).await.unwrap();
    assert_eq!(second.metadata.source, Source::L1);
    assert!(second.metadata.cache_hit);
    assert_eq!(second.metadata.cache_level, Some(CacheLevel::L1Memory));
    assert!(second.metadata.optimizations_applied.iter().eq([Optimization::MultiLevelCache]));
    assert_eq!(second.metadata.response_time, Duration::ZERO);
    assert_eq!(second.classification, first.classification);

    for metadata in [&first.metadata, &second.metadata] {
        assert!(metadata.target_met && !metadata.batched && !metadata.deduplicated);
        assert!(!metadata.degraded && metadata.degraded_reason.is_none());
    }
    assert_eq!(classifier.n_asked(), 1);
    assert_eq!((system.cache_stats().l1_cache.hits, system.cache_stats().l1_cache.misses), (1, 1));
}

#[tokio::test]
async fn ids_are_unique_within_and_across_systems() {
    let (one, _, _) = stepping(&[], Duration::ZERO);
    let (other, _, _) = stepping(&[], Duration::ZERO);
    let mut ids = HashSet::new();
    for system in [&one, &other, &one, &other] {
        let id = system.classify(&Request::new("hello")).await.unwrap().metadata.request_id.to_string();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        assert!(ids.insert(id));
    }
}

#[tokio::test]
async fn what_is_forgotten_is_asked_again() {
    let (system, classifier, _) = stepping(&[], Duration::ZERO);
    assert!(!is_hit(&system, "one").await);
    assert!(!is_hit(&system, "two").await);
    system.forget(&Request::new(" ONE?")).await.unwrap();
    assert!(!is_hit(&system, "one").await);
    assert!(is_hit(&system, "two").await, "the other stays");
    assert_eq!(classifier.n_asked(), 3);
    system.forget(&Request::new("never asked")).await.unwrap();
}

#[tokio::test]
async fn a_target_is_met_up_to_its_very_end() {
    for (takes, met) in [(249, true), (250, true), (251, false)] {
        let takes = Duration::from_millis(takes);
        let (system, _, _) = stepping(&[("target_response_time_ms", "250")], takes);
        let metadata = system.classify(&Request::new("hello")).await.unwrap().metadata;
        assert_eq!((metadata.response_time, metadata.target_met), (takes, met));
        let again = system.classify(&Request::new("hello")).await.unwrap().metadata;
        assert!(again.target_met, "from memory it takes no time");
    }
}

#[tokio::test]
async fn a_cache_of_ones_own_is_used() {
    let clock = Arc::new(ManualClock::new());
    let classifier = Arc::new(Stepping::new(clock, Duration::ZERO));
    let system = ClassificationSystem::builder(&config(&[("dedup_window_seconds", "0")]))
        .with_classifier(classifier.clone())
        .with_tier(Arc::new(NoCache))
        .build()
        .unwrap();
    assert!(!is_hit(&system, "hello").await);
    assert!(!is_hit(&system, "hello").await);
    assert_eq!(classifier.n_asked(), 2);
    assert!(!system.cache_stats().l1_cache.enabled);
    assert_eq!(system.taxonomy().revision(), "help-desk-1", "the taxonomy is that of the classifier");
}

#[tokio::test]
async fn the_built_in_system_gives_the_answers_of_its_classifier() {
    let (system, _) = system(&[("recent_from_year", "2024")]);
    for question in QUESTIONS {
        let answer = system.classify(&Request::new(question)).await.unwrap();
        assert_eq!(*answer.classification, crate::support::built_in().classify(question));
        assert_eq!(answer.metadata.source, Source::Embedded);
    }
}

#[tokio::test]
async fn background_reaches_the_embedded_classifier() {
    let (system, _) = system(&[]);
    let mut request = Request::new("and in children?");
    let plain = system.classify(&request).await.unwrap();
    request.context.set("previous_query", "How does leptin regulate appetite?").unwrap();
    let informed = system.classify(&request).await.unwrap();
    assert_eq!(plain.classification.biomedical_signals.entities, [""; 0]);
    assert_eq!(informed.classification.biomedical_signals.entities, ["leptin"]);
}

#[test]
fn files_that_do_not_fit_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad");
    std::fs::write(&path, "revision = 5").unwrap();
    let refused = |name: &str, value: &str| {
        // With a cache on disk that is being opened meanwhile: it must be closed before the process ends.
        let place = folder.path().join("cache");
        let disk = [("l2_cache_enabled", "true"), ("l2_cache_path", place.to_str().unwrap())];
        let config = config(&[&disk[..], &[(name, value)]].concat());
        let error = ClassificationSystem::new(&config).unwrap_err();
        assert!(error.to_string().contains(value), "{error}");
        error.kind()
    };
    let bad = path.to_str().unwrap();
    assert_eq!(refused("model", bad), ErrorKind::InvalidModel);
    assert_eq!(refused("taxonomy", bad), ErrorKind::InvalidTaxonomy);
    let missing = folder.path().join("missing");
    let missing = missing.to_str().unwrap();
    assert_eq!(refused("model", missing), ErrorKind::NotFound);
    assert_eq!(refused("taxonomy", missing), ErrorKind::NotFound);
}
