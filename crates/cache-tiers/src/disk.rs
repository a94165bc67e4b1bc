//! The disk tier: RocksDB as a cache that is bounded, survives restarts and never hurts.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use hp_base::{BreakerConfig, BreakerState, CircuitBreaker, Clock};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::record;
use crate::stats::Event;
use crate::{
    CacheError, CacheErrorKind, CacheTier, Codec, Entry, Forget, Key, Notes, Probe, StoredEntry, TierState,
    TierStats,
};

mod config;
mod engine;
mod place;
mod shared;
mod store;
mod unwritten;

pub use config::DiskConfig;
use engine::Engine;
use shared::{Order, Request, Shared};
use store::{Reach, Sizes, Store, Trouble};

/// So many writes wait at most; more are turned away.
const MOST_QUEUED: usize = 1024;
/// How long dropping a tier waits for its last writes.
const CLOSE_WAIT: Duration = Duration::from_secs(6);

/// A [`CacheTier`] on the disk of the machine, over RocksDB with FIFO compaction: it survives restarts, and when it is
/// full the oldest entries make room.
///
/// Needs a tokio runtime with time enabled, for everything but [`probe`](CacheTier::probe) and
/// [`stats`](CacheTier::stats).
///
/// # Reads and writes
///
/// What is in memory (written lately, or in the block cache) is found by `probe`; `fetch` goes to the disk on a
/// blocking thread, and neither a slow nor a hung disk holds it up for longer than `read_timeout`. Writes of all
/// callers are gathered by the tier's own thread and written in groups; a write is done when the operating system
/// has it.
///
/// # What survives
///
/// A cache may lose its last moments, never its integrity. Ended or killed processes lose nothing that was
/// acknowledged. After a loss of power the entries of the last seconds may be gone, because nothing waits for the disk
/// to have them; `forget` does wait, so that what was forgotten stays so. Each entry has a checksum over key and value.
///
/// # Troubles
///
/// The tier opens its database in the background and never fails to be made. Whatever is wrong, look-ups are misses,
/// writes are `Unavailable`, [`stats`](CacheTier::stats) says what it is, and the tier recovers by itself once the
/// cause is gone: a lock held by another process ([`Locked`](TierState::Locked)), a full or read-only disk
/// ([`ReadOnly`](TierState::ReadOnly), and reads go on), anything else ([`Unavailable`](TierState::Unavailable)). A
/// damaged database is put aside and a new one begun, counted by [`quarantines`](TierStats::quarantines). Entries that
/// could not be replaced or forgotten are not found again even so.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use cache_tiers::{CacheTier, DiskConfig, DiskTier, Entry, Key, MessagePack, SystemClock};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("cache");
/// let open = || {
///     DiskTier::<String>::new(DiskConfig::new(&path), Arc::new(MessagePack::version(1)), Arc::new(SystemClock))
/// };
/// let key = Key::from_bytes([7; 16]);
///
/// let tier = open();
/// tier.put(key, Entry { value: "seven".to_owned(), ttl: Duration::from_secs(60) }).await?;
/// tier.close().await;
///
/// let tier = open();
/// let entry = tier.fetch(&key).await?;
/// assert_eq!(entry.map(|entry| entry.value).as_deref(), Some("seven"));
/// # Ok(())
/// # }
/// ```
pub struct DiskTier<V> {
    config: DiskConfig,
    codec: Arc<dyn Codec<V>>,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    requests: RwLock<Option<SyncSender<Request>>>,
    /// Ends when the thread does.
    closed: Mutex<Option<Receiver<()>>>,
    reads: Arc<Semaphore>,
    read_breaker: CircuitBreaker,
    write_breaker: CircuitBreaker,
    most_bytes: usize,
}

/// What a look at a record has shown.
enum Found<V> {
    Live(Entry<V>),
    Expired,
    Nothing,
    Damaged(CacheError),
}

