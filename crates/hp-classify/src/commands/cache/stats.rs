//! `hp-classify cache stats`: what each cache holds and whether it is at work.

use std::io::Write as _;

use cache_tiers::{CacheStats, TierStats};
use classifier_core::{ClassificationSystem, MissingCache};
use serde::Serialize;
use serde_json::{Value, json};

use super::{LOWER, state_in_words};
use crate::terminal::{self, BOLD, DIM};

/// The statistics under their original names, and the caches that are asked for and not there.
#[derive(Serialize)]
struct Json {
    #[serde(flatten)]
    stats: CacheStats,
    missing: Vec<Value>,
}

pub(super) fn run(system: &ClassificationSystem, json: bool) -> anyhow::Result<()> {
    let stats = system.cache_stats();
    let missing = system.missing_caches();
    if json {
        let missing = missing
            .iter()
            .map(|MissingCache { level, reason }| json!({"level": level, "reason": reason}))
            .collect();
        let text = serde_json::to_string(&Json { stats, missing })?;
        writeln!(std::io::stdout(), "{text}")?;
        return Ok(());
    }
    let mut out = terminal::stdout();
    let columns = [("l1_cache", stats.l1_cache), ("l2_cache", stats.l2_cache), ("l3_cache", stats.l3_cache)];
    write!(out, "{:<16}", "")?;
    for (name, _) in &columns {
        write!(out, "{BOLD}{name:>16}{BOLD:#}")?;
    }
    writeln!(out)?;
    let columns = columns.map(|(_, tier)| fields(&tier));
    let [first, ..] = &columns;
    for (row, (name, _)) in first.iter().enumerate() {
        write!(out, "{name:<16}")?;
        for column in &columns {
            write!(out, "{:>16}", column.get(row).map_or("", |(_, value)| value))?;
        }
        writeln!(out)?;
    }
    let overall = stats.overall;
    writeln!(
        out,
        "\n{BOLD}overall{BOLD:#}  hit_rate {:.3}, total_requests {}, total_hits {}, avg_hit_time_ms {:.4}",
        overall.hit_rate, overall.total_requests, overall.total_hits, overall.avg_hit_time_ms
    )?;
    writeln!(
        out,
        "{DIM}Look-ups and writes are those of this command; size and bytes are what the caches hold.{DIM:#}"
    )?;
    for level in LOWER {
        if let Some(tier) = system.cache().tier(level) {
            writeln!(out, "{level} {}", state_in_words(level, tier.stats().state))?;
        }
    }
    for MissingCache { level, reason } in missing {
        writeln!(out, "{level} is missing: {reason}")?;
    }
    Ok(())
}

/// The fields that say something to an operator, by the names they have in JSON.
fn fields(tier: &TierStats) -> Vec<(&'static str, String)> {
    let TierStats {
        hits,
        misses,
        hit_rate,
        size,
        max_size,
        enabled,
        bytes,
        max_bytes,
        errors,
        timeouts,
        bypassed,
        queue_depth,
        dropped_writes,
        ..
    } = *tier;
    let word = |value: Value| value.as_str().unwrap_or("none").to_owned();
    vec![
        ("enabled", enabled.to_string()),
        ("state", word(json!(tier.state))),
        ("breaker", word(json!(tier.breaker))),
        ("size", size.to_string()),
        ("max_size", max_size.to_string()),
        ("bytes", bytes.to_string()),
        ("max_bytes", max_bytes.to_string()),
        ("hits", hits.to_string()),
        ("misses", misses.to_string()),
        ("hit_rate", format!("{hit_rate:.3}")),
        ("errors", errors.to_string()),
        ("timeouts", timeouts.to_string()),
        ("bypassed", bypassed.to_string()),
        ("queue_depth", queue_depth.to_string()),
        ("dropped_writes", dropped_writes.to_string()),
    ]
}
