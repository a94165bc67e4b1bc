//! A hit on disk beside a bare get from the same files, of a small database and of one with ten million entries.

use std::cell::Cell;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use cache_tiers::{CacheTier, Codec as _, DiskConfig, DiskTier, Key, Probe, SystemClock, TierState};
use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompactionStyle, Options};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::answers::{AnswerCodec, Value, fill, key};
use super::{PATIENCE, TTL};
use crate::figures::rounds::{Turns, drawn, nanos_each};
use crate::figures::{Figure, Goal};

/// Sets how many entries the large database has.
const VARIABLE: &str = "FIGURES_L2_ENTRIES";
const N_ENTRIES: u64 = 10_000_000;
/// So many are read again and again; their blocks fill a third of the block cache.
const N_WARM: u64 = 5_000;
const N_GETS: usize = 5_000;
const N_ROUNDS: u64 = 101;
/// Fewer will do where a get takes longer.
const N_SLOW_ROUNDS: u64 = 15;
/// What the record around a value begins with; docs of `record` in cache-tiers.
const HEADER_LEN: usize = 20;

pub(in crate::figures) fn measure() -> anyhow::Result<Vec<Figure>> {
    let runtime = super::runtime()?;
    let small = Beside::fill(&runtime, N_WARM)?;
    let probe = small.probe()?;
    let fetch = small.fetch(&runtime, &small.keys(1), N_SLOW_ROUNDS)?;
    small.close(&runtime);
    let mut figures = vec![
        Figure::new("l2.hit_us", probe.ours / 1e3, "µs"),
        Figure::new("l2.bare_get_us", probe.bare / 1e3, "µs"),
        Figure::new("l2.hit_ratio", probe.ratio, "× bare").with_goal(Goal::AtMost(1.5)),
        // What is in memory never comes to this: probing finds it.
        Figure::new("l2.fetch_us", fetch.ours / 1e3, "µs"),
        Figure::new("l2.fetch_ratio", fetch.ratio, "× bare"),
    ];

    let n_entries = match std::env::var(VARIABLE) {
        Ok(number) => number.parse().with_context(|| format!("{VARIABLE} is no number"))?,
        Err(_) => N_ENTRIES,
    };
    ensure!(n_entries >= N_WARM, "{VARIABLE} is less than {N_WARM}");
    let started = Instant::now();
    let large = Beside::fill(&runtime, n_entries)?;
    let filling = started.elapsed().as_secs_f64();
    let probe = large.probe()?;
    // Most of these are in none of the caches but the operating system's.
    let cold = large.look_up(&runtime)?;
    large.close(&runtime);
    figures.extend([
        Figure::new("l2.large.entries", n_entries as f64, "entries"),
        Figure::new("l2.large.writes_per_second", n_entries as f64 / filling, "writes/s"),
        Figure::new("l2.large.hit_us", probe.ours / 1e3, "µs"),
        Figure::new("l2.large.bare_get_us", probe.bare / 1e3, "µs"),
        Figure::new("l2.large.hit_ratio", probe.ratio, "× bare").with_goal(Goal::AtMost(1.5)),
        Figure::new("l2.large.cold_hit_us", cold.ours / 1e3, "µs"),
        Figure::new("l2.large.bare_cold_get_us", cold.bare / 1e3, "µs"),
        Figure::new("l2.large.cold_hit_ratio", cold.ratio, "× bare"),
    ]);
    Ok(figures)
}

/// A tier, and its own database opened a second time to be read with nothing of ours.
struct Beside {
    n_entries: u64,
    tier: DiskTier<Value>,
    bare: DB,
    _folder: TempDir,
}