impl<V: Send + Sync + 'static> DiskTier<V> {
    /// A tier over the folder. Returns at once: the database is opened in the background.
    #[must_use]
    pub fn new(mut config: DiskConfig, codec: Arc<dyn Codec<V>>, clock: Arc<dyn Clock>) -> Self {
        config.max_bytes = config.max_bytes.max(16 << 20);
        config.ttl_jitter =
            if config.ttl_jitter.is_finite() { config.ttl_jitter.clamp(0.0, 0.9) } else { 0.0 };
        let shared = Arc::new(Shared::new());
        let (requests, received) = mpsc::sync_channel(MOST_QUEUED);
        let (open, closed) = mpsc::channel::<()>();
        let engine = Engine::new(config.clone(), Arc::clone(&shared), received, Arc::clone(&clock));
        let work = move || {
            let _open = open;
            engine.run();
        };
        if let Err(error) = std::thread::Builder::new().name("disk-cache".to_owned()).spawn(work) {
            tracing::warn!(%error, "there is no thread for the disk cache, which stays out of service");
            shared.state.send_replace(TierState::Unavailable);
        }
        let breaker = |slow_call| {
            let config = BreakerConfig { slow_call, ..BreakerConfig::default() };
            CircuitBreaker::new(config, Arc::clone(&clock))
        };
        Self {
            requests: RwLock::new(Some(requests)),
            closed: Mutex::new(Some(closed)),
            reads: Arc::new(Semaphore::new(config.max_reads.clamp(1, Semaphore::MAX_PERMITS))),
            read_breaker: breaker(config.read_timeout),
            write_breaker: breaker(config.write_timeout),
            most_bytes: (Sizes::of(config.max_bytes).write_buffer / 4) as usize,
            config,
            codec,
            clock,
            shared,
        }
    }

    /// Waits until all that was asked for is written and handed to the disk, and closes the database. Afterwards the
    /// tier is out of service. Dropping the tier is [`close_blocking`](Self::close_blocking).
    pub async fn close(&self) {
        if let Some(closed) = self.hang_up() {
            let wait = move || wait_for(&closed);
            // The runtime may be on its way out too; the thread then goes on alone.
            let _ = tokio::task::spawn_blocking(wait).await;
        }
    }

    /// What is stored under the key, for people who look: not counted as a look-up.
    ///
    /// # Errors
    ///
    /// Those of [`fetch`](CacheTier::fetch).
    pub async fn inspect(&self, key: &Key) -> Result<Option<StoredEntry>, CacheError> {
        let key = *key;
        let bytes =
            self.read(move |store| Ok(store.get(&key, Reach::Disk)?.map(|bytes| bytes.to_vec()))).await?;
        let Some(bytes) = bytes else { return Ok(None) };
        match self.look_into(&key, &bytes) {
            Found::Live(entry) => Ok(Some(StoredEntry { bytes: bytes.len() as u64, ttl: entry.ttl })),
            Found::Expired | Found::Nothing => Ok(None),
            Found::Damaged(error) => Err(error),
        }
    }

    fn look_into(&self, key: &Key, bytes: &[u8]) -> Found<V> {
        let record = match record::open(key, self.codec.version(), bytes) {
            Ok(Some(record)) => record,
            Ok(None) => return Found::Nothing,
            Err(error) => return Found::Damaged(error),
        };
        let epoch = self.shared.epoch.load(Ordering::Acquire);
        if record.stamp.epoch != epoch || self.shared.unwritten.contains(key) {
            return Found::Nothing;
        }
        let Some(ttl) = record::time_left(self.clock.wall(), record.stamp.expires_ms) else {
            return Found::Expired;
        };
        // A clock that was set back makes entries look younger than they are, but not than they ever were.
        let ttl = ttl.min(self.config.ttl);
        match self.codec.decode(&record.body) {
            Ok(value) => Found::Live(Entry { value, ttl }),
            Err(error) => Found::Damaged(error),
        }
    }

    /// Counts a look-up, and drops what is damaged.
    fn counted(&self, key: &Key, found: Found<V>) -> Result<Option<Entry<V>>, CacheError> {
        let counters = &self.shared.counters;
        match found {
            Found::Live(entry) => {
                counters.count(Event::Hit);
                return Ok(Some(entry));
            }
            Found::Expired => counters.count(Event::Expired),
            Found::Nothing => {}
            Found::Damaged(error) => {
                counters.count(Event::Miss);
                counters.count(Event::Error);
                self.tell(Order::Drop(*key));
                return Err(error);
            }
        }
        counters.count(Event::Miss);
        Ok(None)
    }

    /// Reads from the disk on a blocking thread, in the time there is for it.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, rocksdb::Error> + Send + 'static,
    ) -> Result<T, CacheError> {
        let Some(store) = self.store_in_time().await else { return Err(self.bypassed()) };
        let Some(call) = self.read_breaker.try_call() else { return Err(self.bypassed()) };
        let reads = Arc::clone(&self.reads);
        let work = async move {
            let place = reads.acquire_owned().await;
            tokio::task::spawn_blocking(move || {
                let _place = place;
                read(&store)
            })
            .await
        };
        match timeout(self.config.read_timeout, work).await {
            Ok(Ok(Ok(read))) => {
                call.succeeded();
                Ok(read)
            }
            Ok(Ok(Err(error))) => {
                call.failed();
                Err(self.failed_to_read(error))
            }
            Ok(Err(_)) => Err(self.bypassed()),
            Err(_) => {
                call.failed();
                self.shared.counters.count(Event::Timeout);
                let message = format!("the disk did not answer within {:?}", self.config.read_timeout);
                Err(CacheError::new(CacheErrorKind::Timeout, message))
            }
        }
    }

    /// The database, waited for while it is being opened.
    async fn store_in_time(&self) -> Option<Arc<Store>> {
        if self.shared.state() == TierState::Starting {
            let mut state = self.shared.state.subscribe();
            let is_open = state.wait_for(|&state| state != TierState::Starting);
            let _ = timeout(self.config.open_wait, is_open).await;
        }
        self.shared.store.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn failed_to_read(&self, error: rocksdb::Error) -> CacheError {
        self.shared.counters.count(Event::Error);
        if Trouble::of(&error) == Trouble::Damaged {
            self.shared.is_damaged.store(true, Ordering::Relaxed);
            self.tell(Order::Wake);
            return CacheError::new(CacheErrorKind::Corrupt, "the database is damaged").with_source(error);
        }
        CacheError::new(CacheErrorKind::Unavailable, "the database cannot be read").with_source(error)
    }

    fn bypassed(&self) -> CacheError {
        self.shared.counters.count(Event::Bypassed);
        let message = format!("the disk tier is out of service ({:?})", self.shared.state());
        CacheError::new(CacheErrorKind::Unavailable, message)
    }

    /// Has something written, and waits until it is.
    async fn written(&self, order: Order) -> Result<(), CacheError> {
        if !matches!(self.shared.state(), TierState::Ready | TierState::Starting) {
            return Err(self.bypassed());
        }
        let Some(call) = self.write_breaker.try_call() else { return Err(self.bypassed()) };
        let (done, is_done) = oneshot::channel();
        if !self.send(Request { order, done: Some(done) }) {
            self.shared.n_dropped_writes.fetch_add(1, Ordering::Relaxed);
            let message = "too many writes are waiting for the disk";
            return Err(CacheError::new(CacheErrorKind::Unavailable, message));
        }
        match timeout(self.config.write_timeout, is_done).await {
            Ok(Ok(Ok(()))) => {
                call.succeeded();
                Ok(())
            }
            Ok(Ok(Err(error))) => {
                call.failed();
                Err(error)
            }
            Ok(Err(_)) => Err(self.bypassed()),
            Err(_) => {
                call.failed();
                self.shared.counters.count(Event::Timeout);
                let message = format!("the disk did not take it within {:?}", self.config.write_timeout);
                Err(CacheError::new(CacheErrorKind::Timeout, message))
            }
        }
    }

    /// Has something written that nobody waits for.
    fn tell(&self, order: Order) {
        if let Order::Drop(key) = &order {
            self.shared.unwritten.add(*key);
        }
        // If too many wait already, the thread is awake and will come across what is owed.
        self.send(Request { order, done: None });
    }

    fn send(&self, request: Request) -> bool {
        let bytes = request.order.n_bytes();
        let queued = &self.shared.n_queued_bytes;
        let most = Sizes::of(self.config.max_bytes).write_buffer;
        let requests = self.requests.read().unwrap_or_else(PoisonError::into_inner);
        let Some(requests) = requests.as_ref().filter(|_| queued.load(Ordering::Relaxed) <= most) else {
            return false;
        };
        self.shared.n_queued.fetch_add(1, Ordering::Relaxed);
        queued.fetch_add(bytes, Ordering::Relaxed);
        let is_sent = requests.try_send(request).is_ok();
        if !is_sent {
            self.shared.n_queued.fetch_sub(1, Ordering::Relaxed);
            queued.fetch_sub(bytes, Ordering::Relaxed);
        }
        is_sent
    }

    /// The time an entry is kept: keys are even hashes, so each is a lot of its own.
    fn jittered(&self, key: &Key, ttl: Duration) -> Duration {
        let lot = (key.as_u128() >> 75) as f64 / (1_u64 << 53) as f64;
        ttl.mul_f64(1.0 - self.config.ttl_jitter * lot).min(ttl)
    }

    async fn put_entry(&self, key: Key, entry: Entry<V>) -> Result<(), CacheError> {
        let ttl = self.jittered(&key, entry.ttl.min(self.config.ttl));
        if ttl.is_zero() {
            return self.written(Order::Drop(key)).await;
        }
        let mut body = Vec::new();
        self.codec.encode(&entry.value, &mut body)?;
        if body.len() > self.most_bytes {
            self.shared.counters.count(Event::Rejected);
            let message = format!(
                "{} bytes where {} are the most, raise max_bytes to hold it",
                body.len(),
                self.most_bytes
            );
            return Err(CacheError::new(CacheErrorKind::TooLarge, message));
        }
        let expires_ms = record::expiry_ms(self.clock.wall(), ttl);
        self.written(Order::Put { key, body, codec_version: self.codec.version(), expires_ms }).await
    }
}

