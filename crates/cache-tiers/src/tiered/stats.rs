//! What a tiered cache has done: per tier, and as a whole.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use crate::TierStats;

/// What a cache has done so far. Tiers that a cache does not have are there all the same, not enabled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct CacheStats {
    /// The memory of this process.
    pub l1_cache: TierStats,
    /// The disk of this machine.
    pub l2_cache: TierStats,
    /// The server shared by all replicas.
    pub l3_cache: TierStats,
    /// The cache as a whole.
    pub overall: OverallStats,
}

/// What a cache has done as a whole. A look-up counts once, however many tiers it asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct OverallStats {
    /// `total_hits / total_requests`, from 0 to 1; 0 before the first look-up.
    pub hit_rate: f64,
    /// Look-ups.
    pub total_requests: u64,
    /// Look-ups that found an entry in any tier.
    pub total_hits: u64,
    /// The mean time of a hit, in milliseconds. Hits in memory are timed by sample, one in 64; all others are timed.
    pub avg_hit_time_ms: f64,
}

/// Hits in memory are timed once in so many, since reading a clock twice costs as much as the hit.
const SAMPLE: u32 = 64;

/// The times of hits.
#[derive(Debug, Default)]
pub(super) struct HitTimes {
    sampled: Sum,
    timed: Sum,
}

#[derive(Debug, Default)]
struct Sum {
    n: AtomicU64,
    nanos: AtomicU64,
}

impl HitTimes {
    /// Whether the hit that may follow is to be timed: the first one is, too.
    #[inline]
    pub(super) fn is_sampled(&self) -> bool {
        thread_local! {
            static N_CALLS: Cell<u32> = const { Cell::new(0) };
        }
        N_CALLS.with(|n_calls| {
            let n = n_calls.get().wrapping_add(1);
            n_calls.set(n);
            n % SAMPLE == 1
        }) || self.sampled.n.load(Ordering::Relaxed) == 0
    }

    /// A sampled hit in memory.
    pub(super) fn sampled(&self, took: Duration) {
        self.sampled.add(took);
    }

    /// A hit further down.
    pub(super) fn timed(&self, took: Duration) {
        self.timed.add(took);
    }

    /// The mean over all hits, in milliseconds, each kind weighed by how many there were.
    pub(super) fn mean_ms(&self, n_hits: u64) -> f64 {
        let n_timed = self.timed.n.load(Ordering::Relaxed).min(n_hits);
        let in_memory = self.sampled.mean_nanos() * (n_hits - n_timed) as f64;
        let further_down = self.timed.mean_nanos() * n_timed as f64;
        (in_memory + further_down) / n_hits.max(1) as f64 / 1e6
    }
}

impl Sum {
    fn add(&self, took: Duration) {
        self.n.fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn mean_nanos(&self) -> f64 {
        let n = self.n.load(Ordering::Relaxed);
        self.nanos.load(Ordering::Relaxed) as f64 / n.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_weighs_each_kind_by_its_number() {
        let times = HitTimes::default();
        times.sampled(Duration::from_micros(1));
        times.timed(Duration::from_micros(100));
        let mean_us = times.mean_ms(100) * 1e3;
        assert!((mean_us - (99.0 * 1.0 + 100.0) / 100.0).abs() < 1e-9, "{mean_us}");
        assert_eq!(HitTimes::default().mean_ms(0), 0.0);
    }
}
