//! Tokens a question takes, as the provider counts them, beside those of the Python system.

use anyhow::{Context as _, ensure};
use classifier_core::{Request, Verdict};
use llm_optimizer::{ReplyFormat, TokenCounter};

use super::provider::Provider;
use crate::Questions;
use crate::figures::{Figure, Goal};

/// What the Python system's main prompt takes: about 700 tokens in, 150 out.
const PYTHON: f64 = 850.0;
const N_QUESTIONS: usize = 200;
const N_IN_BATCH: usize = 10;

pub(in crate::figures) fn measure(questions: &Questions) -> anyhow::Result<Vec<Figure>> {
    let provider = Provider::start(&[])?;
    let system = provider.system(&[("early_acceptance", "off"), ("hedge_share", "0")])?;
    let path = system.llm().context("the system has no language model")?;
    let classifier = path.cascade().llm();
    let counter = TokenCounter::for_model("gpt-4o-mini");
    let texts = &questions.texts()[..N_QUESTIONS.min(questions.texts().len())];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut n_compact = 0;
    let (mut single, mut schema) = (0, 0);
    for text in texts {
        let request = Request::new(text);
        if let ReplyFormat::Schema(form) = &classifier.preview(&request).request.format {
            schema = counter.count_text(&form.schema);
        }
        let verdict = runtime.block_on(system.inside(path.ask(&request)))?;
        n_compact += usize::from(verdict.llm.as_ref().is_some_and(|llm| llm.compact));
        single += taken(&verdict)?;
    }
    let mut batched = 0;
    for texts in texts.chunks_exact(N_IN_BATCH) {
        let requests: Vec<Request<'_>> = texts.iter().map(|text| Request::new(text)).collect();
        for verdict in runtime.block_on(system.inside(classifier.classify_many(&requests))) {
            batched += taken(&verdict?)?;
        }
    }
    ensure!(classifier_is_whole(&path.stats()), "a batch has fallen apart");
    let n_batched = texts.len() / N_IN_BATCH * N_IN_BATCH;
    let (single, batched) = (f64::from(single) / texts.len() as f64, f64::from(batched) / n_batched as f64);
    Ok(vec![
        Figure::new("llm.tokens", single, "tokens a question"),
        Figure::new("llm.tokens_to_python", single / PYTHON, "ratio").with_goal(Goal::AtMost(0.35)),
        Figure::new("llm.tokens_batched", batched, "tokens a question"),
        Figure::new("llm.tokens_batched_to_python", batched / PYTHON, "ratio").with_goal(Goal::AtMost(0.15)),
        Figure::new("llm.compact_share", n_compact as f64 / texts.len() as f64, "share"),
        Figure::new("llm.schema_tokens", f64::from(schema), "tokens a call"),
    ])
}

/// Tokens of prompt and reply by the provider's count.
fn taken(verdict: &Verdict) -> anyhow::Result<u32> {
    let llm = verdict.llm.as_ref().context("the model has not answered")?;
    let (input, output) = (llm.input_tokens, llm.output_tokens);
    Ok(input.context("no tokens are told")? + output.context("no tokens are told")?)
}

fn classifier_is_whole(stats: &classifier_core::LlmStats) -> bool {
    stats.fallen_apart == 0 && stats.repairs == 0
}
