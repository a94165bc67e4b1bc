//! What batching saves a hundred users, and what it costs a single one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use classifier_core::{ClassificationSystem, Request, Source};
use tokio::runtime::Runtime;

use crate::figures::llm::Provider;
use crate::figures::rounds::{Latencies, Turns};
use crate::figures::{Figure, Goal};

/// Users who ask again as soon as they are answered.
const N_USERS: u64 = 100;
/// Questions with batching; some twenty from each user.
const N_BATCHED: u64 = 2_000;
/// Questions without: they take ten times as long.
const N_SINGLE: u64 = 500;
/// Rounds of a single user's question each way.
const N_ROUNDS: u64 = 201;

/// As much time as it takes, so that both ways every question is answered by the model.
const PATIENT: [(&str, &str); 3] =
    [("max_response_time_ms", "600000"), ("llm_call_timeout", "600"), ("hedge_share", "0")];

pub(in crate::figures) fn measure() -> anyhow::Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let provider = Provider::start(&["--latency", "600", "--max-concurrent", "10", "--queue"])?;
    let batched = [&PATIENT[..], &[("parallel_llm_calls", "10")]].concat();
    let single = [&batched[..], &[("enable_request_batching", "false")]].concat();
    let batched = many_users(&runtime, provider.system(&batched)?, N_BATCHED)?;
    let single = many_users(&runtime, provider.system(&single)?, N_SINGLE)?;

    let near = Provider::start(&["--latency", "5"])?;
    let with = near.system(&PATIENT)?;
    let without = near.system(&[&PATIENT[..], &[("enable_request_batching", "false")]].concat())?;
    let ask = |system: &ClassificationSystem, round: u64| {
        let query = format!("what is known of compound {round}");
        let started = Instant::now();
        let outcome = runtime.block_on(system.classify(&Request::new(&query)))?;
        let took = started.elapsed();
        ensure!(outcome.metadata.source == Source::Llm, "the model has not answered: {:?}", outcome.metadata);
        Ok(took.as_secs_f64() * 1e3)
    };
    let turns = Turns::take(N_ROUNDS, |round| ask(&with, round), |round| ask(&without, round))?;
    Ok(vec![
        Figure::new("batching.calls_per_question", batched.calls_per_question, "calls")
            .with_goal(Goal::AtMost(0.15)),
        Figure::new("batching.mean_ms", batched.mean_ms, "ms"),
        Figure::new("batching.without_mean_ms", single.mean_ms, "ms"),
        Figure::new("batching.mean_ratio", batched.mean_ms / single.mean_ms, "x")
            .with_goal(Goal::AtMost(1.0)),
        Figure::new("batching.one_user_adds_ms", turns.ours - turns.bare, "ms").with_goal(Goal::AtMost(1.0)),
    ])
}

struct Seen {
    mean_ms: f64,
    calls_per_question: f64,
}

fn many_users(runtime: &Runtime, system: ClassificationSystem, n_questions: u64) -> anyhow::Result<Seen> {
    let system = Arc::new(system);
    let next = Arc::new(AtomicU64::new(0));
    let users: Vec<_> = (0..N_USERS)
        .map(|_| {
            let (system, next) = (system.clone(), next.clone());
            runtime.spawn(async move {
                let mut times = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= n_questions {
                        return anyhow::Ok(times);
                    }
                    let query = format!("what is known of compound {number}");
                    let started = Instant::now();
                    let outcome = system.classify(&Request::new(&query)).await?;
                    times.push(started.elapsed());
                    let source = outcome.metadata.source;
                    ensure!(source == Source::Llm, "the model has not answered: {:?}", outcome.metadata);
                }
            })
        })
        .collect();
    let mut latencies = Latencies::new()?;
    let mut total = 0.0;
    for user in users {
        for time in runtime.block_on(user)?? {
            total += time.as_secs_f64();
            latencies.record(time);
        }
    }
    let path = system.llm().context("the system has no language model")?;
    let n_calls: u64 = path.models().iter().map(|model| model.meter.total.n_calls).sum();
    runtime.block_on(system.close());
    Ok(Seen {
        mean_ms: total * 1e3 / n_questions as f64,
        calls_per_question: n_calls as f64 / n_questions as f64,
    })
}
