//! A call nobody waits for any more must not keep the model busy: what a server does then, and what our program does.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde_json::json;

use super::http::{Host, wait_for};
use super::{PATIENCE, Scene};

/// What is asked for, which takes far longer than the check.
const N_ASKED: u64 = 400;
/// Pieces that are read before the call is given up.
const N_READ: usize = 5;
/// How long a slot may stay busy with what nobody waits for.
const FREED_WITHIN: Duration = Duration::from_secs(60);
/// A question about which the model has a lot to say.
const QUESTION: &str = "Which genes cause phenylketonuria?";

/// One of the places in which a llama.cpp server works at a request.
#[derive(Debug, Deserialize)]
struct Slot {
    is_processing: bool,
}

/// Gives a long reply up by hand.
pub(super) fn by_hand(scene: &Scene) -> anyhow::Result<()> {
    let Some(before) = tokens_written(&scene.host)? else { return said_nothing() };
    let body = json!({
        "model": "any",
        "stream": true,
        "max_tokens": N_ASKED,
        "ignore_eos": true,
        "messages": [{"role": "user", "content": "Tell a long story about a river and the towns along it."}],
    });
    let mut events = scene.host.post("/v1/chat/completions", &body.to_string())?;
    for _ in 0..N_READ {
        ensure!(events.next()?, "the stream ended before it was given up");
    }
    let n_busy = busy_slots(&scene.host)?;
    ensure!(n_busy == 1, "{n_busy} slots are busy with one request");
    drop(events);
    let took = freed(&scene.host)?;
    let n_written = tokens_written(&scene.host)?.unwrap_or_default() - before;
    println!(
        "   {N_ASKED} tokens asked for, given up after {N_READ} pieces: the slot was free {:.2} s later, {n_written} tokens were written",
        took.as_secs_f64()
    );
    ensure!(n_written < N_ASKED / 2, "the server went on writing");
    Ok(())
}

/// Compares what is written for an answer whose rest is waited for with one whose rest is cut.
pub(super) fn by_program(scene: &Scene) -> anyhow::Result<()> {
    let mut n_written = Vec::new();
    for (early, what) in [("continue", "the rest is read"), ("cut", "the rest is cut")] {
        let Some(before) = tokens_written(&scene.host)? else { return said_nothing() };
        let patience = PATIENCE.as_secs().to_string();
        let mut asking = scene.program.asking(&[
            ("early_acceptance", early),
            ("max_response_time_ms", &format!("{patience}000")),
            ("llm_call_timeout", &patience),
            ("hedge_share", "0"),
            ("llm_retries", "0"),
        ])?;
        let answer = asking.ask(QUESTION, PATIENCE + FREED_WITHIN)?;
        let reason = answer.metadata.degraded_reason.unwrap_or_default();
        ensure!(answer.metadata.source == "llm", "the model has not answered: {reason}");
        // The process is still there, so it is not its end that frees the slot.
        let took = freed(&scene.host)?;
        let n_tokens = tokens_written(&scene.host)?.unwrap_or_default() - before;
        asking.finish()?;
        println!(
            "   {early:<9} {:<15} after {:.1} s; {what}: no slot busy {:.2} s later, {n_tokens} tokens were written",
            answer.category,
            answer.metadata.response_time_ms / 1e3,
            took.as_secs_f64()
        );
        n_written.push(n_tokens);
    }
    match n_written[..] {
        [whole, cut] if cut < whole => Ok(()),
        _ => bail!("cutting a reply saved no tokens"),
    }
}

/// Waits until the server works at nothing, and says how long that took.
fn freed(host: &Host) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let is_free = wait_for(FREED_WITHIN, || Ok((busy_slots(host)? == 0).then_some(())))?;
    ensure!(is_free.is_some(), "a slot was still busy after {} s", FREED_WITHIN.as_secs());
    Ok(began.elapsed())
}

fn busy_slots(host: &Host) -> anyhow::Result<usize> {
    let slots: Vec<Slot> =
        serde_json::from_str(&host.get("/slots")?.body).context("cannot read /slots of the server")?;
    Ok(slots.iter().filter(|slot| slot.is_processing).count())
}

/// How many tokens the server has ever written, those of calls given up included; None where it does not say.
fn tokens_written(host: &Host) -> anyhow::Result<Option<u64>> {
    let metrics = host.get("/metrics")?;
    Ok((metrics.status == 200).then(|| counter(&metrics.body, "llamacpp:tokens_predicted_total")).flatten())
}

fn counter(metrics: &str, name: &str) -> Option<u64> {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    // Prometheus writes numbers as it likes; these are whole.
    value.trim().parse::<f64>().ok().filter(|value| *value >= 0.0).map(|value| value as u64)
}

fn said_nothing() -> anyhow::Result<()> {
    println!("   not looked at: the server has no /metrics of llama.cpp");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_its_whole_name() {
        let metrics = "# HELP llamacpp:tokens_predicted_total Number\nllamacpp:tokens_predicted_total_max 9\nllamacpp:tokens_predicted_total 1.2e3\n";
        assert_eq!(counter(metrics, "llamacpp:tokens_predicted_total"), Some(1200));
        assert_eq!(counter(metrics, "llamacpp:prompt_tokens_total"), None);
        assert_eq!(counter("a -1", "a"), None);
    }
}
