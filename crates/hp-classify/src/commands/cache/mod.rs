//! `hp-classify cache`: looks into the caches that outlive a process, and drops what is wrong in them.

mod forget;
mod inspect;
mod stats;

use std::time::Duration;

use cache_tiers::{CacheLevel, TierState};
use classifier_core::{ClassificationSystem, Config};

use crate::UsageError;
use crate::cli::CacheAction;

/// The caches that outlive a process.
pub(super) const LOWER: [CacheLevel; 2] = [CacheLevel::L2Persistent, CacheLevel::L3Distributed];

/// How long a disk and a Redis that are being opened are waited for.
const OPEN_WITHIN: Duration = Duration::from_secs(5);

pub(super) fn run(action: &CacheAction, config: &Config, json: bool) -> anyhow::Result<()> {
    let system = ClassificationSystem::new(config)?;
    super::runtime()?.block_on(async {
        let done = act(action, &system, json).await;
        system.close().await;
        done
    })
}

async fn act(action: &CacheAction, system: &ClassificationSystem, json: bool) -> anyhow::Result<()> {
    system.caches_ready(OPEN_WITHIN).await;
    if matches!(action, CacheAction::Stats) {
        return stats::run(system, json);
    }
    if LOWER.into_iter().all(|level| system.cache().tier(level).is_none()) {
        let nothing = format!(
            "the memory of other processes cannot be seen from here, and {}",
            without_lower_tiers(system)
        );
        return Err(UsageError(nothing).into());
    }
    match action {
        CacheAction::Stats => Ok(()),
        CacheAction::Forget { queries, context } => {
            forget::forget(system, queries, &super::context_of(context)?, json).await
        }
        CacheAction::Flush => forget::flush(system, json).await,
        CacheAction::Inspect { what, context } => {
            inspect::run(system, what, super::context_of(context)?, json).await
        }
    }
}

/// Why there is no cache that outlives a process, in a clause.
pub(super) fn without_lower_tiers(system: &ClassificationSystem) -> String {
    let missing: Vec<_> =
        system.missing_caches().iter().map(|cache| format!("{}: {}", cache.level, cache.reason)).collect();
    let remedy = "there is neither a cache on disk nor a Redis; set l2_cache_enabled = true or redis_url";
    if missing.is_empty() { remedy.to_owned() } else { format!("{remedy} ({})", missing.join("; ")) }
}

/// What the state of a cache means, in a clause about it.
pub(super) fn state_in_words(level: CacheLevel, state: TierState) -> &'static str {
    let is_disk = level == CacheLevel::L2Persistent;
    match state {
        TierState::Ready => "is at work",
        TierState::Disabled => "is switched off",
        TierState::Starting if is_disk => "is still being opened; try again",
        TierState::Starting => "is still being connected to; try again",
        TierState::Locked => {
            "is in use by another process; ask that process, stop it, or share a Redis with it (redis_url)"
        }
        TierState::Quarantined => "was damaged and has been put aside; a new one is being made",
        TierState::ReadOnly => {
            "cannot be written: its place is read-only or full; make room or set l2_cache_path"
        }
        _ if is_disk => "fails; see HP_LOG=warn for the reason",
        _ => "cannot be reached; see redis_url, and HP_LOG=warn for the reason",
    }
}
