//! Every parameter of the configuration does something that can be seen.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use classifier_core::{
    Classification, ClassificationSystem, EmbeddedClassifier, ErrorKind, Request, Uncertainty, config,
};
use hp_base::ManualClock;

use crate::support::{
    HELP_DESK, QUESTIONS, held_out, help_desk_model, is_hit, quick_system, recent_from, system,
};

/// The parameters that a test in this file, in a neighbouring one (for language models those of `llm/settings`) or beside the
/// code that obeys them turns.
const TURNED: [&str; 85] = [
    "batch_timeout_ms",
    "budget_path",
    "cache_warm_queries",
    "cache_write_queue",
    "category_confidence_thresholds",
    "circuit_breaker_failure_rate",
    "circuit_breaker_open_seconds",
    "classifier_mode",
    "close_alternatives_margin",
    "confidence_threshold",
    "connection_timeout",
    "cpu_optimization_enabled",
    "daily_budget",
    "dedup_window_seconds",
    "early_acceptance",
    "enable_auto_scaling",
    "enable_cache_warming",
    "enable_deduplication",
    "enable_memory_pooling",
    "enable_prompt_caching",
    "enable_request_batching",
    "hedge_share",
    "hourly_budget",
    "hybrid_threshold",
    "l1_cache_size",
    "l1_cache_size_mb",
    "l1_cache_ttl",
    "l1_cache_ttl_jitter",
    "l2_block_cache_mb",
    "l2_cache_enabled",
    "l2_cache_path",
    "l2_cache_size_mb",
    "l2_cache_ttl",
    "l3_cache_enabled",
    "l3_cache_ttl",
    "l3_compress_above_bytes",
    "llm_api_key",
    "llm_api_key_file",
    "llm_api_version",
    "llm_base_url",
    "llm_ca_file",
    "llm_call_timeout",
    "llm_fallback_api_key",
    "llm_fallback_api_key_file",
    "llm_fallback_base_url",
    "llm_fallback_model",
    "llm_fallback_models",
    "llm_fallback_provider",
    "llm_model",
    "llm_prices",
    "llm_provider",
    "llm_reply_form",
    "llm_retries",
    "low_confidence_threshold",
    "max_batch_size",
    "max_connections",
    "max_query_chars",
    "max_response_time_ms",
    "max_waiting",
    "max_worker_threads",
    "memory_pool_size_mb",
    "model",
    "monitoring_interval_seconds",
    "parallel_llm_calls",
    "predictive_cache_depth",
    "recent_from_year",
    "redis_ca_file",
    "redis_password",
    "redis_password_file",
    "redis_pool_size",
    "redis_prefix",
    "redis_timeout_ms",
    "redis_url",
    "redis_username",
    "scale_down_threshold",
    "scale_up_threshold",
    "stale_while_revalidate_seconds",
    "streaming_enabled",
    "target_response_time_ms",
    "target_throughput_rps",
    "taxonomy",
    "tenant",
    "token_optimization_enabled",
    "warm_concurrency",
    "warm_per_second",
];

#[test]
fn every_parameter_is_turned_by_a_test() {
    let schema = config::schema();
    let mut names: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, TURNED, "turn the new parameter in a test, then name it here");
}

async fn ask(system: &ClassificationSystem, query: &str) -> Arc<Classification> {
    system.classify(&Request::new(query)).await.unwrap().classification
}

#[tokio::test]
async fn l1_cache_size_bounds_the_entries() {
    let (small, _) = quick_system(&[("l1_cache_size", "4")]);
    let (large, _) = quick_system(&[("l1_cache_size", "1000")]);
    for number in 0..100 {
        for system in [&small, &large] {
            ask(system, &format!("question number {number}")).await;
        }
    }
    assert!((1..=4).contains(&small.cache_stats().l1_cache.size), "{:?}", small.cache_stats().l1_cache);
    assert_eq!(small.cache_stats().l1_cache.size + small.cache_stats().l1_cache.evicted, 100);
    assert_eq!(large.cache_stats().l1_cache.size, 100);
}

#[tokio::test]
async fn l1_cache_size_mb_bounds_the_bytes() {
    let (small, _) = quick_system(&[("l1_cache_size_mb", "1")]);
    let (large, _) = quick_system(&[("l1_cache_size_mb", "64")]);
    for number in 0..3000 {
        let question =
            format!("How is {number} glucose tied to insulin, leptin, ghrelin, alanine and lactate?");
        for system in [&small, &large] {
            ask(system, &question).await;
        }
    }
    let [small, large] = [small, large].map(|system| system.cache_stats().l1_cache);
    assert!(small.bytes <= 1 << 20 && small.evicted > 0, "{small:?}");
    assert!(large.bytes > 1 << 20 && large.evicted == 0, "{large:?}");
    assert_eq!(large.max_bytes, 64 << 20);
}

