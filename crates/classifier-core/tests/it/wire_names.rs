//! The names under which answers are written are those of the original description.

use std::time::Duration;

use classifier_core::Request;
use hp_base::Priority;
use serde_json::{Value, json};

use crate::support::{built_in, quick_system};

#[track_caller]
fn check_keys(object: &Value, expected: &[&str]) {
    let mut names: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = expected.to_vec();
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

#[test]
fn a_classification_has_exactly_these_fields() {
    let answer =
        built_in().classify("Has the FDA approved a new drug for gout, e.g. febuxostat, since 2024?");
    let answer = serde_json::to_value(answer).unwrap();
    check_keys(
        &answer,
        &[
            "category",
            "confidence",
            "reasoning",
            "alternative_categories",
            "uncertainty_indicators",
            "biomedical_signals",
            "temporal_signals",
            "hybrid",
            "route",
        ],
    );
    assert!(
        answer["category"].is_string() && answer["confidence"].is_f64() && answer["reasoning"].is_string()
    );
    assert!(answer["hybrid"].is_boolean() && answer["route"].is_string());
    let others = answer["alternative_categories"].as_array().unwrap();
    assert_eq!(others.len(), 2);
    for other in others {
        check_keys(other, &["category", "confidence"]);
        assert!(other["category"].is_string() && other["confidence"].is_f64());
    }
    check_keys(&answer["biomedical_signals"], &["entities", "relationships", "techniques"]);
    check_keys(&answer["temporal_signals"], &["keywords", "patterns", "years"]);
    assert_eq!(answer["temporal_signals"]["years"], json!([2024]));
}

#[test]
fn indicators_have_the_names_of_the_description() {
    use classifier_core::Uncertainty;

    let all = [
        Uncertainty::LowConfidence,
        Uncertainty::CloseAlternatives,
        Uncertainty::VeryShortQuery,
        Uncertainty::OutOfDomain,
        Uncertainty::NonEnglish,
    ];
    let names = ["low_confidence", "close_alternatives", "very_short_query", "out_of_domain", "non_english"];
    assert_eq!(json!(all), json!(names));
    let indicators = json!(built_in().classify("Guten Morgen").uncertainty_indicators);
    let indicators = indicators.as_array().unwrap();
    assert!(indicators.contains(&json!("very_short_query")) && indicators.contains(&json!("out_of_domain")));
    let german = built_in().classify("Wie hängt der Blutzucker mit dem Stoffwechsel der Leber zusammen?");
    assert!(german.uncertainty_indicators.contains(&Uncertainty::NonEnglish), "{german:?}");
}

#[test]
fn sources_and_optimizations_have_the_names_of_the_description() {
    use cache_tiers::CacheLevel;
    use classifier_core::{DegradedReason, Optimization, Source};

    assert_eq!(
        json!([Source::L1, Source::L2, Source::L3, Source::Embedded, Source::Llm, Source::Coalesced]),
        json!(["l1", "l2", "l3", "embedded", "llm", "coalesced"])
    );
    let optimizations = [
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
    let names = [
        "multi_level_cache",
        "request_deduplication",
        "request_batching",
        "result_caching",
        "embedded_classifier",
        "llm_optimization",
        "streaming",
        "prompt_caching",
        "token_optimization",
        "hedging",
    ];
    assert_eq!(json!(optimizations), json!(names));
    let levels = [CacheLevel::L1Memory, CacheLevel::L2Persistent, CacheLevel::L3Distributed];
    assert_eq!(json!(levels), json!(["l1_memory", "l2_persistent", "l3_distributed"]));
    let reasons = [
        DegradedReason::TimedOut,
        DegradedReason::Unavailable,
        DegradedReason::CircuitOpen,
        DegradedReason::RateLimited,
        DegradedReason::Busy,
        DegradedReason::InvalidReply,
        DegradedReason::Refused,
        DegradedReason::OverBudget,
        DegradedReason::BudgetUnknown,
        DegradedReason::Failed,
        DegradedReason::Overloaded,
        DegradedReason::ShuttingDown,
    ];
    let names = [
        "timed_out",
        "unavailable",
        "circuit_open",
        "rate_limited",
        "busy",
        "invalid_reply",
        "refused",
        "over_budget",
        "budget_unknown",
        "failed",
        "overloaded",
        "shutting_down",
    ];
    assert_eq!(json!(reasons), json!(names));
}

#[tokio::test]
async fn statistics_have_the_names_of_the_description() {
    let (system, _) = quick_system(&[]);
    system.classify(&Request::new("What is a metabolome?")).await.unwrap();
    let stats = serde_json::to_value(system.cache_stats()).unwrap();
    check_keys(&stats, &["l1_cache", "l2_cache", "l3_cache", "overall"]);
    check_keys(&stats["overall"], &["hit_rate", "total_requests", "total_hits", "avg_hit_time_ms"]);
    assert_eq!(stats["l1_cache"]["size"], 1);
}

#[tokio::test]
async fn metadata_have_exactly_these_fields() {
    let (system, clock) = quick_system(&[]);
    let request = Request { priority: Priority::Low, ..Request::new("What is a metabolome?") };
    let first = serde_json::to_value(system.classify(&request).await.unwrap().metadata).unwrap();
    clock.advance(Duration::from_secs(1));
    let second = serde_json::to_value(system.classify(&request).await.unwrap().metadata).unwrap();
    for metadata in [&first, &second] {
        check_keys(
            metadata,
            &[
                "request_id",
                "priority",
                "optimizations_applied",
                "cache_hit",
                "cache_level",
                "batched",
                "deduplicated",
                "response_time_ms",
                "retry_after_ms",
                "target_met",
                "source",
                "degraded",
                "degraded_reason",
                "llm",
            ],
        );
        assert_eq!(metadata["request_id"].as_str().unwrap().len(), 32);
        assert_eq!(metadata["response_time_ms"], json!(0.0));
    }
    let of =
        |metadata: &Value, names: &[&str]| names.iter().map(|name| metadata[name].clone()).collect::<Value>();
    let told = ["priority", "optimizations_applied", "cache_hit", "cache_level", "source", "target_met"];
    assert_eq!(
        of(&first, &told),
        json!(["low", ["result_caching", "embedded_classifier"], false, null, "embedded", true])
    );
    assert_eq!(of(&second, &told), json!(["low", ["multi_level_cache"], true, "l1_memory", "l1", true]));
    let untold = ["batched", "deduplicated", "degraded", "degraded_reason", "llm"];
    assert_eq!(of(&first, &untold), json!([false, false, false, null, null]));
}
