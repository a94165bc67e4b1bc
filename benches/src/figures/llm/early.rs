//! What accepting an answer early saves, of a reply whose tokens drip.

use std::time::Instant;

use anyhow::ensure;
use classifier_core::{ClassificationSystem, Request, Source};

use super::provider::Provider;
use crate::Questions;
use crate::figures::rounds::{Rounds, Turns};
use crate::figures::{Figure, Goal};

/// Questions each way; one takes up to a second.
const N_QUESTIONS: u64 = 21;

pub(in crate::figures) fn measure(questions: &Questions) -> anyhow::Result<Vec<Figure>> {
    let provider = Provider::start(&["--latency", "fixed:100", "--per-token-ms", "20"])?;
    let early = provider.system(&[("early_acceptance", "continue"), ("hedge_share", "0")])?;
    let whole = provider.system(&[("early_acceptance", "off"), ("hedge_share", "0")])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let texts = questions.texts();
    let ask = |system: &ClassificationSystem, round: u64| -> anyhow::Result<f64> {
        let query = &texts[round as usize % texts.len()];
        let started = Instant::now();
        let answer = runtime.block_on(system.classify(&Request::new(query)))?;
        let took = started.elapsed();
        ensure!(answer.metadata.source == Source::Llm, "the model has not answered: {:?}", answer.metadata);
        Ok(took.as_secs_f64() * 1e3)
    };
    let turns = Turns::take(N_QUESTIONS, |round| ask(&early, round), |round| ask(&whole, round))?;
    let mut saved = Rounds::default();
    saved.push(1.0 - turns.ratio);
    Ok(vec![
        Figure::new("llm.whole_reply_p50_ms", turns.bare, "ms"),
        Figure::new("llm.early_answer_p50_ms", turns.ours, "ms"),
        Figure::new("llm.early_saves", saved.median(), "share").with_goal(Goal::AtLeast(0.4)),
    ])
}
