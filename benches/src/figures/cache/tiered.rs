//! The cache over all three tiers: what a write adds to its caller's way, and how many look-ups it serves.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use cache_tiers::{
    CacheLevel, DiskConfig, DiskTier, MemoryConfig, MemoryTier, RemoteTier, Retention, SystemClock,
    TieredCache,
};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answers::{AnswerCodec, Value, fill, key, value};
use super::server::Server;
use super::{PATIENCE, TTL};
use crate::figures::rounds::{Latencies, N_ROUNDS, Rounds, drawn};
use crate::figures::{Figure, Goal};

/// Fewer than the queues take, so that none is dropped.
const N_PUTS: u64 = 2_000;
/// On disk and on the server; memory holds a tenth of them.
const N_ENTRIES: u64 = 50_000;
const N_IN_MEMORY: usize = 5_000;
const N_GETS: usize = 19_200;
/// One look-up in a hundred finds its entry on the server alone.
const N_ON_SERVER: usize = N_GETS / 100;
const N_GET_ROUNDS: u64 = 11;

pub(in crate::figures) fn measure() -> anyhow::Result<Vec<Figure>> {
    let runtime = super::runtime()?;
    runtime.block_on(async {
        let mut cache = Whole::open().await?;
        let mut figures = cache.puts().await?;
        figures.extend(cache.gets().await?);
        cache.cache.close().await;
        Ok(figures)
    })
}

struct Whole {
    cache: Arc<TieredCache<Value>>,
    remote: Arc<RemoteTier<Value>>,
    /// The numbers from here on have not been used.
    next: u64,
    _folder: TempDir,
    _server: Server,
}

impl Whole {
    async fn open() -> anyhow::Result<Self> {
        let server = Server::start().await?;
        let folder = tempfile::tempdir()?;
        let clock = Arc::new(SystemClock);
        let memory = MemoryConfig { max_entries: N_IN_MEMORY, ttl: TTL, ..MemoryConfig::default() };
        let disk = DiskConfig { ttl: TTL, ..DiskConfig::new(folder.path().join("cache")) };
        let disk = Arc::new(DiskTier::new(disk, Arc::new(AnswerCodec), clock.clone()));
        let remote = Arc::new(server.tier().await?);
        let cache = TieredCache::builder(clock.clone())
            .memory(Arc::new(MemoryTier::<Value>::new(memory, clock)))
            .disk(disk.clone())
            .remote(remote.clone())
            .build();
        fill(disk.as_ref(), 0..N_ENTRIES).await?;
        fill(remote.as_ref(), 0..N_ENTRIES).await?;
        Ok(Self { cache: Arc::new(cache), remote, next: N_ENTRIES, _folder: folder, _server: server })
    }

    /// A put returns when memory has the entry and the queues of the other tiers know of it.
    async fn puts(&mut self) -> anyhow::Result<Vec<Figure>> {
        let (mut p50, mut p99) = (Rounds::default(), Rounds::default());
        for round in 0..=N_ROUNDS {
            let mut latencies = Latencies::new()?;
            for _ in 0..N_PUTS {
                let (key, value) = (key(self.next), value(self.next));
                self.next += 1;
                let started = Instant::now();
                self.cache.put(key, value, Retention::everywhere(TTL)).await;
                latencies.record(started.elapsed());
            }
            timeout(PATIENCE, self.cache.drain()).await.context("the writes do not end")?;
            if round > 0 {
                p50.push(latencies.micros_at(0.5));
                p99.push(latencies.micros_at(0.99));
            }
        }
        let stats = self.cache.stats();
        let n_dropped = stats.l2_cache.dropped_writes + stats.l3_cache.dropped_writes;
        ensure!(n_dropped == 0, "{n_dropped} writes were dropped");
        Ok(vec![
            Figure::new("tiered.put_p50_us", p50.median(), "µs").with_goal(Goal::AtMost(5.0)),
            Figure::new("tiered.put_p99_us", p99.median(), "µs").with_goal(Goal::AtMost(5.0)),
        ])
    }

    /// Look-ups that all hit, most of them in memory: low numbers are asked for more often than high ones.
    async fn gets(&mut self) -> anyhow::Result<Vec<Figure>> {
        let mut figures = Vec::new();
        for (name, n_tasks) in [("tiered.1_task", 1), ("tiered.8_tasks", 8), ("tiered.64_tasks", 64)] {
            let mut per_second = Rounds::default();
            for round in 0..=N_GET_ROUNDS {
                let rate = self.gets_per_second(n_tasks, round).await?;
                if round > 0 {
                    per_second.push(rate);
                }
            }
            figures.push(Figure::new(name, per_second.median(), "hits/s"));
        }
        let stats = self.cache.stats();
        let n_hits = [stats.l1_cache.hits, stats.l2_cache.hits, stats.l3_cache.hits];
        let sum = n_hits.iter().sum::<u64>() as f64;
        let [l1, l2, l3] = n_hits.map(|hits| 100.0 * hits as f64 / sum);
        figures.extend([
            Figure::new("tiered.hits_in_l1", l1, "%"),
            Figure::new("tiered.hits_in_l2", l2, "%"),
            Figure::new("tiered.hits_in_l3", l3, "%"),
        ]);
        Ok(figures)
    }

    async fn gets_per_second(&mut self, n_tasks: usize, round: u64) -> anyhow::Result<f64> {
        let on_server = self.next..self.next + N_ON_SERVER as u64;
        self.next = on_server.end;
        fill(self.remote.as_ref(), on_server.clone()).await?;
        let mut numbers: Vec<u64> = drawn(N_GETS, 1 << 20, round).into_iter().map(skewed).collect();
        for (place, number) in numbers.iter_mut().step_by(N_GETS / N_ON_SERVER).zip(on_server) {
            *place = number;
        }
        let mut tasks = JoinSet::new();
        let started = Instant::now();
        for part in numbers.chunks(N_GETS / n_tasks) {
            let (cache, keys) = (Arc::clone(&self.cache), part.iter().copied().map(key).collect::<Vec<_>>());
            tasks.spawn(async move {
                let mut n_found = 0;
                for key in &keys {
                    n_found += usize::from(
                        cache.get(key).await.is_some_and(|hit| hit.level >= CacheLevel::L1Memory),
                    );
                }
                n_found
            });
        }
        let mut n_found = 0;
        while let Some(ended) = tasks.join_next().await {
            n_found += ended?;
        }
        let seconds = started.elapsed().as_secs_f64();
        ensure!(n_found == N_GETS, "of {N_GETS} look-ups {n_found} found their entry");
        Ok(N_GETS as f64 / seconds)
    }
}

/// A number below `N_ENTRIES` from an even one below 2^20: half of them are among the lowest 1.6 %.
fn skewed(even: usize) -> u64 {
    let share = even as f64 / f64::from(1 << 20);
    (share.powi(6) * N_ENTRIES as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_numbers_are_asked_for_more_often() {
        let mut numbers: Vec<u64> = drawn(10_000, 1 << 20, 1).into_iter().map(skewed).collect();
        numbers.sort_unstable();
        assert!(
            numbers[5_000] < N_ENTRIES / 50 && numbers[9_999] > N_ENTRIES / 2 && numbers[9_999] < N_ENTRIES
        );
    }
}