#[tokio::test]
async fn l1_cache_ttl_is_how_long_an_answer_is_remembered() {
    let (system, clock) = quick_system(&[("l1_cache_ttl", "60"), ("l1_cache_ttl_jitter", "0")]);
    assert!(!is_hit(&system, "hello").await);
    clock.advance(Duration::from_millis(59_999));
    assert!(is_hit(&system, "hello").await);
    clock.advance(Duration::from_millis(1));
    assert!(!is_hit(&system, "hello").await, "a hit does not prolong it");
    assert!(is_hit(&system, "hello").await);
}

#[tokio::test]
async fn l1_cache_ttl_jitter_spreads_the_ends() {
    for (jitter, at, expected) in
        [("0", 99, 200..=200), ("0.5", 49, 200..=200), ("0.5", 75, 60..=140), ("0.5", 100, 0..=0)]
    {
        let (system, clock) = quick_system(&[("l1_cache_ttl", "100"), ("l1_cache_ttl_jitter", jitter)]);
        for number in 0..200 {
            ask(&system, &format!("question {number}")).await;
        }
        clock.advance(Duration::from_secs(at));
        let mut n_left = 0;
        for number in 0..200 {
            n_left += u64::from(is_hit(&system, &format!("question {number}")).await);
        }
        assert!(expected.contains(&n_left), "{n_left} are left after {at} s with a jitter of {jitter}");
    }
}

#[tokio::test]
async fn max_query_chars_is_the_last_length_that_is_answered() {
    let (system, _) = quick_system(&[("max_query_chars", "7")]);
    assert!(system.classify(&Request::new("glucose")).await.is_ok());
    let error = system.classify(&Request::new("glucose?")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidQuery);
    assert!(error.to_string().contains("max_query_chars = 7"), "{error}");
}

#[tokio::test]
async fn low_confidence_threshold_marks_exactly_the_answers_below_it() {
    let mut n_marked = HashSet::new();
    for threshold in [0.0, 0.6, 0.9, 1.0] {
        let (system, _) = system(&[("low_confidence_threshold", &threshold.to_string())]);
        let mut n = 0;
        for question in held_out(300) {
            let answer = ask(&system, &question).await;
            let marked = answer.uncertainty_indicators.contains(&Uncertainty::LowConfidence);
            assert_eq!(marked, answer.confidence < threshold, "{threshold}: {answer:?}");
            n += usize::from(marked);
        }
        n_marked.insert(n);
    }
    assert_eq!(n_marked.len(), 4, "each threshold marks another number: {n_marked:?}");
}

#[tokio::test]
async fn close_alternatives_margin_marks_exactly_the_answers_within_it() {
    let mut n_marked = HashSet::new();
    for margin in [0.0, 0.2, 0.9] {
        let (system, _) = system(&[("close_alternatives_margin", &margin.to_string())]);
        let mut n = 0;
        for question in held_out(300) {
            let answer = ask(&system, &question).await;
            let marked = answer.uncertainty_indicators.contains(&Uncertainty::CloseAlternatives);
            let distance = answer.confidence - answer.alternative_categories[0].confidence;
            assert_eq!(marked, distance < margin, "{margin}: {answer:?}");
            n += usize::from(marked);
        }
        n_marked.insert(n);
    }
    assert_eq!(n_marked.len(), 3, "each margin marks another number: {n_marked:?}");
}

#[tokio::test]
async fn hybrid_threshold_decides_between_the_categories_of_a_declared_pair() {
    let mut n_hybrid = HashSet::new();
    for threshold in [0.0, 0.05, 0.5] {
        let (system, _) = system(&[("hybrid_threshold", &threshold.to_string())]);
        let mut n = 0;
        for question in held_out(1000) {
            let answer = ask(&system, &question).await;
            let second = &answer.alternative_categories[0];
            let mut pair = [answer.category.as_str(), second.category.as_str()];
            pair.sort_unstable();
            let declared = pair == ["KNOWLEDGE_GRAPH", "REAL_TIME"];
            assert_eq!(answer.hybrid, declared && second.confidence >= threshold, "{threshold}: {answer:?}");
            n += usize::from(answer.hybrid);
        }
        n_hybrid.insert(n);
    }
    assert_eq!(n_hybrid.len(), 3, "each threshold finds another number: {n_hybrid:?}");
}

