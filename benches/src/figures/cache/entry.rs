//! What an entry takes of the process's memory, in the memory tier and by itself.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use cache_tiers::{Entry, MemoryConfig, MemoryTier, SystemClock};

use super::TTL;
use super::answers::{Value, key, value};
use crate::figures::Figure;

/// So many that what other measurements have left behind does not show.
const N_ENTRIES: u64 = 500_000;

pub(in crate::figures) fn measure() -> anyhow::Result<Vec<Figure>> {
    // Only there does the kernel tell what a process takes.
    if !cfg!(target_os = "linux") {
        return Ok(Vec::new());
    }
    let n_entries = N_ENTRIES as usize;
    let before = resident_bytes()?;
    let values: Vec<Value> = (0..N_ENTRIES).map(value).collect();
    let with_values = resident_bytes()?;
    // Room for twice as much, so that nothing is evicted.
    let config = MemoryConfig { max_entries: 2 * n_entries, max_bytes: 1 << 40, ttl: TTL, ttl_jitter: 0.0 };
    let tier = MemoryTier::new(config, Arc::new(SystemClock));
    for (number, value) in (0..).zip(&values) {
        tier.insert(key(number), Entry { value: Arc::clone(value), ttl: TTL })?;
    }
    let with_tier = resident_bytes()?;
    ensure!(tier.stats().size == N_ENTRIES, "of {N_ENTRIES} entries the tier holds {}", tier.stats().size);
    let each = |from: f64, to: f64| (to - from) / N_ENTRIES as f64;
    // The pointers in the vector are not the tier's.
    let pointers = size_of::<Value>() as f64;
    Ok(vec![
        Figure::new("l1.entry_bytes", each(before, with_tier) - pointers, "bytes"),
        Figure::new("l1.entry_overhead_bytes", each(with_values, with_tier), "bytes"),
    ])
}

fn resident_bytes() -> anyhow::Result<f64> {
    let report = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let kibibytes =
        crate::figures::process::kibibytes(&report, "VmRSS").context("the kernel tells no VmRSS")?;
    Ok(kibibytes * 1024.0)
}
