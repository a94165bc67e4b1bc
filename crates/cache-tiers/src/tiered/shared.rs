//! What look-ups, writes and the task that listens to other replicas do to the tiers.

use std::array;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use hp_base::Clock;

use super::queue::{Queue, Queued};
use super::{Hit, Lookup, Resume, Retention, TieredConfig};
use crate::{CacheError, CacheErrorKind, CacheLevel, CacheTier, Entry, Forget, Key, Notes, Probe};

/// The tiers and the order they are asked in.
pub(super) struct Shared<V> {
    pub(super) config: TieredConfig,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) memory: Option<Arc<dyn CacheTier<V>>>,
    pub(super) lower: Vec<Lower<V>>,
    pub(super) notes: Option<Arc<dyn Notes>>,
    pub(super) versions: Versions,
    /// Changes with what is forgotten, and not with what is put.
    pub(super) forgets: Versions,
}

/// A tier below memory.
pub(super) struct Lower<V> {
    pub(super) level: CacheLevel,
    pub(super) queue: Arc<Queue<V>>,
}

/// Numbers that whatever changes a key moves on *before* the change, so that a value which was read before and
/// promoted after is noticed and taken back. Keys share them by chance, which only costs a promotion now and then.
#[derive(Debug)]
pub(super) struct Versions([AtomicU64; N_VERSIONS]);

const N_VERSIONS: usize = 64;

impl Versions {
    pub(super) fn new() -> Self {
        Self(array::from_fn(|_| AtomicU64::new(0)))
    }

    pub(super) fn of(&self, key: &Key) -> u64 {
        self.0[Self::place(key)].load(Ordering::SeqCst)
    }

    fn move_on(&self, what: Forget) {
        match what {
            Forget::Key(key) => {
                self.0[Self::place(&key)].fetch_add(1, Ordering::SeqCst);
            }
            Forget::All => self.0.iter().for_each(|version| {
                version.fetch_add(1, Ordering::SeqCst);
            }),
        }
    }

    fn place(key: &Key) -> usize {
        usize::from(key.as_bytes()[0]) % N_VERSIONS
    }
}

impl<V: Clone + Send + Sync + 'static> Shared<V> {
    /// What an entry is to a caller. Tiers keep entries for the time in which they are stale as well.
    #[inline]
    pub(super) fn hit(&self, entry: Entry<V>, level: CacheLevel) -> Hit<V> {
        let ttl = entry.ttl.saturating_sub(self.config.stale_while_revalidate);
        Hit { value: entry.value, ttl, level, is_stale: ttl.is_zero() }
    }

    /// Asks the tiers below memory without waiting. The queues come first, since what waits there is newer than what
    /// the tiers hold.
    pub(super) fn probe_lower(&self, key: &Key) -> Lookup<V> {
        let version = self.versions.of(key);
        for (at, lower) in self.lower.iter().enumerate() {
            match lower.queue.get(key) {
                Queued::Entry(entry) => return Lookup::Hit(self.hit(entry, CacheLevel::L1Memory)),
                Queued::Expired => continue,
                Queued::Nothing => {}
            }
            match lower.queue.tier().probe(key) {
                Probe::Hit(entry) => return Lookup::Hit(self.promote(*key, entry, at, version)),
                Probe::Miss => {}
                Probe::Pending => return Lookup::Pending(Resume { lower: at, version }),
            }
        }
        Lookup::Miss
    }

    /// Asks the tiers from `resume` on, the first of which has been probed.
    pub(super) async fn fetch(&self, key: &Key, resume: Resume) -> Option<Hit<V>> {
        for (at, lower) in self.lower.iter().enumerate().skip(resume.lower) {
            let tier = lower.queue.tier();
            let probed = match lower.queue.get(key) {
                Queued::Entry(entry) => return Some(self.hit(entry, CacheLevel::L1Memory)),
                Queued::Expired => continue,
                Queued::Nothing if at == resume.lower => Probe::Pending,
                Queued::Nothing => tier.probe(key),
            };
            let found = match probed {
                Probe::Hit(entry) => Some(entry),
                Probe::Miss => None,
                Probe::Pending => tier.fetch(key).await.unwrap_or_else(|error| {
                    tracing::debug!(%error, level = %lower.level, "a tier was not read");
                    None
                }),
            };
            if let Some(entry) = found {
                return Some(self.promote(*key, entry, at, resume.version));
            }
        }
        None
    }

    /// Keeps a value in memory.
    pub(super) async fn put_in_memory(&self, key: Key, value: V, ttl: Duration) {
        self.versions.move_on(Forget::Key(key));
        let Some(memory) = self.memory.as_ref().filter(|_| !ttl.is_zero()) else { return };
        if let Err(error) = memory.put(key, Entry { value, ttl: self.kept_for(ttl) }).await {
            tracing::debug!(%error, "an entry was not kept in memory");
        }
    }

    /// Queues a value for the tiers below memory.
    pub(super) fn put_below(&self, key: Key, value: V, retention: Retention) {
        for lower in &self.lower {
            let ttl = match lower.level {
                CacheLevel::L3Distributed => retention.l3,
                _ => retention.l2,
            };
            if ttl.is_zero() {
                continue;
            }
            lower.queue.push(key, Entry { value: value.clone(), ttl: self.kept_for(ttl) });
        }
    }

    /// The time for which a tier keeps an entry: the one in which it is fresh, and the one in which it is stale.
    pub(super) fn kept_for(&self, ttl: Duration) -> Duration {
        ttl.saturating_add(self.config.stale_while_revalidate)
    }

    /// Forgets in memory and in the lower tiers that are chosen.
    pub(super) async fn forget(
        &self,
        what: Forget,
        is_chosen: impl Fn(CacheLevel) -> bool,
    ) -> Result<(), CacheError> {
        self.versions.move_on(what);
        self.forgets.move_on(what);
        let chosen = self.lower.iter().filter(|lower| is_chosen(lower.level));
        let answers: Vec<_> = chosen.map(|lower| lower.queue.forget(what)).collect();
        let mut result = match &self.memory {
            Some(memory) => memory.forget(what).await,
            None => Ok(()),
        };
        for answer in join_all(answers).await {
            let answer = answer.unwrap_or_else(|_| {
                Err(CacheError::new(CacheErrorKind::Unavailable, "the cache is being closed"))
            });
            result = result.and(answer);
        }
        result
    }

    /// Puts what the lower tier number `found_at` holds into those above it.
    fn promote(&self, key: Key, entry: Entry<V>, found_at: usize, version: u64) -> Hit<V> {
        if self.versions.of(&key) == version {
            // A memory tier is done at once; one that were not would go without this entry.
            let _ = self.memory.as_ref().and_then(|memory| memory.put(key, entry.clone()).now_or_never());
            for upper in &self.lower[..found_at] {
                upper.queue.push(key, entry.clone());
            }
            if self.versions.of(&key) != version {
                let what = Forget::Key(key);
                let _ = self.memory.as_ref().and_then(|memory| memory.forget(what).now_or_never());
                for upper in &self.lower[..found_at] {
                    drop(upper.queue.forget(what));
                }
            }
        }
        let level = self.lower.get(found_at).map_or(CacheLevel::L1Memory, |lower| lower.level);
        self.hit(entry, level)
    }
}
