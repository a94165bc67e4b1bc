//! `hp-classify cache forget` and `flush`: drop answers everywhere, and say where that was done.

use std::io::Write as _;

use anyhow::bail;
use cache_tiers::{CacheError, CacheLevel, Forget, TierState};
use classifier_core::{ClassificationSystem, Context, Request};
use serde_json::{Map, json};

use super::{LOWER, state_in_words};
use crate::terminal;

/// What became of forgetting in one cache.
struct Outcome {
    level: CacheLevel,
    state: TierState,
    result: Result<(), CacheError>,
}

pub(super) async fn forget(
    system: &ClassificationSystem,
    queries: &[String],
    context: &Context,
    json: bool,
) -> anyhow::Result<()> {
    let mut what = Vec::new();
    for query in queries {
        what.push(Forget::Key(system.key(&Request { context: context.clone(), ..Request::new(query) })?));
    }
    everywhere(system, &what, json).await
}

pub(super) async fn flush(system: &ClassificationSystem, json: bool) -> anyhow::Result<()> {
    everywhere(system, &[Forget::All], json).await
}

async fn everywhere(system: &ClassificationSystem, what: &[Forget], json: bool) -> anyhow::Result<()> {
    let mut outcomes = Vec::new();
    // Each cache by itself, since the answer is to say which could not. This process has nothing in its memory.
    for level in LOWER {
        let Some(tier) = system.cache().tier(level) else { continue };
        let mut result = Ok(());
        for &what in what {
            result = result.and(tier.forget(what).await);
        }
        outcomes.push(Outcome { level, state: tier.stats().state, result });
    }
    let is_done = |level| outcomes.iter().any(|outcome| outcome.level == level && outcome.result.is_ok());
    let replicas_told = is_done(CacheLevel::L3Distributed);
    // Whoever has the disk open hears of it through Redis.
    let is_covered =
        |outcome: &Outcome| outcome.result.is_ok() || (replicas_told && outcome.state == TierState::Locked);
    if json {
        let keys: Vec<_> = what
            .iter()
            .filter_map(|what| match what {
                Forget::Key(key) => Some(key.to_string()),
                Forget::All => None,
            })
            .collect();
        let tiers: Map<_, _> = outcomes
            .iter()
            .map(|outcome| {
                let error = outcome.result.as_ref().err().map(ToString::to_string);
                let state = json!({"done": error.is_none(), "state": outcome.state, "error": error});
                (outcome.level.to_string(), state)
            })
            .collect();
        let all = what.contains(&Forget::All);
        let told = json!({"all": all, "keys": keys, "tiers": tiers, "replicas_told": replicas_told});
        writeln!(std::io::stdout(), "{told}")?;
    } else {
        let mut out = terminal::stdout();
        for outcome in &outcomes {
            writeln!(out, "{}: {}", outcome.level, in_words(outcome, replicas_told))?;
        }
        let replicas = if replicas_told {
            "told through Redis; those cut off learn of it when they are back"
        } else {
            "not told; without a Redis each process keeps what it has in memory for l1_cache_ttl"
        };
        writeln!(out, "replicas: {replicas}")?;
    }
    if outcomes.iter().all(is_covered) {
        return Ok(());
    }
    if outcomes.iter().any(|outcome| outcome.result.is_ok()) {
        bail!("it was not forgotten everywhere");
    }
    bail!("nothing could be forgotten")
}

fn in_words(outcome: &Outcome, replicas_told: bool) -> String {
    match &outcome.result {
        Ok(()) => "forgotten".to_owned(),
        Err(_) if replicas_told && outcome.state == TierState::Locked => {
            "in use by another process, which forgets when it hears of it through Redis".to_owned()
        }
        Err(error) if outcome.state == TierState::Ready => format!("not forgotten: {error}"),
        Err(_) => format!("not forgotten: it {}", state_in_words(outcome.level, outcome.state)),
    }
}
