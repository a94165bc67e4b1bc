//! Each fault alone, all the time, until it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use classifier_core::ClassificationSystem;
use llm_optimizer::decorate::{BreakerState, BreakerStats};
use llm_sim::{Config, FAULTS, Fault, Faults, Latency};

use super::{Given, LIMIT, ROWS, World, ask_all, slowest};

/// So many trials may be under way at once while a breaker is half open.
const N_TRIALS: u64 = 2;

/// What one fault has done.
struct Suffered {
    given: Vec<Given>,
    has_opened: bool,
    /// Requests that reached the provider while the breaker kept them from it, and how many it may let through.
    while_open: Option<(u64, u64)>,
    recovered_after: Option<Duration>,
}

fn breaker(system: &ClassificationSystem) -> BreakerStats {
    system.llm().unwrap().models()[0].breaker
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_alone_costs_nobody_an_answer() {
    let simulation = Config {
        latency: Latency::Fixed(Duration::from_millis(20)),
        per_token: Duration::from_millis(1),
        ..Config::default()
    };
    let world = World::new(simulation, &[]).await;
    println!(
        "| fault | answered | slowest | by | breaker | requests while open (at most) | closed again after |\n\
         | --- | --- | --- | --- | --- | --- | --- |"
    );
    for &(fault, _, _) in FAULTS {
        let outcome = suffer(&world, fault).await;
        let mut by: BTreeMap<String, usize> = BTreeMap::new();
        for given in &outcome.given {
            let metadata = &given.answer.metadata;
            let what = metadata.degraded_reason.map_or("llm".to_owned(), |reason| format!("{reason:?}"));
            *by.entry(what).or_default() += 1;
        }
        let by: Vec<String> = by.into_iter().map(|(what, n)| format!("{n} {what}")).collect();
        println!(
            "| {} | {} of 200 | {:.0} ms | {} | {} | {} | {} |",
            fault.name(),
            outcome.given.len(),
            slowest(&outcome.given).as_secs_f64() * 1e3,
            by.join(", "),
            if outcome.has_opened { "opens" } else { "stays closed" },
            outcome.while_open.map_or_else(String::new, |(n, most)| format!("{n} ({most})")),
            outcome.recovered_after.map_or_else(String::new, |after| format!("{:.1} s", after.as_secs_f64())),
        );
        assert_eq!(outcome.given.len(), 200);
        assert!(slowest(&outcome.given) <= LIMIT, "{fault:?}: {:?}", slowest(&outcome.given));
        let is_degraded = outcome.given.iter().any(|given| given.answer.metadata.degraded);
        // Who is told when to come back sends nothing until then, so there may be too few failures to open anything.
        let is_held_back = fault == Fault::RateLimitedRetryAfter;
        assert!(
            outcome.has_opened || !is_degraded || is_held_back,
            "{fault:?} fails calls and opens no breaker"
        );
        if let Some((n, most)) = outcome.while_open {
            assert!(
                n <= most,
                "{fault:?}: {n} requests while the breaker was open, at most {most} are trials"
            );
        }
    }
}

/// A system that knows a healthy provider, then one fault all the time, then health again.
async fn suffer(world: &World, fault: Fault) -> Suffered {
    let simulator = &world.simulator;
    // Every question a call, so that there are enough to open a breaker.
    let flags =
        [("classifier_mode", "llm"), ("parallel_llm_calls", "50"), ("enable_request_batching", "false")];
    let (system, _folder) = World::system(simulator, &flags);
    let system = Arc::new(system);
    let mut queries = ROWS.iter().map(|row| row.query.clone());
    let healthy = ask_all(&system, queries.by_ref().take(20), 5).await;
    assert!(healthy.iter().all(|given| !given.answer.metadata.degraded), "{healthy:?}");

    simulator.set_faults(Faults::always(fault)).await;
    let mut given = ask_all(&system, queries.by_ref().take(100), 50).await;
    let before = (breaker(&system), simulator.stats().requests);
    given.extend(ask_all(&system, queries.by_ref().take(100), 50).await);
    let after = (breaker(&system), simulator.stats().requests);
    let has_opened = after.0.n_openings > 0;
    let while_open = (before.0.state == BreakerState::Open).then(|| {
        let n_half_openings = after.0.n_openings - before.0.n_openings + 1;
        (after.1 - before.1, N_TRIALS * n_half_openings)
    });

    simulator.set_faults(Faults::none()).await;
    let mended = Instant::now();
    while breaker(&system).state != BreakerState::Closed {
        assert!(mended.elapsed() < Duration::from_secs(60), "{fault:?}: the breaker stays open");
        ask_all(&system, queries.by_ref().take(1), 1).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let recovered_after = has_opened.then(|| mended.elapsed());
    system.close().await;
    Suffered { given, has_opened, while_open, recovered_after }
}
