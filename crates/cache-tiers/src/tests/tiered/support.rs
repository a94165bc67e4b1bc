//! Tiers for tests of what is above them: they must be fetched from, and do as they are told.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tokio::sync::Semaphore;

use crate::{
    CacheError, CacheErrorKind, CacheTier, Entry, Forget, Key, ManualClock, MemoryConfig, MemoryTier, Notes,
    Probe, Retention, TierStats, TieredBuilder, TieredCache, TieredConfig,
};

pub(super) const HOUR: Duration = Duration::from_secs(3600);

pub(super) static ONE: Key = Key::from_bytes([1; 16]);

pub(super) type Value = Vec<u8>;

/// A tier that keeps everything for as long as it is told to.
pub(super) fn memory(clock: Arc<ManualClock>) -> Arc<MemoryTier<Value>> {
    let config = MemoryConfig { ttl: Duration::MAX, ttl_jitter: 0.0, ..MemoryConfig::default() };
    Arc::new(MemoryTier::new(config, clock).with_weigher(Vec::len))
}

/// A tier below memory: each of its operations passes a gate that can be shut, and fails when it is told to.
#[derive(Debug)]
pub(super) struct Below {
    pub(super) store: Arc<MemoryTier<Value>>,
    pub(super) gate: Gate,
    /// Whether a probe tells all there is to tell.
    pub(super) answers_probes: AtomicBool,
    pub(super) fails: AtomicBool,
    pub(super) n_fetched: AtomicU64,
    pub(super) written: Mutex<Vec<Key>>,
}

/// Lets everybody through until it is shut.
#[derive(Debug)]
pub(super) struct Gate {
    is_shut: AtomicBool,
    passes: Semaphore,
    waiting: AtomicU64,
}

impl Gate {
    pub(super) fn shut(&self) {
        self.is_shut.store(true, Ordering::SeqCst);
    }

    pub(super) fn open(&self) {
        self.is_shut.store(false, Ordering::SeqCst);
        self.passes.add_permits(1_000_000);
    }

    /// Waits until somebody stands before it.
    pub(super) async fn is_reached(&self) {
        while self.waiting.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    }

    async fn pass(&self) {
        if self.is_shut.load(Ordering::SeqCst) {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            self.passes.acquire().await.unwrap().forget();
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Below {
    pub(super) fn new(clock: Arc<ManualClock>) -> Arc<Self> {
        let gate =
            Gate { is_shut: AtomicBool::new(false), passes: Semaphore::new(0), waiting: AtomicU64::new(0) };
        Arc::new(Self {
            store: memory(clock),
            gate,
            answers_probes: AtomicBool::new(false),
            fails: AtomicBool::new(false),
            n_fetched: AtomicU64::new(0),
            written: Mutex::new(Vec::new()),
        })
    }

    fn check(&self) -> Result<(), CacheError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(CacheError::new(CacheErrorKind::Unavailable, "told to fail"));
        }
        Ok(())
    }
}

#[async_trait]
impl CacheTier<Value> for Below {
    fn probe(&self, key: &Key) -> Probe<Value> {
        if self.answers_probes.load(Ordering::SeqCst) {
            return self.store.get(key).map_or(Probe::Miss, Probe::Hit);
        }
        Probe::Pending
    }

    async fn fetch(&self, key: &Key) -> Result<Option<Entry<Value>>, CacheError> {
        self.n_fetched.fetch_add(1, Ordering::SeqCst);
        let found = self.store.get(key);
        self.gate.pass().await;
        self.check()?;
        Ok(found)
    }

    async fn put(&self, key: Key, entry: Entry<Value>) -> Result<(), CacheError> {
        self.gate.pass().await;
        self.check()?;
        self.written.lock().unwrap().push(key);
        self.store.insert(key, entry)
    }

    async fn forget(&self, what: Forget) -> Result<(), CacheError> {
        self.gate.pass().await;
        self.check()?;
        self.store.forget(what).await
    }

    fn stats(&self) -> TierStats {
        self.store.stats()
    }
}

/// A memory tier in which, when it is armed, somebody forgets each key just before it is put.
#[derive(Debug)]
pub(super) struct Meddled {
    pub(super) store: Arc<MemoryTier<Value>>,
    pub(super) cache: OnceLock<Weak<TieredCache<Value>>>,
}

#[async_trait]
impl CacheTier<Value> for Meddled {
    fn probe(&self, key: &Key) -> Probe<Value> {
        self.store.get(key).map_or(Probe::Miss, Probe::Hit)
    }

    async fn fetch(&self, key: &Key) -> Result<Option<Entry<Value>>, CacheError> {
        Ok(self.store.get(key))
    }

    async fn put(&self, key: Key, entry: Entry<Value>) -> Result<(), CacheError> {
        if let Some(cache) = self.cache.get().and_then(Weak::upgrade) {
            // It goes as far as it can: memory has forgotten, the tiers below are still to be told.
            let _ = cache.forget(Forget::Key(key)).now_or_never();
        }
        self.store.insert(key, entry)
    }

    async fn forget(&self, what: Forget) -> Result<(), CacheError> {
        self.store.forget(what).await
    }

    fn stats(&self) -> TierStats {
        self.store.stats()
    }
}

#[async_trait]
impl Notes for Mutex<std::collections::HashMap<String, Vec<u8>>> {
    async fn read_note(&self, name: &str) -> Result<Option<Vec<u8>>, CacheError> {
        Ok(self.lock().unwrap().get(name).cloned())
    }

    async fn write_note(&self, name: &str, bytes: Vec<u8>) -> Result<(), CacheError> {
        self.lock().unwrap().insert(name.to_owned(), bytes);
        Ok(())
    }
}

/// A cache of three tiers and a hand on each.
pub(super) struct Three {
    pub(super) clock: Arc<ManualClock>,
    pub(super) l1: Arc<MemoryTier<Value>>,
    pub(super) l2: Arc<Below>,
    pub(super) l3: Arc<Below>,
    pub(super) cache: TieredCache<Value>,
}

pub(super) fn three(config: TieredConfig) -> Three {
    three_with(config, |builder| builder)
}

pub(super) fn three_with(
    config: TieredConfig,
    more: impl FnOnce(TieredBuilder<Value>) -> TieredBuilder<Value>,
) -> Three {
    let clock = Arc::new(ManualClock::new());
    let (l1, l2, l3) = (memory(clock.clone()), Below::new(clock.clone()), Below::new(clock.clone()));
    let builder = TieredCache::builder(clock.clone())
        .config(config)
        .memory(l1.clone())
        .disk(l2.clone())
        .remote(l3.clone());
    let cache = more(builder).build();
    Three { clock, l1, l2, l3, cache }
}

pub(super) fn key(number: u8) -> Key {
    Key::from_bytes([number; 16])
}

impl Three {
    pub(super) async fn put(&self, number: u8, value: u8) {
        self.cache.put(key(number), vec![value], Retention::everywhere(HOUR)).await;
    }

    pub(super) async fn get(&self, number: u8) -> Option<u8> {
        self.cache.get(&key(number)).await.map(|hit| hit.value[0])
    }
}