#[tokio::test]
async fn model_and_taxonomy_files_replace_the_built_in_ones() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("help-desk.model");
    std::fs::write(&model, help_desk_model()).unwrap();
    let (plain, _) = system(&[("model", model.to_str().unwrap())]);
    let answer = ask(&plain, "where is my invoice").await;
    assert_eq!((answer.category.as_str(), answer.route.as_str()), ("BILLING", "finance"));

    let taxonomy = folder.path().join("help-desk.toml");
    std::fs::write(&taxonomy, HELP_DESK.replace("\"finance\"", "\"accounts\"")).unwrap();
    let flags = [("model", model.to_str().unwrap()), ("taxonomy", taxonomy.to_str().unwrap())];
    let answer = ask(&system(&flags).0, "where is my invoice").await;
    assert_eq!((answer.category.as_str(), answer.route.as_str()), ("BILLING", "accounts"));
}

#[tokio::test]
async fn a_taxonomy_without_a_model_is_learnt_from_its_examples() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("help-desk.toml");
    let flags = [("taxonomy", path.to_str().unwrap())];

    std::fs::write(&path, HELP_DESK).unwrap();
    let error = ClassificationSystem::new(&crate::support::config(&flags)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidTaxonomy);
    assert!(error.to_string().contains("`TECHNICAL` has 2 examples"), "{error}");
    assert!(error.to_string().contains("help-desk.toml"), "the file is not named: {error}");

    std::fs::write(&path, HELP_DESK.replace("with an error\"]", "with an error\", \"it is broken\"]"))
        .unwrap();
    let (system, _) = system(&flags);
    for category in system.taxonomy().categories() {
        for example in &category.examples {
            assert_eq!(ask(&system, example).await.category, category.id, "{example}");
        }
    }
}

#[tokio::test]
async fn a_taxonomy_with_the_built_in_categories_keeps_the_built_in_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rerouted.toml");
    let built_in = EmbeddedClassifier::built_in();
    std::fs::write(&path, built_in.taxonomy().source().replace("\"lightrag\"", "\"graph\"")).unwrap();
    let (system, _) = system(&[("taxonomy", path.to_str().unwrap()), ("recent_from_year", "2024")]);
    let answer = ask(&system, QUESTIONS[0]).await;
    assert_eq!(answer.route, "graph");
    assert_eq!(answer.confidence, recent_from(2024).classify(QUESTIONS[0]).confidence);
}

#[tokio::test]
async fn an_empty_name_of_a_file_is_the_built_in_one() {
    let (system, _) = system(&[("model", ""), ("taxonomy", "")]);
    assert_eq!(system.taxonomy().revision(), EmbeddedClassifier::built_in().taxonomy().revision());
}

/// The probability that a question asks for news.
fn news(classifier: &EmbeddedClassifier, question: &str) -> f64 {
    let at = classifier.taxonomy().index_of("REAL_TIME").unwrap();
    classifier.probabilities(question)[at]
}

#[test]
fn recent_from_year_decides_which_years_ask_for_news() {
    let [before, after] = [2018, 2022].map(recent_from);
    let questions = [
        "lipidomics biomarkers of sepsis 2020",
        "What was published on gout and urate in 2020?",
        "metabolomics studies of diabetes, 2020",
    ];
    for question in questions {
        let (recent, past) = (news(&before, question), news(&after, question));
        assert!(recent > past, "{question}: {recent} when 2020 is recent, {past} when it is not");
        let years = [&before, &after].map(|classifier| classifier.classify(question).temporal_signals.years);
        assert_eq!(years, [[2020], [2020]], "the year is named either way");
        assert_eq!(news(&recent_from(2020), question), recent, "the cut-off itself is recent");
        assert_eq!(news(&recent_from(2021), question), past);
    }
    for question in QUESTIONS.iter().filter(|question| !question.contains("20")) {
        assert_eq!(news(&before, question), news(&after, question), "without a year there is nothing to cut");
    }
}

#[tokio::test]
async fn recent_from_year_reaches_the_system() {
    let question = "lipidomics biomarkers of sepsis 2020";
    let mut answers = Vec::new();
    for year in ["2018", "2022"] {
        answers.push(ask(&system(&[("recent_from_year", year)]).0, question).await);
    }
    assert_ne!(answers[0].confidence, answers[1].confidence);
}

#[tokio::test]
async fn years_grow_old_with_the_clock() {
    let years = |n: u64| Duration::from_secs(n * 31_557_600);
    // The middle of 2025, when 2023 is recent.
    let clock = Arc::new(ManualClock::starting_at(SystemTime::UNIX_EPOCH + years(55) + years(1) / 2));
    let config = crate::support::config(&[]);
    let system = ClassificationSystem::builder(&config).with_clock(clock.clone()).build().unwrap();
    let question = "lipidomics biomarkers of sepsis 2023";
    assert_eq!(*ask(&system, question).await, recent_from(2023).classify(question));
    clock.advance(years(1));
    assert_eq!(*ask(&system, question).await, recent_from(2024).classify(question));
    assert!(news(&recent_from(2023), question) > news(&recent_from(2024), question));
}
