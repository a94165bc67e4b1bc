//! Many who ask at once: equal questions, different ones, more than there is room for, and people who go away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use classifier_core::{ClassificationSystem, Deadline, Optimization, Outcome, Priority, Request, Source};
use llm_sim::{Config, Latency, Limits};
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use tokio::task::JoinSet;

use super::{LIMIT, ROWS, World, ask_all, slowest};
use crate::support::until;

const QUERY: &str = "How does butyrate act on colonocytes?";

fn at(latency: Duration) -> Config {
    Config { latency: Latency::Fixed(latency), ..Config::default() }
}

async fn ask(system: Arc<ClassificationSystem>, query: &str) -> Outcome {
    system.classify(&Request::new(query)).await.unwrap()
}

/// The flags under which every question goes to the model.
const TO_THE_MODEL: (&str, &str) = ("classifier_mode", "llm");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_who_ask_the_same_make_one_call() {
    let World { simulator, system, _folder } =
        World::new(at(Duration::from_millis(300)), &[TO_THE_MODEL]).await;
    let system = Arc::new(system);
    let mut users = JoinSet::new();
    for _ in 0..1000 {
        users.spawn(ask(system.clone(), QUERY));
    }
    let outcomes = users.join_all().await;
    assert_eq!(simulator.log().len(), 1);
    let deduplicated = outcomes.iter().filter(|outcome| outcome.metadata.deduplicated);
    assert_eq!(deduplicated.clone().count(), 999);
    for Outcome { metadata, .. } in deduplicated {
        assert_eq!(metadata.source, Source::Coalesced);
        assert!(metadata.optimizations_applied.contains(Optimization::RequestDeduplication));
        assert!(metadata.llm.is_none() && !metadata.degraded && !metadata.cache_hit);
    }
    assert!(outcomes.iter().all(|outcome| outcome.classification == outcomes[0].classification));
    assert_eq!(system.stats().requests.deduplicated, 999);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asked_first_may_go_away() {
    let World { simulator, system, _folder } =
        World::new(at(Duration::from_millis(500)), &[TO_THE_MODEL]).await;
    let system = Arc::new(system);
    let first = tokio::spawn(ask(system.clone(), QUERY));
    until("the first has asked", async || simulator.log().len() == 1).await;
    let mut users = JoinSet::new();
    for _ in 0..999 {
        users.spawn(ask(system.clone(), QUERY));
    }
    until("all others wait", async || system.stats().coalescing.n_waiting == 999).await;
    first.abort();
    let outcomes = users.join_all().await;
    assert!(simulator.log().len() <= 2);
    assert!(outcomes.iter().all(|outcome| !outcome.metadata.degraded), "{:?}", outcomes[0]);
    assert!(first.await.unwrap_err().is_cancelled());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_deduplication_everybody_asks() {
    let flags = [TO_THE_MODEL, ("enable_deduplication", "false"), ("parallel_llm_calls", "20")];
    let flags = [&flags[..], &[("enable_request_batching", "false")]].concat();
    let World { simulator, system, _folder } = World::new(at(Duration::from_millis(300)), &flags).await;
    let system = Arc::new(system);
    let mut users = JoinSet::new();
    for _ in 0..20 {
        users.spawn(ask(system.clone(), QUERY));
    }
    let outcomes = users.join_all().await;
    assert_eq!(simulator.log().len(), 20);
    assert!(outcomes.iter().all(|outcome| !outcome.metadata.deduplicated));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_different_questions_share_calls() {
    let flags = [TO_THE_MODEL, ("parallel_llm_calls", "10")];
    let World { simulator, system, _folder } = World::new(at(Duration::from_millis(200)), &flags).await;
    let system = Arc::new(system);
    let given = ask_all(&system, ROWS.iter().take(1000).map(|row| row.query.clone()), 100).await;
    assert!(given.iter().all(|given| given.answer.metadata.source == Source::Llm));
    let batched = given.iter().filter(|given| given.answer.metadata.batched);
    for given in batched.clone() {
        let metadata = &given.answer.metadata;
        assert!(metadata.optimizations_applied.contains(Optimization::RequestBatching));
        assert!(metadata.llm.as_ref().is_some_and(|llm| llm.batch_size > 1));
    }
    let n_calls = simulator.log().len();
    assert!(n_calls <= 400, "{n_calls} calls for 1,000 questions");
    assert!(batched.count() >= 600);
    // Each answer is the one to its question, and to none of its neighbours'.
    let right = given.iter().filter(|given| {
        let row = ROWS.iter().find(|row| row.query == given.query);
        row.is_some_and(|row| {
            row.label == given.answer.classification.category.as_str() || row.label == "HYBRID"
        })
    });
    assert_eq!(right.count(), given.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_batching_every_question_is_a_call() {
    let flags = [TO_THE_MODEL, ("parallel_llm_calls", "10"), ("enable_request_batching", "false")];
    // Nobody is turned away for want of time.
    let flags = [&flags[..], &[("max_response_time_ms", "60000")]].concat();
    let World { simulator, system, _folder } = World::new(at(Duration::from_millis(20)), &flags).await;
    let given = ask_all(&Arc::new(system), ROWS.iter().take(200).map(|row| row.query.clone()), 40).await;
    assert!(given.iter().all(|given| !given.answer.metadata.batched));
    assert_eq!(simulator.log().len(), 200);
}

/// Open loop: five times what the provider can take, in batches, for three seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_overload_everybody_is_answered_in_time() {
    let simulation = Config {
        limits: Limits { max_concurrent: Some(3), queue: true, ..Limits::default() },
        ..at(Duration::from_millis(300))
    };
    let World { simulator: _simulator, system, _folder } = World::new(simulation, &[TO_THE_MODEL]).await;
    let system = Arc::new(system);
    // Ten questions a call, three calls at a time.
    let rate = 5 * 10 * 3 * 1000 / 300;
    let mut users = JoinSet::new();
    let mut every = tokio::time::interval(Duration::from_secs(1) / rate);
    for number in 0..3 * rate {
        every.tick().await;
        let system = system.clone();
        users.spawn(async move {
            let priority = if number % 10 == 0 { Priority::High } else { Priority::Normal };
            let query = format!("what is known of compound {number}");
            let asked = Instant::now();
            let answer = system.classify(&Request { priority, ..Request::new(&query) }).await.unwrap();
            super::Given { query, answer, took: asked.elapsed() }
        });
    }
    let given = users.join_all().await;
    assert!(slowest(&given) <= LIMIT, "{:?}", slowest(&given));
    let is_llm = |given: &&super::Given| given.answer.metadata.source == Source::Llm;
    let share = |priority: Priority| {
        let all = given.iter().filter(|given| given.answer.metadata.priority == priority);
        all.clone().filter(is_llm).count() as f64 / all.count() as f64
    };
    let (high, normal) = (share(Priority::High), share(Priority::Normal));
    assert!(high > 0.9 && high > normal, "by the model: {high} of the urgent, {normal} of the others");
    let stats = system.stats();
    assert!(stats.requests.shed > 0, "{stats:?}");
    let shed = given.iter().filter(|given| given.answer.metadata.retry_after.is_some());
    assert_eq!(shed.count() as u64, stats.requests.shed);
}

/// Whatever is dropped when, nothing is left: no place in a queue, no leave to call, nobody who waits.
#[test]
fn those_who_go_away_leave_nothing_behind() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let world = runtime.block_on(World::new(at(Duration::from_millis(5)), &[TO_THE_MODEL]));
    let system = Arc::new(world.system);
    let users = prop::collection::vec((0..40_u32, 0..20_u64, any::<bool>()), 1..60);
    let mut runner = TestRunner::new(Cases { cases: 30, ..Cases::default() });
    let rounds = AtomicU32::new(0);
    let outcome = runner.run(&users, |users| {
        let round = rounds.fetch_add(1, Ordering::Relaxed);
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for (number, patience, is_timed) in users {
                let system = system.clone();
                tasks.spawn(async move {
                    let query = format!("what is known of compound {round} {number}");
                    let patience = Duration::from_millis(patience);
                    let deadline =
                        if is_timed { Deadline::at(Instant::now() + patience) } else { Deadline::never() };
                    let request = Request { deadline, ..Request::new(&query) };
                    // The patience of a runtime, which drops the request wherever it is.
                    tokio::time::timeout(patience, system.classify(&request)).await.is_ok()
                });
            }
            tasks.join_all().await;
            until("nothing is left", async || system.stats().is_idle()).await;
        });
        Ok(())
    });
    outcome.unwrap();
    let report = runtime.block_on(system.shutdown(Duration::from_secs(10)));
    assert_eq!(report.n_given_up, 0);
    assert_eq!(system.stats().gate.n_in_flight, 0);
}
