//! `hp-classify cache inspect`: what each cache holds under a key.

use std::io::Write as _;

use cache_tiers::{Key, Probe};
use classifier_core::{ClassificationSystem, Context, Request};
use serde::Serialize;

use super::{LOWER, state_in_words};
use crate::terminal::{self, BOLD};

/// What one cache holds; the names are those of the JSON.
#[derive(Serialize)]
struct Found {
    tier: String,
    present: bool,
    ttl_seconds: Option<f64>,
    /// As it is stored, with what the tier adds.
    bytes: Option<u64>,
    value: Option<serde_json::Value>,
    /// Why the cache could not be looked into.
    problem: Option<String>,
}

/// All caches; the names are those of the JSON.
#[derive(Serialize)]
struct Inspected {
    key: String,
    tiers: Vec<Found>,
}

pub(super) async fn run(
    system: &ClassificationSystem,
    what: &str,
    context: Context,
    json: bool,
) -> anyhow::Result<()> {
    let key = match what.parse::<Key>() {
        Ok(key) => key,
        Err(_) => system.key(&Request { context, ..Request::new(what) })?,
    };
    let mut tiers = Vec::new();
    for level in LOWER {
        let Some(tier) = system.cache().tier(level) else { continue };
        let found = match tier.probe(&key) {
            Probe::Hit(entry) => Ok(Some(entry)),
            Probe::Miss => Ok(None),
            Probe::Pending => tier.fetch(&key).await,
        };
        let state = tier.stats().state;
        let (entry, problem) = match found {
            Ok(Some(entry)) => (Some(entry), None),
            Ok(None) if state == cache_tiers::TierState::Ready => (None, None),
            Ok(None) => (None, Some(format!("it {}", state_in_words(level, state)))),
            Err(error) => (None, Some(error.to_string())),
        };
        let stored = if entry.is_some() { system.stored(level, &key).await.ok().flatten() } else { None };
        tiers.push(Found {
            tier: level.to_string(),
            present: entry.is_some(),
            ttl_seconds: entry.as_ref().map(|entry| entry.ttl.as_secs_f64()),
            bytes: stored.map(|stored| stored.bytes),
            value: entry.map(|entry| serde_json::to_value(&*entry.value)).transpose()?,
            problem,
        });
    }
    let inspected = Inspected { key: key.to_string(), tiers };
    if json {
        let text = serde_json::to_string(&inspected)?;
        writeln!(std::io::stdout(), "{text}")?;
        return Ok(());
    }
    let mut out = terminal::stdout();
    writeln!(out, "{BOLD}{}{BOLD:#}", inspected.key)?;
    for Found { tier, ttl_seconds, bytes, value, problem, .. } in inspected.tiers {
        match (value, problem) {
            (Some(value), _) => {
                let (ttl, bytes) = (ttl_seconds.unwrap_or_default(), bytes.unwrap_or_default());
                writeln!(out, "{tier}: for {ttl:.0} s more, {bytes} bytes")?;
                writeln!(out, "{value:#}")?;
            }
            (None, Some(problem)) => writeln!(out, "{tier}: not seen, because {problem}")?,
            (None, None) => writeln!(out, "{tier}: not there")?,
        }
    }
    Ok(())
}
