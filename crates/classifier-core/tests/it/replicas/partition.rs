//! Three replicas, a Redis, and a network that comes apart between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use classifier_core::{ClassificationSystem, DegradedReason, Outcome, Request, Source};
use llm_sim::{Config, Latency, Simulator};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Redis, ready};
use crate::support::{config, until};

/// The way of one replica to Redis, which can be cut: connections break, and new ones are closed at once.
struct Way {
    port: u16,
    is_cut: watch::Sender<bool>,
    was_used: Arc<AtomicBool>,
}

impl Way {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let way = Self {
            port: listener.local_addr().unwrap().port(),
            is_cut: watch::Sender::new(false),
            was_used: Arc::default(),
        };
        let (cut, was_used) = (way.is_cut.subscribe(), way.was_used.clone());
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let mut cut = cut.clone();
                if *cut.borrow_and_update() {
                    continue;
                }
                was_used.store(true, Ordering::Relaxed);
                tokio::spawn(async move {
                    let mut to = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
                        _ = cut.wait_for(|&is_cut| is_cut) => {}
                    }
                });
            }
        });
        way
    }
}

/// Asks all replicas the same, a hundred times each and at once.
async fn ask_all(
    replicas: &[Arc<ClassificationSystem>],
    query: &'static str,
) -> Vec<(usize, Outcome, Duration)> {
    let mut asking = JoinSet::new();
    for _ in 0..100 {
        for (number, replica) in replicas.iter().enumerate() {
            let replica = replica.clone();
            asking.spawn(async move {
                let asked = Instant::now();
                let outcome = replica.classify(&Request::new(query)).await.unwrap();
                (number, outcome, asked.elapsed())
            });
        }
    }
    asking.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_make_one_call_and_a_partition_costs_nobody_an_answer() {
    let redis = Redis::start(&[]);
    let simulation = Config { latency: Latency::Fixed(Duration::from_millis(300)), ..Config::default() };
    let simulator = Simulator::start(simulation).await.unwrap();
    let (mut ways, mut replicas) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let way = Way::to(redis.port).await;
        let (url, redis_url) = (simulator.url(), format!("redis://127.0.0.1:{}", way.port));
        let flags = [
            ("llm_provider", "openai"),
            ("llm_model", "simulated"),
            ("llm_base_url", url.as_str()),
            ("classifier_mode", "llm"),
            ("redis_url", redis_url.as_str()),
            // A busy machine must not look like a broken network.
            ("redis_timeout_ms", "500"),
        ];
        let system = ClassificationSystem::new(&config(&flags)).unwrap();
        ready(&system).await;
        assert!(way.was_used.load(Ordering::Relaxed));
        ways.push(way);
        replicas.push(Arc::new(system));
    }

    let outcomes = ask_all(&replicas, "How does butyrate act on colonocytes?").await;
    assert_eq!(simulator.log().len(), 1, "three hundred who ask at three replicas make one call");
    assert!(outcomes.iter().all(|(_, outcome, _)| !outcome.metadata.degraded));
    let by_llm = outcomes.iter().filter(|(_, outcome, _)| outcome.metadata.source == Source::Llm);
    assert_eq!(by_llm.count(), 1);

    // The third replica is on its own: it cannot know whether another one asks, nor what is left of the budget.
    ways[2].is_cut.send_replace(true);
    let outcomes = ask_all(&replicas, "How does propionate act on hepatocytes?").await;
    let n_calls = simulator.log().len() - 1;
    for (number, outcome, took) in &outcomes {
        assert!(*took <= Duration::from_secs(2), "{took:?}: {outcome:?}");
        match outcome.metadata.degraded_reason {
            None => {}
            Some(reason) => {
                let known = [DegradedReason::BudgetUnknown, DegradedReason::TimedOut];
                assert!(*number == 2 && known.contains(&reason), "replica {number}: {outcome:?}");
            }
        }
    }
    assert!(n_calls <= 2, "{n_calls} calls: the two that are connected make one, the other one at the most");

    ways[2].is_cut.send_replace(false);
    until("the third is connected again", async || {
        replicas[2].cache_stats().l3_cache.state == cache_tiers::TierState::Ready
            && replicas[2].llm().unwrap().budget().await.is_ok()
    })
    .await;
    let before = simulator.log().len();
    let outcomes = ask_all(&replicas, "How does acetate act on adipocytes?").await;
    assert_eq!(simulator.log().len() - before, 1);
    assert!(outcomes.iter().all(|(_, outcome, _)| !outcome.metadata.degraded));
}
