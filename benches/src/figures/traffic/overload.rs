//! More questions than the provider can take, sent on schedule whether or not those before have been answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use classifier_core::{ClassificationSystem, Priority, Request, Source};
use tokio::runtime::Runtime;

use super::memory::resident_megabytes;
use crate::figures::llm::Provider;
use crate::figures::rounds::Latencies;
use crate::figures::{Figure, Goal};

/// How long each load lasts.
const LASTS: Duration = Duration::from_secs(30);
/// Questions a second that the provider can take: ten at a time, ten in each, 600 ms.
const CAPACITY: f64 = 10.0 * 10.0 / 0.6;
/// One question in so many is urgent.
const URGENT_EACH: u64 = 10;

/// What came of a load.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    slowest_ms: f64,
    p99_ms: f64,
    /// Answers of the model a second.
    goodput: f64,
    /// Answers of the model, as a share of those to urgent questions.
    urgent_share: f64,
    resident_mb: f64,
}

pub(in crate::figures) fn measure() -> anyhow::Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut seen = [Seen::default(); 4];
    for (load, seen) in [1.0, 2.0, 5.0, 20.0].into_iter().zip(&mut seen) {
        let provider = Provider::start(&["--latency", "600", "--max-concurrent", "10", "--queue"])?;
        let system = Arc::new(provider.system(&[("parallel_llm_calls", "10")])?);
        *seen = suffer(&runtime, &system, load * CAPACITY)?;
        runtime.block_on(system.close());
    }
    let [one, two, five, twenty] = seen;
    let in_time = Goal::AtMost(2_000.0);
    Ok(vec![
        Figure::new("overload.1x.slowest_ms", one.slowest_ms, "ms").with_goal(in_time),
        Figure::new("overload.1x.p99_ms", one.p99_ms, "ms"),
        Figure::new("overload.1x.llm_per_s", one.goodput, "1/s"),
        Figure::new("overload.1x.urgent_llm", one.urgent_share, "share"),
        Figure::new("overload.1x.resident_mb", one.resident_mb, "MB"),
        Figure::new("overload.2x.slowest_ms", two.slowest_ms, "ms").with_goal(in_time),
        Figure::new("overload.2x.p99_ms", two.p99_ms, "ms"),
        Figure::new("overload.2x.llm_per_s", two.goodput, "1/s"),
        Figure::new("overload.2x.urgent_llm", two.urgent_share, "share").with_goal(Goal::AtLeast(0.99)),
        Figure::new("overload.2x.resident_mb", two.resident_mb, "MB"),
        Figure::new("overload.5x.slowest_ms", five.slowest_ms, "ms").with_goal(in_time),
        Figure::new("overload.5x.p99_ms", five.p99_ms, "ms"),
        Figure::new("overload.5x.llm_per_s", five.goodput, "1/s"),
        Figure::new("overload.5x.urgent_llm", five.urgent_share, "share"),
        Figure::new("overload.5x.resident_mb", five.resident_mb, "MB"),
        Figure::new("overload.20x.slowest_ms", twenty.slowest_ms, "ms").with_goal(in_time),
        Figure::new("overload.20x.p99_ms", twenty.p99_ms, "ms"),
        Figure::new("overload.20x.llm_per_s", twenty.goodput, "1/s"),
        Figure::new("overload.20x.urgent_llm", twenty.urgent_share, "share"),
        Figure::new("overload.20x.resident_mb", twenty.resident_mb, "MB").with_goal(Goal::AtMost(256.0)),
        Figure::new("overload.20x.goodput_share", twenty.goodput / one.goodput, "of 1x")
            .with_goal(Goal::AtLeast(0.9)),
    ])
}

/// Asks so many questions a second, none of which was asked before, one in ten of them urgently.
fn suffer(runtime: &Runtime, system: &Arc<ClassificationSystem>, rate: f64) -> anyhow::Result<Seen> {
    let n_questions = (rate * LASTS.as_secs_f64()) as u64;
    let mut under_way = Vec::with_capacity(n_questions as usize);
    let started = Instant::now();
    for number in 0..n_questions {
        let due = started + Duration::from_secs_f64(number as f64 / rate);
        while let Some(left) = due.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
        let system = system.clone();
        let is_urgent = number % URGENT_EACH == 0;
        under_way.push(runtime.spawn(async move {
            let priority = if is_urgent { Priority::High } else { Priority::Normal };
            let query = format!("what is known of compound {number}");
            let outcome = system.classify(&Request { priority, ..Request::new(&query) }).await?;
            anyhow::Ok((is_urgent, outcome.metadata.source == Source::Llm, due.elapsed()))
        }));
    }
    let mut latencies = Latencies::new()?;
    let (mut slowest, mut n_llm) = (Duration::ZERO, 0_u64);
    let (mut n_urgent, mut n_urgent_llm) = (0_u64, 0_u64);
    for question in under_way {
        let (is_urgent, is_llm, took) = runtime.block_on(question)??;
        latencies.record(took);
        slowest = slowest.max(took);
        n_llm += u64::from(is_llm);
        n_urgent += u64::from(is_urgent);
        n_urgent_llm += u64::from(is_urgent && is_llm);
    }
    Ok(Seen {
        slowest_ms: slowest.as_secs_f64() * 1e3,
        p99_ms: latencies.micros_at(0.99) / 1e3,
        goodput: n_llm as f64 / started.elapsed().as_secs_f64(),
        urgent_share: n_urgent_llm as f64 / n_urgent as f64,
        resident_mb: resident_megabytes()?,
    })
}
