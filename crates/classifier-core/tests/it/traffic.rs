//! Every parameter of what shapes traffic does something that can be seen; and the end of a system.

mod machine;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cache_tiers::NoCache;
use classifier_core::{
    BatchClassifier, ClassificationSystem, Classifier, DegradedReason, ErrorKind, Optimization, Outcome,
    Priority, Request, Result, STEPS, Source, Taxonomy, Verdict, create_high_performance_system,
    high_performance_classification_context,
};
use hp_base::ManualClock;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::support::{built_in, config, held_out, until};

/// Answers a call when it is told to, and remembers what was asked together.
#[derive(Debug)]
struct Held {
    seen: Mutex<Vec<Vec<String>>>,
    go: Semaphore,
}

impl Held {
    fn new() -> Arc<Self> {
        Arc::new(Self { seen: Mutex::default(), go: Semaphore::new(0) })
    }

    fn sizes(&self) -> Vec<usize> {
        self.seen.lock().unwrap().iter().map(Vec::len).collect()
    }

    fn n_calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    async fn call(&self, requests: &[Request<'_>]) -> Vec<Result<Verdict>> {
        let queries = requests.iter().map(|request| request.query.to_owned()).collect();
        self.seen.lock().unwrap().push(queries);
        self.go.acquire().await.unwrap().forget();
        let verdict = |request: &Request<'_>| Verdict::new(built_in().classify(request.query), Source::Llm);
        requests.iter().map(|request| Ok(verdict(request))).collect()
    }
}

#[async_trait]
impl Classifier for Held {
    async fn classify(&self, request: &Request<'_>) -> Result<Verdict> {
        self.call(std::slice::from_ref(request)).await.remove(0)
    }

    fn taxonomy(&self) -> &Taxonomy {
        built_in().taxonomy()
    }