impl Beside {
    fn fill(runtime: &Runtime, n_entries: u64) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("cache");
        // Twice what the entries take, so that none has to make room.
        let config = DiskConfig {
            max_bytes: n_entries * 1024 + (256 << 20),
            ttl: TTL,
            write_timeout: PATIENCE,
            read_timeout: PATIENCE,
            ..DiskConfig::new(&path)
        };
        let open = || DiskTier::new(config.clone(), Arc::new(AnswerCodec), Arc::new(SystemClock));
        let tier = runtime.block_on(async {
            let tier = open();
            ready(&tier).await?;
            fill(&tier, 0..n_entries).await?;
            // What was written last is in a table too after this, as all else.
            tier.close().await;
            drop(tier);
            let tier = open();
            ready(&tier).await?;
            anyhow::Ok(tier)
        })?;
        let bare = open_bare(&path, config.block_cache_bytes)?;
        Ok(Self { n_entries, tier, bare, _folder: folder })
    }

    /// Every so many of the keys.
    fn keys(&self, step: u64) -> Vec<Key> {
        (0..N_WARM).map(|number| key(number * step)).collect()
    }

    fn bare_get(&self) -> impl Fn(&Key) -> Option<Value> + '_ {
        let entries = self.bare.cf_handle("entries");
        move |key| {
            let bytes = self.bare.get_pinned_cf(entries?, key.as_bytes()).ok()??;
            AnswerCodec.decode(bytes.get(HEADER_LEN..)?).ok()
        }
    }

    /// What the block cache holds, found on the caller's thread.
    fn probe(&self) -> anyhow::Result<Turns> {
        let keys = self.keys(self.n_entries / N_WARM);
        let n_hits = Cell::new(0_u64);
        let counted = |found: Option<Value>| {
            n_hits.set(n_hits.get() + u64::from(found.is_some()));
            found
        };
        let bare_get = self.bare_get();
        // Reads them into both block caches; probing reads nothing.
        let warming = |key: &Key| bare_get(key).is_some();
        ensure!(keys.iter().all(warming), "the bare database does not hold all entries");
        let runtime = super::runtime()?;
        for key in &keys {
            ensure!(runtime.block_on(self.tier.fetch(key))?.is_some(), "the tier does not hold all entries");
        }
        let turns = Turns::take(
            N_ROUNDS,
            |round| {
                let draws = drawn(N_GETS, keys.len(), round);
                Ok(nanos_each(&draws, &keys, |key| match self.tier.probe(key) {
                    Probe::Hit(entry) => counted(Some(entry.value)),
                    Probe::Miss | Probe::Pending => None,
                }))
            },
            |round| {
                let draws = drawn(N_GETS, keys.len(), round);
                Ok(nanos_each(&draws, &keys, |key| counted(bare_get(key))))
            },
        )?;
        let n_gets = 2 * (N_ROUNDS + 1) * N_GETS as u64;
        ensure!(n_hits.get() == n_gets, "of {n_gets} gets {} were hits", n_hits.get());
        Ok(turns)
    }

    /// The same by way of a blocking thread.
    fn fetch(&self, runtime: &Runtime, keys: &[Key], n_rounds: u64) -> anyhow::Result<Turns> {
        let bare_get = self.bare_get();
        Turns::take(
            n_rounds,
            |round| {
                let draws = drawn(N_GETS, keys.len(), round);
                runtime.block_on(async {
                    let started = Instant::now();
                    for &draw in &draws {
                        let found = self.tier.fetch(black_box(&keys[draw])).await?;
                        black_box(found).context("the tier lost an entry")?;
                    }
                    anyhow::Ok(started.elapsed().as_secs_f64() * 1e9 / draws.len() as f64)
                })
            },
            |round| Ok(nanos_each(&drawn(N_GETS, keys.len(), round), keys, &bare_get)),
        )
    }

    /// Look-ups of entries from all over the database, as callers make them: a probe, and a fetch where that cannot
    /// tell. No key is drawn by both.
    fn look_up(&self, runtime: &Runtime) -> anyhow::Result<Turns> {
        let bare_get = self.bare_get();
        let keys = |round: u64, seed: u64| -> Vec<Key> {
            let draws = drawn(N_GETS, self.n_entries as usize, round.wrapping_mul(2).wrapping_add(seed));
            draws.into_iter().map(|draw| key(draw as u64)).collect()
        };
        let in_order: Vec<usize> = (0..N_GETS).collect();
        Turns::take(
            N_SLOW_ROUNDS,
            |round| {
                let keys = keys(round, 1_000);
                runtime.block_on(async {
                    let started = Instant::now();
                    for key in &keys {
                        let found = match self.tier.probe(key) {
                            Probe::Hit(entry) => Some(entry),
                            Probe::Miss => None,
                            Probe::Pending => self.tier.fetch(key).await?,
                        };
                        black_box(found).context("the tier lost an entry")?;
                    }
                    anyhow::Ok(started.elapsed().as_secs_f64() * 1e9 / keys.len() as f64)
                })
            },
            |round| Ok(nanos_each(&in_order, &keys(round, 1_001), &bare_get)),
        )
    }

    fn close(self, runtime: &Runtime) {
        runtime.block_on(self.tier.close());
    }
}

async fn ready(tier: &DiskTier<Value>) -> anyhow::Result<()> {
    let started = Instant::now();
    while tier.stats().state != TierState::Ready {
        ensure!(started.elapsed() < PATIENCE, "the database does not open: {:?}", tier.stats().state);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// The database in the tier's folder, read with a block cache of the same size. Reading alone needs no lock.
fn open_bare(path: &Path, block_cache_bytes: usize) -> anyhow::Result<DB> {
    let mut tables = BlockBasedOptions::default();
    tables.set_block_cache(&Cache::new_lru_cache(block_cache_bytes));
    // The filters in the tables are read only by those who have one set.
    tables.set_bloom_filter(10.0, false);
    let mut entries = Options::default();
    entries.set_block_based_table_factory(&tables);
    entries.set_compaction_style(DBCompactionStyle::Fifo);
    let families = [
        ColumnFamilyDescriptor::new("default", Options::default()),
        ColumnFamilyDescriptor::new("entries", entries),
    ];
    let mut options = Options::default();
    options.set_max_open_files(-1);
    DB::open_cf_descriptors_read_only(&options, path.join("store"), families, false)
        .context("cannot open the tier's database beside the tier")
}
