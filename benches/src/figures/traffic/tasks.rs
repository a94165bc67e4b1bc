//! Cached answers to 64 tasks at once, beside those to one.

use std::sync::Arc;
use std::time::Instant;

use classifier_core::{ClassificationSystem, Config, Request};
use tokio::runtime::Runtime;

use crate::Questions;
use crate::figures::Figure;
use crate::figures::rounds::Rounds;

const N_TASKS: u64 = 64;
/// Answers of a round, of all tasks together.
const N_ANSWERS: u64 = 512_000;
/// Odd, so that the median is one of them.
const N_ROUNDS: u64 = 7;

pub(in crate::figures) fn measure(questions: &Questions) -> anyhow::Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut config = Config::default();
    config.l2.enabled = false;
    let system = Arc::new(ClassificationSystem::new(&config)?);
    let texts: Arc<[String]> = questions.texts().iter().take(1_000).cloned().collect();
    let (mut one, mut many, mut gain) = (Rounds::default(), Rounds::default(), Rounds::default());
    for round in 0..=N_ROUNDS {
        let alone = per_second(&runtime, &system, &texts, 1)?;
        let together = per_second(&runtime, &system, &texts, N_TASKS)?;
        // The first round warms up.
        if round > 0 {
            one.push(alone);
            many.push(together);
            gain.push(together / alone);
        }
    }
    Ok(vec![
        Figure::new("tasks.1.cached_per_s", one.median(), "1/s"),
        Figure::new("tasks.64.cached_per_s", many.median(), "1/s"),
        Figure::new("tasks.64_to_1", gain.median(), "x"),
    ])
}

fn per_second(
    runtime: &Runtime,
    system: &Arc<ClassificationSystem>,
    texts: &Arc<[String]>,
    n_tasks: u64,
) -> anyhow::Result<f64> {
    let started = Instant::now();
    let tasks: Vec<_> = (0..n_tasks)
        .map(|task| {
            let (system, texts) = (system.clone(), texts.clone());
            runtime.spawn(async move {
                for number in 0..N_ANSWERS / n_tasks {
                    let text = &texts[(number * 31 + task * 17) as usize % texts.len()];
                    system.classify(&Request::new(text)).await?;
                }
                Ok::<_, classifier_core::Error>(())
            })
        })
        .collect();
    for task in tasks {
        runtime.block_on(task)??;
    }
    Ok(N_ANSWERS as f64 / started.elapsed().as_secs_f64())
}