    fn revision(&self) -> [u8; 16] {
        [3; 16]
    }
}

#[async_trait]
impl BatchClassifier for Held {
    async fn classify_many(&self, requests: &[Request<'_>]) -> Vec<Result<Verdict>> {
        self.call(requests).await
    }
}

/// With as much time as it takes, and one call at a time, except as the flags say.
fn patient(held: &Arc<Held>, flags: &[(&str, &str)]) -> Arc<ClassificationSystem> {
    let usual = [("max_response_time_ms", "60000"), ("parallel_llm_calls", "1")];
    let usual = usual.into_iter().filter(|(name, _)| flags.iter().all(|(other, _)| other != name));
    let all: Vec<(&str, &str)> = usual.chain(flags.iter().copied()).collect();
    let builder = ClassificationSystem::builder(&config(&all))
        .with_batch_classifier(held.clone())
        .with_fallback(built_in().clone())
        .build();
    Arc::new(builder.unwrap())
}

fn ask(system: &Arc<ClassificationSystem>, query: &str) -> JoinHandle<Outcome> {
    let (system, query) = (system.clone(), query.to_owned());
    tokio::spawn(async move { system.classify(&Request::new(&query)).await.unwrap() })
}

fn n_waiting(system: &ClassificationSystem) -> usize {
    let waiting = system.stats().gate.n_waiting;
    waiting.high + waiting.normal + waiting.low
}

/// The sizes of the calls for seven questions, the first of which comes alone.
async fn sizes(flags: &[(&str, &str)]) -> Vec<usize> {
    let held = Held::new();
    let system = patient(&held, flags);
    let mut asking = vec![ask(&system, "question 0")];
    until("the first is asked", async || held.n_calls() == 1).await;
    asking.extend((1..7).map(|n| ask(&system, &format!("question {n}"))));
    until("the others wait", async || n_waiting(&system) == 6).await;
    held.go.add_permits(7);
    for (n, asking) in asking.into_iter().enumerate() {
        let outcome = asking.await.unwrap();
        assert_eq!(*outcome.classification, built_in().classify(&format!("question {n}")));
        let metadata = outcome.metadata;
        let applied = metadata.optimizations_applied;
        assert_eq!(metadata.batched, applied.contains(Optimization::RequestBatching));
        assert!(applied.contains(Optimization::ResultCaching));
    }
    held.sizes()
}

#[tokio::test]
async fn max_batch_size_bounds_the_questions_of_a_call() {
    assert_eq!(sizes(&[("max_batch_size", "4")]).await, [1, 4, 2]);
    assert_eq!(sizes(&[("max_batch_size", "2")]).await, [1, 2, 2, 2]);
}

#[tokio::test]
async fn enable_request_batching_lets_questions_share_calls() {
    assert_eq!(sizes(&[("enable_request_batching", "true")]).await, [1, 6]);
    assert_eq!(sizes(&[("enable_request_batching", "false")]).await, [1; 7]);
}

#[tokio::test]
async fn batch_timeout_ms_opens_the_last_place() {
    for (timeout, n_calls) in [("60000", 1), ("1", 2)] {
        let held = Held::new();
        let flags = [("parallel_llm_calls", "2"), ("batch_timeout_ms", timeout)];
        // Nobody is so near to a deadline that the place is opened for that.
        let system = patient(&held, &[&flags[..], &[("max_response_time_ms", "600000")]].concat());
        let first = ask(&system, "question 0");
        until("the first is asked", async || held.n_calls() == 1).await;
        let second = ask(&system, "question 1");
        until("the second has come", async || system.stats().gate.n_questions == 2).await;
        if n_calls == 2 {
            until("its time is over", async || held.n_calls() == 2).await;
        }
        assert_eq!(held.n_calls(), n_calls);
        held.go.add_permits(2);
        assert!(!first.await.unwrap().metadata.batched && !second.await.unwrap().metadata.batched);
    }
}

#[tokio::test]
async fn enable_deduplication_lets_equal_questions_share_an_answer() {
    for (enabled, n_calls) in [("true", 1), ("false", 2)] {
        let held = Held::new();
        let flags = [
            ("enable_deduplication", enabled),
            ("enable_request_batching", "false"),
            ("parallel_llm_calls", "9"),
        ];
        let system = patient(&held, &flags);
        let first = ask(&system, "the same");
        until("it is asked", async || held.n_calls() == 1).await;
        let second = ask(&system, "The same?");
        match n_calls {
            1 => until("it waits", async || system.stats().coalescing.n_waiting == 1).await,
            _ => until("it is asked too", async || held.n_calls() == 2).await,
        }
        held.go.add_permits(2);
        assert!(!first.await.unwrap().metadata.deduplicated);
        assert_eq!(second.await.unwrap().metadata.deduplicated, n_calls == 1);
        assert_eq!(held.n_calls(), n_calls);
    }
}

#[tokio::test]
async fn dedup_window_seconds_is_how_long_an_answer_is_repeated_that_no_cache_keeps() {
    let held = Held::new();
    held.go.add_permits(9);
    let clock = Arc::new(ManualClock::new());
    let system = ClassificationSystem::builder(&config(&[("dedup_window_seconds", "30")]))
        .with_tier(Arc::new(NoCache))
        .with_batch_classifier(held.clone())
        .with_clock(clock.clone())
        .build()
        .unwrap();
    let ask = async || system.classify(&Request::new("again")).await.unwrap().metadata;
    assert_eq!(ask().await.source, Source::Llm);
    clock.advance(Duration::from_secs(29));
    assert_eq!(ask().await.source, Source::Coalesced);
    // What was forgotten is not repeated.
    system.forget(&Request::new("again")).await.unwrap();
    assert_eq!(ask().await.source, Source::Llm);
    system.flush().await.unwrap();
    assert_eq!(ask().await.source, Source::Llm);
    clock.advance(Duration::from_secs(31));
    assert_eq!(ask().await.source, Source::Llm);
    assert_eq!(held.n_calls(), 4);
}

#[tokio::test]
async fn max_waiting_is_from_where_on_questions_are_answered_at_once() {
    let held = Held::new();
    let system = patient(&held, &[("max_waiting", "1"), ("enable_request_batching", "false")]);
    let first = ask(&system, "question 0");
    until("the first is asked", async || held.n_calls() == 1).await;
    let second = ask(&system, "question 1");
    until("the second waits", async || n_waiting(&system) == 1).await;
    let metadata = ask(&system, "question 2").await.unwrap().metadata;
    assert_eq!(metadata.degraded_reason, Some(DegradedReason::Overloaded));
    assert!(metadata.retry_after.is_some() && metadata.optimizations_applied.iter().next().is_none());
    // Somebody more urgent has the place.
    let urgent = tokio::spawn({
        let system = system.clone();
        async move {
            let request = Request { priority: Priority::High, ..Request::new("question 3") };
            system.classify(&request).await.unwrap().metadata
        }
    });
    assert_eq!(second.await.unwrap().metadata.degraded_reason, Some(DegradedReason::Overloaded));
    held.go.add_permits(2);
    assert_eq!(urgent.await.unwrap().source, Source::Llm);
    assert_eq!(first.await.unwrap().metadata.source, Source::Llm);
    assert_eq!(system.stats().requests.shed, 2);
}

#[tokio::test]
async fn without_anybody_to_stand_by_overload_is_an_error() {
    let held = Held::new();
    let flags = config(&[("max_waiting", "1"), ("parallel_llm_calls", "1"), ("max_batch_size", "1")]);
    let system = ClassificationSystem::builder(&flags).with_batch_classifier(held.clone()).build().unwrap();
    let system = Arc::new(system);
    let first = ask(&system, "question 0");
    until("the first is asked", async || held.n_calls() == 1).await;
    let second = ask(&system, "question 1");
    until("the second waits", async || n_waiting(&system) == 1).await;
    let error = system.classify(&Request::new("question 2")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert!(error.to_string().contains("ask again in"), "{error}");
    assert_eq!(system.stats().requests.failed, 1);
    held.go.add_permits(2);
    first.await.unwrap();
    second.await.unwrap();
}

fn requests(queries: &[String]) -> Vec<Request<'_>> {
    queries.iter().map(|query| Request::new(query)).collect()
}

#[tokio::test]
async fn many_questions_at_once_are_answered_as_one_by_one() {
    let (many, single) = (system(&[]), system(&[]));
    let mut queries = held_out(500);
    queries.push(String::new());
    queries.push(queries[0].clone());
    let outcomes = many.classify_many(&requests(&queries)).await;
    assert_eq!(outcomes.len(), queries.len());
    for (query, outcome) in queries.iter().zip(outcomes) {
        match (outcome, single.classify(&Request::new(query)).await) {
            (Ok(one), Ok(other)) => assert_eq!(one.classification, other.classification),
            (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
            other => panic!("{other:?}"),
        }
    }
    assert!(many.stats().resources.n_jobs >= 8);
    let again = many.classify_many(&requests(&queries[..500])).await;
    assert!(again.iter().flatten().all(|outcome| outcome.metadata.cache_hit));
}

fn system(flags: &[(&str, &str)]) -> ClassificationSystem {
    ClassificationSystem::new(&config(flags)).unwrap()
}

#[tokio::test]
async fn many_questions_that_take_time_share_calls() {
    let held = Held::new();
    held.go.add_permits(99);
    let system = patient(&held, &[]);
    let queries: Vec<String> = (0..40).map(|n| format!("question {n}")).collect();
    let outcomes = system.classify_many(&requests(&queries)).await;
    assert!(outcomes.iter().flatten().all(|outcome| outcome.metadata.source == Source::Llm));
    assert!(held.n_calls() < 20, "{:?}", held.sizes());
}

#[tokio::test]
async fn enable_memory_pooling_uses_buffers_again() {
    for (enabled, is_reused) in [("true", true), ("false", false)] {
        let system = system(&[("enable_memory_pooling", enabled)]);
        let queries = held_out(200);
        for _ in 0..3 {
            system.classify_many(&requests(&queries)).await;
            system.flush().await.unwrap();
        }
        let resources = system.stats().resources;
        assert_eq!(resources.n_buffers_reused > 0, is_reused, "{resources:?}");
        assert_eq!(resources.buffer_bytes_kept > 0, is_reused);
    }
}

#[tokio::test]
async fn memory_pool_size_mb_bounds_what_is_kept() {
    let system = system(&[("memory_pool_size_mb", "7")]);
    assert_eq!(system.stats().resources.buffer_bytes_most, 7 << 20);
}

#[tokio::test]
async fn max_worker_threads_and_cpu_optimization_enabled_bound_the_threads() {
    let queries = held_out(1000);
    let n_cpus = resource_manager::n_cpus().get();
    for (flags, most) in [
        (&[("max_worker_threads", "1")][..], 1),
        (&[("max_worker_threads", "1000")], n_cpus),
        (&[("max_worker_threads", "3"), ("cpu_optimization_enabled", "false")], 3),
    ] {
        let system = system(flags);
        system.classify_many(&requests(&queries)).await;
        let resources = system.stats().resources;
        assert_eq!(resources.max_worker_threads, most);
        assert!((1..=most).contains(&resources.n_worker_threads), "{resources:?}");
        system.close().await;
        assert_eq!(system.stats().resources.n_worker_threads, 0);
    }
}

#[tokio::test]
async fn a_shutdown_waits_for_what_is_under_way_and_says_what_it_has_left() {
    let held = Held::new();
    let system = patient(&held, &[]);
    let first = ask(&system, "question 0");
    until("it is asked", async || held.n_calls() == 1).await;
    let shutting = tokio::spawn({
        let system = system.clone();
        async move { system.shutdown(Duration::from_secs(30)).await }
    });
    until("nothing new is asked", async || {
        let metadata = system.classify(&Request::new("question 1")).await.unwrap().metadata;
        metadata.degraded_reason == Some(DegradedReason::ShuttingDown)
    })
    .await;
    held.go.add_permits(9);
    assert_eq!(first.await.unwrap().metadata.source, Source::Llm);
    let report = shutting.await.unwrap();
    assert!(report.n_open >= 1 && report.n_given_up == 0 && report.all_written, "{report:?}");
    until("no task is left", async || system.n_tasks() == 0).await;
    // What memory has is there still.
    assert!(system.classify(&Request::new("question 0")).await.unwrap().metadata.cache_hit);
}

#[tokio::test]
async fn a_shutdown_gives_up_what_takes_too_long() {
    let held = Held::new();
    let system = patient(&held, &[]);
    let mut asking = vec![ask(&system, "question 0")];
    until("one is asked", async || held.n_calls() == 1).await;
    asking.extend((1..3).map(|n| ask(&system, &format!("question {n}"))));
    until("two wait", async || n_waiting(&system) == 2).await;
    let report = system.shutdown(Duration::from_millis(50)).await;
    assert_eq!((report.n_open, report.n_given_up), (3, 3));
    held.go.add_permits(9);
    for asking in asking {
        let metadata = asking.await.unwrap().metadata;
        assert!(
            metadata.source == Source::Llm || metadata.degraded_reason == Some(DegradedReason::ShuttingDown)
        );
    }
}

#[tokio::test]
async fn a_system_may_be_dropped_while_it_is_asked() {
    let held = Held::new();
    let system = patient(&held, &[]);
    let asking = ask(&system, "question 0");
    until("it is asked", async || held.n_calls() == 1).await;
    asking.abort();
    let _ = asking.await;
    drop(system);
    assert!(Arc::strong_count(&held) >= 1);
    until("nobody holds the classifier any more", async || Arc::strong_count(&held) == 1).await;
}

#[tokio::test]
async fn a_benchmark_measures_the_system_as_it_is() {
    let system = system(&[]);
    let report = system.benchmark(&["What is a metabolome?", ""], 10).await.unwrap();
    assert_eq!((report.n_answers, report.n_errors, report.n_degraded), (10, 10, 0));
    assert_eq!((report.hit_rate, report.target_compliance_rate), (0.9, 1.0));
    assert!(
        report.p50_ms <= report.p95_ms && report.p95_ms <= report.p99_ms && report.p99_ms <= report.max_ms
    );
    assert!(report.throughput_rps > 0.0 && report.avg_ms > 0.0);
    assert_eq!(system.benchmark(&[], 10).await.unwrap_err().kind(), ErrorKind::InvalidQuery);
}

#[tokio::test]
async fn the_names_of_the_original_do_what_they_did() {
    let config = config(&[]);
    let system = create_high_performance_system(&config).await.unwrap();
    let (answer, metadata) =
        system.classify_query_optimized("What is a metabolome?", Priority::High).await.unwrap();
    assert_eq!((answer.category.as_str(), metadata.priority), ("GENERAL", Priority::High));
    system.close().await;
    let inside = high_performance_classification_context(&config, async |system| {
        system.classify_query_optimized("What is a metabolome?", Priority::Normal).await.unwrap();
        system.stats().requests.total
    });
    assert_eq!(inside.await.unwrap(), 1);
}

#[test]
fn the_steps_are_in_their_order_and_have_reasons() {
    let names = STEPS.map(|step| step.name);
    let place = |name: &str| names.iter().position(|known| *known == name).unwrap();
    assert!(place("deadline") < place("cache") && place("cache") < place("coalesce"));
    assert!(place("coalesce") < place("lanes") && place("batch") < place("admit"));
    assert!(STEPS.iter().all(|step| step.reason.len() > 20));
}

#[tokio::test]
async fn statistics_are_of_what_has_happened() {
    let system = system(&[]);
    for query in ["What is a metabolome?", "what is a metabolome", ""] {
        let _ = system.classify(&Request::new(query)).await;
    }
    let stats = system.stats();
    let requests = stats.requests;
    assert_eq!((requests.total, requests.refused, requests.failed), (3, 1, 0));
    assert_eq!((requests.by_source.embedded, requests.by_source.l1), (1, 1));
    assert_eq!((requests.success_rate, stats.response_times.target_compliance_rate), (1.0, 1.0));
    assert!(stats.response_times.avg_ms > 0.0 && stats.response_times.avg_ms <= stats.response_times.max_ms);
    assert!(stats.is_idle() && system.recommendations().is_empty());
    let json = serde_json::to_value(&stats).unwrap();
    assert_eq!(json["requests"]["by_source"]["l1"], 1);
    assert_eq!(json["cache"]["overall"]["hit_rate"], 0.5);
}
