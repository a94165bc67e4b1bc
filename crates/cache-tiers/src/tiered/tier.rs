//! A tiered cache is a tier itself, for those who want one where another is expected.

use async_trait::async_trait;

use super::{Retention, TieredCache};
use crate::stats::Event;
use crate::{CacheError, CacheTier, Entry, Forget, Key, Probe, TierStats};

#[async_trait]
impl<V: Clone + Send + Sync + 'static> CacheTier<V> for TieredCache<V> {
    /// Looks in memory. A look further down begins with `fetch`, so that every tier below counts it once.
    fn probe(&self, key: &Key) -> Probe<V> {
        if let Some(memory) = &self.shared.memory
            && let Probe::Hit(entry) = memory.probe(key)
        {
            self.counters.count(Event::Hit);
            let hit = self.shared.hit(entry, crate::CacheLevel::L1Memory);
            return Probe::Hit(Entry { value: hit.value, ttl: hit.ttl });
        }
        if self.shared.lower.is_empty() {
            self.counters.count(Event::Miss);
            return Probe::Miss;
        }
        Probe::Pending
    }

    async fn fetch(&self, key: &Key) -> Result<Option<Entry<V>>, CacheError> {
        let hit = self.get(key).await;
        Ok(hit.map(|hit| Entry { value: hit.value, ttl: hit.ttl }))
    }

    async fn put(&self, key: Key, entry: Entry<V>) -> Result<(), CacheError> {
        if entry.ttl.is_zero() {
            return self.forget(Forget::Key(key)).await;
        }
        self.put(key, entry.value, Retention::everywhere(entry.ttl)).await;
        Ok(())
    }

    async fn forget(&self, what: Forget) -> Result<(), CacheError> {
        self.forget(what).await
    }

    /// The cache as a whole: its look-ups, and what memory holds.
    fn stats(&self) -> TierStats {
        let stats = self.stats();
        TierStats {
            enabled: stats.l1_cache.enabled || stats.l2_cache.enabled || stats.l3_cache.enabled,
            size: stats.l1_cache.size,
            max_size: stats.l1_cache.max_size,
            bytes: stats.l1_cache.bytes,
            max_bytes: stats.l1_cache.max_bytes,
            ..TierStats::of_lookups(
                stats.overall.total_hits,
                stats.overall.total_requests - stats.overall.total_hits,
            )
        }
    }
}
