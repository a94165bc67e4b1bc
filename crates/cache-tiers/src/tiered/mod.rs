//! The tiered cache: memory before disk before server, as one cache.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use hp_base::Clock;
use tokio::task::JoinHandle;

use crate::stats::{Counters, Event};
use crate::{CacheError, CacheLevel, CacheTier, Forget, Key, Leases, Notes, Probe, TierState, TierStats};

mod builder;
mod config;
mod flight;
mod follow;
mod load;
mod queue;
mod shared;
mod stats;
mod tier;

pub use builder::TieredBuilder;
pub use config::{Retention, TieredConfig};
pub use load::{LoadError, Loaded, Origin};
pub use stats::{CacheStats, OverallStats};

use flight::Flights;
use shared::Shared;
use stats::HitTimes;

/// Memory before disk before server, each of which may be missing, as one cache.
///
/// A look-up asks the tiers from the top; what a lower one holds is put into those above it for the time it has
/// left. A write goes to memory at once and to the tiers below in the background, from bounded queues in which it can be
/// read meanwhile. No tier that fails makes a look-up or a write fail: it is passed over, and
/// [`stats`](Self::stats) says so.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::sync::Arc;
/// use std::time::Duration;
/// use cache_tiers::{Key, MemoryConfig, MemoryTier, Retention, SystemClock, TieredCache};
///
/// let clock = Arc::new(SystemClock);
/// let memory = MemoryTier::<String>::new(MemoryConfig::default(), clock.clone());
/// let cache = TieredCache::builder(clock).memory(Arc::new(memory)).build();
///
/// let key = Key::from_bytes([1; 16]);
/// cache.put(key, "one".to_owned(), Retention::everywhere(Duration::from_secs(60))).await;
/// assert_eq!(cache.get(&key).await.map(|hit| hit.value).as_deref(), Some("one"));
/// assert_eq!(cache.stats().overall.total_hits, 1);
/// # }
/// ```
pub struct TieredCache<V> {
    shared: Arc<Shared<V>>,
    flights: Arc<Flights<(V, Duration)>>,
    refreshing: Arc<Mutex<HashSet<Key>>>,
    counters: Counters,
    times: HitTimes,
    leases: Option<Arc<dyn Leases>>,
    follower: Option<JoinHandle<()>>,
}

/// A value that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit<V> {
    /// What is cached.
    pub value: V,
    /// The time it has left; zero if it is stale.
    pub ttl: Duration,
    /// Where it was found. What waits to be written further down was found in memory.
    pub level: CacheLevel,
    /// Whether its time is over, and it is served because
    /// [`stale_while_revalidate`](TieredConfig::stale_while_revalidate) allows it.
    pub is_stale: bool,
}

/// What a look that must not wait has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup<V> {
    /// The value.
    Hit(Hit<V>),
    /// No tier has it.
    Miss,
    /// A lower tier may have it; [`TieredCache::fetch`] goes on from there.
    Pending(Resume),
}

/// Where a look-up goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    lower: usize,
    version: u64,
}

/// The right to renew a stale entry; nobody else is given it until this is dropped.
#[derive(Debug)]
pub struct RefreshClaim {
    refreshing: Arc<Mutex<HashSet<Key>>>,
    key: Key,
}

