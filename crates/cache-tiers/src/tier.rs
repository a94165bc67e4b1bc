//! The trait every tier implements, what goes through it, and the tier that keeps nothing.

use std::fmt::{self, Debug};
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

use crate::{CacheError, Key, TierStats};

/// One place where values are kept for a while: memory, a disk, a server.
///
/// The contract, which `contract::check_tier` verifies as far as it can be seen from outside (feature
/// `contract`):
///
/// - A look-up is a [`probe`](Self::probe), and a [`fetch`](Self::fetch) if the probe says
///   [`Pending`](Probe::Pending); it is counted once, as a hit or as a miss. `fetch` alone is a look-up too.
/// - Once [`put`](Self::put) has returned `Ok`, look-ups find that value, until it expires, is replaced, is
///   forgotten or makes room. Once it has returned `Err`, they find *no* older value under the key, if the tier
///   can help it.
/// - No entry is found when its `ttl` is over, and none is found with more time left than it was put with.
/// - Once [`forget`](Self::forget) has returned `Ok`, what was put before is not found again.
#[async_trait]
pub trait CacheTier<V>: Debug + Send + Sync + 'static
where
    V: Send + Sync + 'static,
{
    /// Looks where looking costs nothing. Never blocks, never does I/O.
    fn probe(&self, key: &Key) -> Probe<V>;

    /// Looks everywhere in this tier.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Timeout` or `Corrupt`, of tiers that do I/O.
    async fn fetch(&self, key: &Key) -> Result<Option<Entry<V>>, CacheError>;

    /// Stores an entry for at most its `ttl`; the tier may keep it for a shorter time.
    ///
    /// # Errors
    ///
    /// `TooLarge`; `Unavailable` or `Timeout` of tiers that do I/O.
    async fn put(&self, key: Key, entry: Entry<V>) -> Result<(), CacheError>;

    /// Drops one entry or all of them.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Timeout` of tiers that do I/O; the entries may then still be there.
    async fn forget(&self, what: Forget) -> Result<(), CacheError>;

    /// What the tier has done so far. Cheap enough for every scrape, not for every request.
    fn stats(&self) -> TierStats;
}

/// A value and the time it has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<V> {
    /// What is cached.
    pub value: V,
    /// When writing, for how long it may be kept; when reading, what remains of that.
    pub ttl: Duration,
}

/// What a tier that keeps bytes has stored under a key: for people who look, not for look-ups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StoredEntry {
    /// Its length as it is stored, with what the tier adds to it.
    pub bytes: u64,
    /// What remains of its time.
    pub ttl: Duration,
}

/// What a look at a tier that must not block has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe<V> {
    /// The entry.
    Hit(Entry<V>),
    /// The tier does not have it.
    Miss,
    /// The tier may have it, and only [`CacheTier::fetch`] can tell.
    Pending,
}

/// What to drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forget {
    /// The entry under one key.
    Key(Key),
    /// Every entry.
    All,
}

/// Where an answer was found, in the words of the wire.
///
/// ```
/// assert_eq!(cache_tiers::CacheLevel::L2Persistent.to_string(), "l2_persistent");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum CacheLevel {
    /// The memory of this process: `l1_memory`.
    #[serde(rename = "l1_memory")]
    L1Memory,
    /// The disk of this machine: `l2_persistent`.
    #[serde(rename = "l2_persistent")]
    L2Persistent,
    /// A server shared by all replicas: `l3_distributed`.
    #[serde(rename = "l3_distributed")]
    L3Distributed,
}

/// The tier that keeps nothing: for tests, and for those who want no cache.
///
/// It breaks the promise to find what was put, by design; it counts nothing and says so by `enabled: false`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCache;

#[async_trait]
impl<V: Send + Sync + 'static> CacheTier<V> for NoCache {
    fn probe(&self, _key: &Key) -> Probe<V> {
        Probe::Miss
    }

    async fn fetch(&self, _key: &Key) -> Result<Option<Entry<V>>, CacheError> {
        Ok(None)
    }

    async fn put(&self, _key: Key, _entry: Entry<V>) -> Result<(), CacheError> {
        Ok(())
    }

    async fn forget(&self, _what: Forget) -> Result<(), CacheError> {
        Ok(())
    }

    fn stats(&self) -> TierStats {
        TierStats::default()
    }
}

impl fmt::Display for CacheLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

const _: Option<&dyn CacheTier<String>> = None;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_cache_keeps_nothing() -> Result<(), CacheError> {
        let tier: std::sync::Arc<dyn CacheTier<u8>> = std::sync::Arc::new(NoCache);
        let key = Key::from_bytes([1; 16]);
        tier.put(key, Entry { value: 1, ttl: Duration::from_secs(1) }).await?;
        assert_eq!(tier.probe(&key), Probe::Miss);
        assert_eq!(tier.fetch(&key).await?, None);
        tier.forget(Forget::All).await?;
        assert_eq!(tier.stats(), TierStats::default());
        Ok(())
    }

    #[test]
    fn levels_have_the_names_of_the_wire() {
        let names = [CacheLevel::L1Memory, CacheLevel::L2Persistent, CacheLevel::L3Distributed];
        assert_eq!(names.map(|level| level.to_string()), ["l1_memory", "l2_persistent", "l3_distributed"]);
    }
}
