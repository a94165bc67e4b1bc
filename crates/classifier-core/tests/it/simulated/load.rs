//! A slow provider, of whose replies some go wrong, and more users than it likes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use classifier_core::{DegradedReason, Source};
use llm_sim::{Config, FAULTS, Fault, Faults, Latency, LogEntry};

use super::{Given, LIMIT, ROWS, World, ask_all, slowest};

/// One reply in twenty goes wrong, each in another way.
const SHARE_OF_FAULTS: f64 = 0.05;

/// After these nothing that could be an answer has reached the client.
const SAYS_NOTHING: [Fault; 13] = [
    Fault::ServerError,
    Fault::BadGatewayHtml,
    Fault::RateLimited,
    Fault::RateLimitedRetryAfter,
    Fault::ConnectionRefused,
    Fault::ResetBeforeHeaders,
    Fault::HangBeforeHeaders,
    Fault::MalformedJson,
    Fault::WrongShape,
    Fault::UnknownCategory,
    Fault::ConfidenceOutOfRange,
    Fault::EmptyReply,
    Fault::WrongContentType,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_users_are_answered_in_time_and_told_the_truth() {
    let all: Vec<Fault> = FAULTS.iter().map(|(fault, _, _)| *fault).collect();
    let faults = all.iter().fold(Faults::none(), |faults, &fault| {
        faults.with(fault, SHARE_OF_FAULTS / all.len() as f64).unwrap()
    });
    let simulation = Config {
        seed: 7,
        latency: Latency::Lognormal { median: Duration::from_millis(600), p99: Duration::from_millis(2500) },
        per_token: Duration::from_millis(2),
        faults,
        retry_after: Duration::from_secs(1),
        ..Config::default()
    };
    let flags = [("classifier_mode", "llm"), ("parallel_llm_calls", "50")];
    let World { simulator, system, _folder } = World::new(simulation, &flags).await;
    let system = Arc::new(system);
    let queries = ROWS.iter().take(2000).map(|row| row.query.clone());
    let given = ask_all(&system, queries, 50).await;

    assert_eq!(given.len(), 2000);
    let log = simulator.log();
    let mut by_query: HashMap<&str, Vec<&LogEntry>> = HashMap::new();
    for entry in &log {
        for query in &entry.queries {
            by_query.entry(query).or_default().push(entry);
        }
    }
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for given in &given {
        assert!(given.took <= LIMIT, "{given:?}");
        let entries = by_query.get(given.query.as_str()).map_or(&[][..], |entries| entries);
        *told.entry(check_truth(given, entries)).or_default() += 1;
    }
    let mut times: Vec<Duration> = given.iter().map(|given| given.took).collect();
    times.sort();
    println!(
        "2,000 questions of 50 users: {told:?}; half within {:?}, 99 % within {:?}, all within {:?}; {} requests to the provider",
        times[1000],
        times[1980],
        slowest(&given),
        log.len()
    );
    // Whenever the provider asks to be left alone for a second, the users get through many questions without it.
    assert!(told["llm"] > 1000, "the model hardly answers: {told:?}");
}

/// Whether an answer says of itself what the provider knows of it, and in a word what it says.
fn check_truth(given: &Given, entries: &[&LogEntry]) -> String {
    let (classification, metadata) = (&given.answer.classification, &given.answer.metadata);
    assert_eq!(metadata.degraded, metadata.degraded_reason.is_some(), "{given:?}");
    assert!(!metadata.cache_hit && !metadata.deduplicated, "no question is asked twice: {given:?}");
    match (metadata.source, metadata.degraded_reason) {
        (Source::Llm, None) => {
            let has_said = entries.iter().any(|entry| {
                let place = entry.queries.iter().position(|query| *query == given.query);
                place.and_then(|place| entry.categories.get(place)).map(String::as_str)
                    == Some(classification.category.as_str())
                    && entry.fault.is_none_or(|fault| !SAYS_NOTHING.contains(&fault))
            });
            assert!(has_said, "the model has not said that: {given:?} {entries:?}");
            "llm".to_owned()
        }
        (Source::Embedded, Some(reason)) => {
            let went_wrong = entries.iter().any(|entry| {
                let took = entry.ended_us.map_or(u64::MAX, |ended| ended - entry.arrived_us);
                entry.fault.is_some() || entry.cancelled || took > 1_500_000
            });
            // Those are told before anything is sent.
            let is_unsent = matches!(
                reason,
                DegradedReason::CircuitOpen
                    | DegradedReason::RateLimited
                    | DegradedReason::Busy
                    | DegradedReason::Overloaded
            );
            // A refused connection leaves no trace at the provider, nor does waiting for a place among those who are late.
            let is_unseen = match reason {
                DegradedReason::Unavailable => entries.is_empty(),
                DegradedReason::TimedOut => given.took > LIMIT * 9 / 10,
                _ => false,
            };
            assert!(went_wrong || is_unsent || is_unseen, "nothing was wrong: {given:?} {entries:?}");
            format!("{reason:?}")
        }
        _ => panic!("{given:?}"),
    }
}