#[async_trait]
impl<V: Send + Sync + 'static> CacheTier<V> for DiskTier<V> {
    fn probe(&self, key: &Key) -> Probe<V> {
        let store = self.shared.store.read().unwrap_or_else(PoisonError::into_inner);
        let Some(store) = store.as_ref() else {
            if self.shared.state() == TierState::Starting {
                return Probe::Pending;
            }
            self.shared.counters.count(Event::Bypassed);
            self.shared.counters.count(Event::Miss);
            return Probe::Miss;
        };
        let found = match store.get(key, Reach::Memory) {
            Ok(Some(bytes)) => self.look_into(key, &bytes),
            Ok(None) => Found::Nothing,
            // Mostly that it is not in memory; where it is worse, the disk will say so.
            Err(_) => return Probe::Pending,
        };
        match self.counted(key, found) {
            Ok(Some(entry)) => Probe::Hit(entry),
            Ok(None) | Err(_) => Probe::Miss,
        }
    }

    async fn fetch(&self, key: &Key) -> Result<Option<Entry<V>>, CacheError> {
        let key = *key;
        let bytes =
            self.read(move |store| Ok(store.get(&key, Reach::Disk)?.map(|bytes| bytes.to_vec()))).await;
        match bytes {
            Ok(Some(bytes)) => self.counted(&key, self.look_into(&key, &bytes)),
            Ok(None) => self.counted(&key, Found::Nothing),
            Err(error) => {
                self.shared.counters.count(Event::Miss);
                Err(error)
            }
        }
    }

    async fn put(&self, key: Key, entry: Entry<V>) -> Result<(), CacheError> {
        let result = self.put_entry(key, entry).await;
        // Where the database was never open, what another process has put there is not out of date for that.
        let has_store = || self.shared.store.read().unwrap_or_else(PoisonError::into_inner).is_some();
        if result.is_err() && has_store() {
            self.tell(Order::Drop(key));
        }
        result
    }

    async fn forget(&self, what: Forget) -> Result<(), CacheError> {
        let result = self.written(Order::Forget(what)).await;
        if result.is_err() {
            match what {
                Forget::Key(key) => self.tell(Order::Drop(key)),
                Forget::All => self.shared.unwritten.add_all(),
            }
        }
        result
    }

    fn stats(&self) -> TierStats {
        let sum = |event| self.shared.counters.sum(event);
        let load = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
        let breakers = [self.read_breaker.state(), self.write_breaker.state()];
        let worst =
            [BreakerState::Open, BreakerState::HalfOpen].into_iter().find(|state| breakers.contains(state));
        TierStats {
            size: load(&self.shared.n_entries),
            enabled: true,
            expired: sum(Event::Expired),
            inserted: sum(Event::Inserted),
            forgotten: sum(Event::Forgotten),
            rejected: sum(Event::Rejected),
            bytes: load(&self.shared.n_bytes),
            max_bytes: self.config.max_bytes,
            state: self.shared.state(),
            breaker: Some(worst.unwrap_or(BreakerState::Closed)),
            errors: sum(Event::Error),
            timeouts: sum(Event::Timeout),
            bypassed: sum(Event::Bypassed),
            queue_depth: load(&self.shared.n_queued),
            dropped_writes: load(&self.shared.n_dropped_writes),
            quarantines: load(&self.shared.n_quarantines),
            ..TierStats::of_lookups(sum(Event::Hit), sum(Event::Miss))
        }
    }
}

