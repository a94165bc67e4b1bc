//! The whole pipeline within a process: questions it has not seen, then the same ones from the cache.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use classifier_core::{ClassificationSystem, Config, Request, embedded_classifier};

use super::rounds::{Latencies, N_ROUNDS, Rounds, drawn};
use super::{Figure, Goal};
use crate::Questions;

/// How often a round asks for something that is in the cache.
const N_CACHED: usize = 10_000;

pub(super) fn measure(questions: &Questions) -> anyhow::Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    // One task asks everything, so that entering the runtime is not measured; a service is in it already.
    runtime.block_on(measure_within(questions))
}

async fn measure_within(questions: &Questions) -> anyhow::Result<Vec<Figure>> {
    let mut config = Config::default();
    // The way within the process is measured, and the user's cache on disk is left alone.
    config.l2.enabled = false;
    let classifier = Arc::new(embedded_classifier(&config)?);
    // A longer file would make room for its last answers with its first.
    let n_kept = questions.texts().len().min(config.l1.max_entries / 2);
    let texts = &questions.texts()[..n_kept];

    let (mut cached, mut uncached) = (Rounds::default(), Rounds::default());
    // The first round warms up.
    for round in 0..=N_ROUNDS {
        // A new system knows no answer yet.
        let system = ClassificationSystem::builder(&config).with_classifier(classifier.clone()).build()?;
        let unseen = ask(&system, texts.iter(), false).await?;
        let draws = drawn(N_CACHED, texts.len(), round);
        let seen = ask(&system, draws.into_iter().map(|index| &texts[index]), true).await?;
        if round > 0 {
            uncached.push(unseen.micros_at(0.5));
            cached.push(seen.micros_at(0.5));
        }
    }
    Ok(vec![
        Figure::new("classify.cached.p50_us", cached.median(), "µs").with_goal(Goal::AtMost(2.0)),
        Figure::new("classify.uncached.p50_us", uncached.median(), "µs").with_goal(Goal::AtMost(40.0)),
    ])
}

/// Asks one after another, all of which must be cached, or none.
async fn ask(
    system: &ClassificationSystem,
    texts: impl Iterator<Item = &String>,
    is_cached: bool,
) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::new()?;
    for text in texts {
        let request = Request::new(text);
        let started = Instant::now();
        let answer = system.classify(black_box(&request)).await?;
        latencies.record(started.elapsed());
        ensure!(answer.metadata.cache_hit == is_cached, "cached is {} of `{text}`", !is_cached);
        black_box(answer);
    }
    Ok(latencies)
}
