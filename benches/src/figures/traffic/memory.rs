//! Whether a million requests leave memory where it was.

use anyhow::{Context as _, ensure};
use classifier_core::{ClassificationSystem, Config, Request};

use crate::Questions;
use crate::figures::{Figure, Goal};

/// Requests after which memory is looked at first: the cache is full by then.
const N_BEFORE: u64 = 100_000;
/// Requests between the two looks.
const N_BETWEEN: u64 = 1_000_000;
/// Three in four ask for something that was asked just before, and is cached.
const REPEATED: u64 = 4;

pub(in crate::figures) fn measure(questions: &Questions) -> anyhow::Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut config = Config::default();
        config.l2.enabled = false;
        let system = ClassificationSystem::new(&config)?;
        ask(&system, questions, 0..N_BEFORE).await?;
        let before = resident_megabytes()?;
        ask(&system, questions, N_BEFORE..N_BEFORE + N_BETWEEN).await?;
        let after = resident_megabytes()?;
        ensure!(system.stats().requests.total == N_BEFORE + N_BETWEEN, "some requests were not counted");
        system.close().await;
        Ok(vec![
            Figure::new("traffic.resident_before_mb", before, "MB"),
            Figure::new("traffic.resident_after_mb", after, "MB"),
            Figure::new("traffic.resident_growth", after / before, "x").with_goal(Goal::AtMost(1.05)),
        ])
    })
}

async fn ask(
    system: &ClassificationSystem,
    questions: &Questions,
    numbers: std::ops::Range<u64>,
) -> anyhow::Result<()> {
    let texts = questions.texts();
    for number in numbers {
        let new = number / REPEATED;
        let query = format!("{} {new}", texts[new as usize % texts.len()]);
        system.classify(&Request::new(&query)).await?;
    }
    Ok(())
}

/// What of this process is in memory now.
pub(super) fn resident_megabytes() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes =
        line.and_then(|line| line.split_whitespace().next()).and_then(|text| text.parse::<f64>().ok());
    kilobytes.map(|kilobytes| kilobytes / 1024.0).context("/proc/self/status does not say what is resident")
}