impl<V: Clone + Send + Sync + 'static> TieredCache<V> {
    /// A builder of caches that tell the time by this clock.
    #[must_use]
    pub fn builder(clock: Arc<dyn Clock>) -> TieredBuilder<V> {
        TieredBuilder::new(clock)
    }

    /// Looks as far as looking needs no waiting.
    #[inline]
    pub fn probe(&self, key: &Key) -> Lookup<V> {
        let started = self.times.is_sampled().then(|| self.shared.clock.now());
        if let Some(memory) = &self.shared.memory
            && let Probe::Hit(entry) = memory.probe(key)
        {
            self.counters.count(Event::Hit);
            if let Some(started) = started {
                self.times.sampled(self.shared.clock.now().saturating_duration_since(started));
            }
            return Lookup::Hit(self.shared.hit(entry, CacheLevel::L1Memory));
        }
        if self.shared.lower.is_empty() {
            self.counters.count(Event::Miss);
            return Lookup::Miss;
        }
        self.probe_lower(key)
    }

    /// Looks on after [`probe`](Self::probe) said [`Pending`](Lookup::Pending). Each tier bounds the time this
    /// takes; what fails is passed over.
    pub async fn fetch(&self, key: &Key, resume: Resume) -> Option<Hit<V>> {
        let started = self.shared.clock.now();
        let found = self.shared.fetch(key, resume).await;
        self.counters.count(if found.is_some() { Event::Hit } else { Event::Miss });
        if found.is_some() {
            self.times.timed(self.shared.clock.now().saturating_duration_since(started));
        }
        found
    }

    /// Looks in every tier, from the top.
    pub async fn get(&self, key: &Key) -> Option<Hit<V>> {
        match self.probe(key) {
            Lookup::Hit(hit) => Some(hit),
            Lookup::Miss => None,
            Lookup::Pending(resume) => self.fetch(key, resume).await,
        }
    }

    /// Looks in every tier as [`get`](Self::get) does, but not as one of the cache's requests: for warming, which would
    /// make the rate of hits look worse than it is for those who ask. The tiers count it.
    pub async fn peek(&self, key: &Key) -> Option<Hit<V>> {
        if let Some(memory) = &self.shared.memory
            && let Probe::Hit(entry) = memory.probe(key)
        {
            return Some(self.shared.hit(entry, CacheLevel::L1Memory));
        }
        match self.shared.probe_lower(key) {
            Lookup::Hit(hit) => Some(hit),
            Lookup::Miss => None,
            Lookup::Pending(resume) => self.shared.fetch(key, resume).await,
        }
    }

    /// Keeps a value: in memory at once, further down in the background.
    pub async fn put(&self, key: Key, value: V, retention: Retention) {
        self.shared.put_in_memory(key, value.clone(), retention.l1).await;
        self.shared.put_below(key, value, retention);
    }

    /// Asks to renew a stale entry. Only one caller at a time may.
    #[must_use]
    pub fn claim_refresh(&self, key: &Key) -> Option<RefreshClaim> {
        let is_first = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner).insert(*key);
        is_first.then(|| RefreshClaim { refreshing: Arc::clone(&self.refreshing), key: *key })
    }

    /// Looks for a fresh value below memory, for the holder of the claim. Without one, work the value out and
    /// [`put`](Self::put) it.
    pub async fn revalidate(&self, claim: &RefreshClaim) -> Option<Hit<V>> {
        let resume = Resume { lower: 0, version: self.shared.versions.of(&claim.key) };
        self.shared.fetch(&claim.key, resume).await.filter(|hit| !hit.is_stale)
    }

    /// Drops one entry, or all, from every tier, and has the other replicas drop it too where a tier tells them.
    /// What was put before is not found in this process afterwards, even on an error.
    ///
    /// # Errors
    ///
    /// The first one of a tier that could not forget. Whether it will later is up to the tier.
    pub async fn forget(&self, what: Forget) -> Result<(), CacheError> {
        self.shared.forget(what, |_| true).await
    }

    /// A number that changes whenever what is under the key is forgotten, here or by another replica, and now and then when
    /// another key is: for those who keep values beside the cache for a moment, and must not give out what was forgotten.
    pub fn forgetting(&self, key: &Key) -> u64 {
        self.shared.forgets.of(key)
    }

    /// What the cache and its tiers have done so far. Cheap enough for every scrape, not for every request.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let disabled = TierStats { state: TierState::Disabled, ..TierStats::default() };
        let mut stats = CacheStats {
            l1_cache: self.shared.memory.as_ref().map_or(disabled, |memory| self.once_each(memory.stats())),
            l2_cache: disabled,
            l3_cache: disabled,
            overall: OverallStats::default(),
        };
        for lower in &self.shared.lower {
            let (queue_depth, n_dropped) = lower.queue.counts();
            let tier = lower.queue.tier().stats();
            let tier = TierStats { queue_depth, dropped_writes: tier.dropped_writes + n_dropped, ..tier };
            match lower.level {
                CacheLevel::L1Memory => {}
                CacheLevel::L2Persistent => stats.l2_cache = tier,
                CacheLevel::L3Distributed => stats.l3_cache = tier,
            }
        }
        let (hits, misses) = (self.counters.sum(Event::Hit), self.counters.sum(Event::Miss));
        stats.overall = OverallStats {
            hit_rate: TierStats::of_lookups(hits, misses).hit_rate,
            total_requests: hits + misses,
            total_hits: hits,
            avg_hit_time_ms: self.times.mean_ms(hits),
        };
        stats
    }

    /// The statistics of the memory, in which whoever missed and then loaded has looked twice.
    fn once_each(&self, stats: TierStats) -> TierStats {
        let misses = stats.misses.saturating_sub(self.counters.sum(Event::LookedAgain));
        let hit_rate = TierStats::of_lookups(stats.hits, misses).hit_rate;
        TierStats { misses, hit_rate, ..stats }
    }

    /// The tier of a level.
    #[must_use]
    pub fn tier(&self, level: CacheLevel) -> Option<&Arc<dyn CacheTier<V>>> {
        match level {
            CacheLevel::L1Memory => self.shared.memory.as_ref(),
            _ => self.shared.lower.iter().find(|lower| lower.level == level).map(|lower| lower.queue.tier()),
        }
    }

    /// Where small things are kept beside the entries.
    #[must_use]
    pub fn notes(&self) -> Option<&Arc<dyn Notes>> {
        self.shared.notes.as_ref()
    }

    /// Waits until all that was put has reached the tiers below memory, or has been given up.
    pub async fn drain(&self) {
        join_all(self.shared.lower.iter().map(|lower| lower.queue.drained())).await;
    }

    /// Stops listening to other replicas, takes nothing more for the tiers below memory, and waits for what is queued,
    /// at most [`close_within`](TieredConfig::close_within). Returns whether all of it was written. The tiers close
    /// when the last handle to them is dropped.
    pub async fn close(&self) -> bool {
        if let Some(follower) = &self.follower {
            follower.abort();
        }
        for lower in &self.shared.lower {
            lower.queue.close();
        }
        tokio::time::timeout(self.shared.config.close_within, self.drain()).await.is_ok()
    }

    #[cold]
    #[inline(never)]
    fn probe_lower(&self, key: &Key) -> Lookup<V> {
        let started = self.shared.clock.now();
        let looked = self.shared.probe_lower(key);
        match &looked {
            Lookup::Hit(_) => {
                self.counters.count(Event::Hit);
                self.times.timed(self.shared.clock.now().saturating_duration_since(started));
            }
            Lookup::Miss => self.counters.count(Event::Miss),
            Lookup::Pending(_) => {}
        }
        looked
    }
}

impl<V> Drop for TieredCache<V> {
    /// What is queued is still written, as long as the runtime lives.
    fn drop(&mut self) {
        if let Some(follower) = &self.follower {
            follower.abort();
        }
        for lower in &self.shared.lower {
            lower.queue.close();
        }
    }
}

impl Drop for RefreshClaim {
    fn drop(&mut self) {
        self.refreshing.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl<V> fmt::Debug for TieredCache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TieredCache")
            .field("memory", &self.shared.memory)
            .field("lower", &self.shared.lower.iter().map(|lower| lower.level).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