#[async_trait]
impl<V: Send + Sync + 'static> Notes for DiskTier<V> {
    async fn read_note(&self, name: &str) -> Result<Option<Vec<u8>>, CacheError> {
        let name = name.to_owned();
        self.read(move |store| store.note(&name)).await
    }

    async fn write_note(&self, name: &str, bytes: Vec<u8>) -> Result<(), CacheError> {
        self.written(Order::Note { name: name.to_owned(), bytes }).await
    }
}

impl<V> DiskTier<V> {
    /// What [`close`](Self::close) does, on the caller's thread, which it holds up for a few seconds at most. A process
    /// should not end before: RocksDB does not survive its own static data.
    pub fn close_blocking(&self) {
        if let Some(closed) = self.hang_up() {
            wait_for(&closed);
        }
    }

    /// Ends the thread once it has done what it was asked to, and returns what tells that it has ended.
    fn hang_up(&self) -> Option<Receiver<()>> {
        *self.requests.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn wait_for(closed: &Receiver<()>) {
    if let Err(RecvTimeoutError::Timeout) = closed.recv_timeout(CLOSE_WAIT) {
        tracing::warn!("the disk cache does not close: the disk holds it up");
    }
}

impl<V> Drop for DiskTier<V> {
    fn drop(&mut self) {
        self.close_blocking();
    }
}

impl<V> fmt::Debug for DiskTier<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskTier")
            .field("config", &self.config)
            .field("state", &self.shared.state())
            .finish_non_exhaustive()
    }
}
