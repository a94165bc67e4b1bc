//! The memory tier: bounded by entries and by bytes, with entries that expire, and reads that do not allocate.

use std::fmt;
use std::num::NonZero;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hp_base::Clock;
use quick_cache::sync::EntryAction;

use crate::stats::{Counters, Event};
use crate::{CacheError, CacheErrorKind, CacheTier, Entry, Forget, Key, Probe, TierStats};

mod limits;
mod store;

use limits::Limits;
use store::{Slot, Store};

/// A time to live that stands for "for ever": 100 years. Longer ones count as this, so that instants cannot
/// overflow.
const LONGEST_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// How much a [`MemoryTier`] holds, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemoryConfig {
    /// The most entries held; 0 keeps nothing. Default: 10_000.
    pub max_entries: usize,
    /// The most bytes held, by the tier's weigher and including what the tier adds to each entry; 0 keeps
    /// nothing. Default: 32 MiB.
    pub max_bytes: u64,
    /// The longest time an entry is kept; an entry's own `ttl` counts if it is shorter. Default: 300 s.
    pub ttl: Duration,
    /// The share of its time that an entry may lose by lot, from 0 to 0.9, so that entries stored together do
    /// not expire together: each is kept for between `1 - ttl_jitter` and 1 times its time. Default: 0.1.
    pub ttl_jitter: f64,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { max_entries: 10_000, max_bytes: 32 << 20, ttl: Duration::from_secs(300), ttl_jitter: 0.1 }
    }
}

/// A [`CacheTier`] in the memory of the process, over [`quick_cache`] and its scan-resistant eviction, which is close
/// to S3-FIFO.
///
/// Reads take no exclusive lock and do not allocate; they clone the value, so put large ones behind an
/// [`Arc`]. All methods may be called from any thread, inside and outside of async code; the inherent ones are
/// what the methods of the trait do.
///
/// # Bounds
///
/// Entries and bytes are bounded by one weight: an entry weighs its bytes, but at least
/// `max_bytes / max_entries`. Hence neither bound is ever passed; which one is met first depends on the size of
/// the entries. The bytes of an entry are those its [weigher](Self::with_weigher) reports, plus
/// [`OVERHEAD_BYTES`](Self::OVERHEAD_BYTES). The tier is split into shards by key (32 for the default
/// configuration, one for every 256 entries, 64 at most), each with its share of the bounds, so a few entries
/// may be evicted before the tier as a whole is full. An entry heavier than a quarter of a shard's bytes, and than
/// `max_bytes / max_entries`, is rejected: 256 KiB in the default configuration.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use cache_tiers::{Entry, Key, ManualClock, MemoryConfig, MemoryTier};
///
/// let clock = Arc::new(ManualClock::new());
/// let tier = MemoryTier::new(MemoryConfig::default(), clock.clone()).with_weigher(|text: &String| text.len());
/// let key = Key::from_bytes([7; 16]);
/// tier.insert(key, Entry { value: "seven".to_owned(), ttl: Duration::from_secs(60) })?;
/// assert_eq!(tier.get(&key).map(|entry| entry.value).as_deref(), Some("seven"));
///
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(tier.get(&key), None);
/// # Ok::<(), cache_tiers::CacheError>(())
/// ```
pub struct MemoryTier<V> {
    store: Store<V>,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
    weigher: Box<dyn Fn(&V) -> usize + Send + Sync>,
    limits: Limits,
    resizing: Mutex<()>,
    ttl_nanos: AtomicU64,
    ttl_jitter: f64,
    n_jittered: AtomicU64,
    /// The number of flushes so far; entries stored before the last one are as good as gone.
    epoch: AtomicU32,
}

impl<V: Clone + Send + Sync + 'static> MemoryTier<V> {
    /// What an entry costs beside its value, in bytes: its key, its expiry and its place in the tables.
    pub const OVERHEAD_BYTES: usize =
        size_of::<Key>() + size_of::<Slot<V>>() - size_of::<V>() + store::TABLE_BYTES;

    /// An empty tier. Memory is taken as entries arrive.
    #[must_use]
    pub fn new(config: MemoryConfig, clock: Arc<dyn Clock>) -> Self {
        // A tier that starts without room is laid out like the default one, in case it is given room later.
        let is_enabled = config.max_entries > 0 && config.max_bytes > 0;
        let layout = if is_enabled { config } else { MemoryConfig::default() };
        let counters = Arc::new(Counters::new());
        let n_threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let limits = Limits::new(layout.max_entries, layout.max_bytes, n_threads);
        let tier = Self {
            store: store::new(&limits, Arc::clone(&counters)),
            counters,
            clock,
            weigher: Box::new(size_of_val),
            limits,
            resizing: Mutex::new(()),
            ttl_nanos: AtomicU64::new(0),
            ttl_jitter: if config.ttl_jitter.is_finite() { config.ttl_jitter.clamp(0.0, 0.9) } else { 0.0 },
            n_jittered: AtomicU64::new(0),
            epoch: AtomicU32::new(0),
        };
        tier.set_ttl(config.ttl);
        if !is_enabled {
            tier.limits.set(0, 0);
        }
        tier
    }

    /// Sets how the bytes of a value are measured: those of the value itself and those it owns elsewhere.
    /// Without it, a value counts as `size_of::<V>()`, which is right only for values that own nothing.
    #[must_use]
    pub fn with_weigher(mut self, weigher: impl Fn(&V) -> usize + Send + Sync + 'static) -> Self {
        self.weigher = Box::new(weigher);
        self
    }

    /// The entry under the key, with the time it has left.
    #[inline]
    pub fn get(&self, key: &Key) -> Option<Entry<V>> {
        let Some(slot) = self.store.get(key) else {
            self.counters.count(Event::Miss);
            return None;
        };
        let now = self.clock.coarse_nanos();
        if slot.expires <= now || slot.epoch != self.epoch.load(Ordering::Relaxed) {
            self.drop_dead(key, now);
            return None;
        }
        self.counters.count(Event::Hit);
        Some(Entry { value: slot.value, ttl: Duration::from_nanos(slot.expires - now) })
    }

    /// Stores an entry for the shorter of its own `ttl` and the tier's, less the jitter. One whose `ttl` is zero
    /// only drops what was there.
    ///
    /// # Errors
    ///
    /// `TooLarge` if the entry is heavier than the tier's bounds allow; what was under the key is dropped all
    /// the same, since it is out of date.
    pub fn insert(&self, key: Key, entry: Entry<V>) -> Result<(), CacheError> {
        let ttl = entry.ttl.min(Duration::from_nanos(self.ttl_nanos.load(Ordering::Relaxed)));
        let (floor, largest) = self.limits.weights();
        if ttl.is_zero() || largest == 0 {
            self.drop_one(&key, Event::Replaced);
            return Ok(());
        }
        let bytes = ((self.weigher)(&entry.value) as u64).saturating_add(Self::OVERHEAD_BYTES as u64);
        if bytes > largest {
            self.drop_one(&key, Event::Replaced);
            self.counters.count(Event::Rejected);
            let message = format!("{bytes} bytes where {largest} are the most, raise max_bytes to hold it");
            return Err(CacheError::new(CacheErrorKind::TooLarge, message));
        }
        let epoch = self.epoch.load(Ordering::Relaxed);
        let expires = self.clock.coarse_nanos().saturating_add(nanos(self.jittered(&key, ttl)));
        self.counters.add(Event::BytesIn, bytes);
        self.counters.count(Event::Inserted);
        let slot = Slot { value: entry.value, expires, bytes, epoch, weight: bytes.max(floor) };
        store::insert(&self.store, key, slot);
        Ok(())
    }

    /// Drops the entry under the key, and says whether there was one.
    pub fn remove(&self, key: &Key) -> bool {
        self.drop_one(key, Event::Forgotten)
    }

    /// Forgets all entries at once, whatever their number. Their memory is given back as they are asked for or make room;
    /// until then they count in `size` and `bytes`.
    pub fn flush(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }

    /// Drops all entries, one by one, which gives their memory back and takes time in proportion to their number.
    pub fn clear(&self) {
        for (_, slot) in self.store.drain() {
            self.count_dropped(&slot, Event::Forgotten);
        }
    }

    /// Moves the bounds while the tier is in use, evicting what no longer fits. The number of shards stays, and
    /// with it the fewest entries a tier can be told to hold: one a shard. Zero for either bound empties the tier
    /// and keeps it empty until the next call.
    ///
    /// Takes time in proportion to the entries held. Entries that other threads store meanwhile may be weighed
    /// by the old bounds, so `max_entries` may be passed by that handful until they go.
    pub fn resize(&self, max_entries: usize, max_bytes: u64) {
        let _one_at_a_time = self.resizing.lock().unwrap_or_else(PoisonError::into_inner);
        self.limits.set(max_entries, max_bytes);
        let capacity = self.limits.capacity();
        if capacity == 0 {
            return self.clear();
        }
        // While the weights change nothing should be evicted for want of room that is about to come.
        self.store.set_capacity(capacity.max(self.store.capacity()));
        let (floor, _) = self.limits.weights();
        for (key, _) in self.store.iter() {
            self.store.entry(&key, Some(Duration::ZERO), |_, slot| {
                slot.weight = slot.bytes.max(floor);
                EntryAction::Retain(())
            });
        }
        self.store.set_capacity(capacity);
    }

    /// Sets the longest time entries are kept, for those stored from now on.
    pub fn set_ttl(&self, ttl: Duration) {
        self.ttl_nanos.store(nanos(ttl.min(LONGEST_TTL)), Ordering::Relaxed);
    }

    /// The longest time entries are kept now.
    pub fn ttl(&self) -> Duration {
        Duration::from_nanos(self.ttl_nanos.load(Ordering::Relaxed))
    }

    /// The bounds now, and what has happened so far. Takes each shard's lock for a moment.
    pub fn stats(&self) -> TierStats {
        let sum = |event| self.counters.sum(event);
        let (max_size, max_bytes) = self.limits.bounds();
        // Out before in: a racing eviction may then be missed, but never be counted before its insertion.
        let bytes_out = sum(Event::BytesOut);
        TierStats {
            size: self.store.len() as u64,
            max_size,
            enabled: max_size > 0,
            expired: sum(Event::Expired),
            inserted: sum(Event::Inserted),
            replaced: sum(Event::Replaced),
            evicted: sum(Event::Evicted),
            forgotten: sum(Event::Forgotten),
            rejected: sum(Event::Rejected),
            bytes: sum(Event::BytesIn).saturating_sub(bytes_out),
            max_bytes,
            ..TierStats::of_lookups(sum(Event::Hit), sum(Event::Miss))
        }
    }

    /// A miss that found an entry which has expired or was flushed. Whatever is under the key by now goes only if it
    /// has too.
    #[cold]
    fn drop_dead(&self, key: &Key, now: u64) {
        self.counters.count(Event::Miss);
        let epoch = self.epoch.load(Ordering::Relaxed);
        let removed = self.store.remove_if(key, |slot| slot.expires <= now || slot.epoch != epoch);
        if let Some((_, slot)) = removed {
            let why = if slot.epoch == epoch { Event::Expired } else { Event::Forgotten };
            self.count_dropped(&slot, why);
        }
    }

    fn drop_one(&self, key: &Key, why: Event) -> bool {
        let removed = self.store.remove(key);
        if let Some((_, slot)) = &removed {
            self.count_dropped(slot, why);
        }
        removed.is_some()
    }

    fn count_dropped(&self, slot: &Slot<V>, why: Event) {
        self.counters.count(why);
        self.counters.add(Event::BytesOut, slot.bytes);
    }

    /// The time less its jitter: the lot is drawn from the key and the number of the draw, so that the same
    /// calls on a new tier give the same times.
    fn jittered(&self, key: &Key, ttl: Duration) -> Duration {
        if self.ttl_jitter == 0.0 {
            return ttl;
        }
        let draw = self.n_jittered.fetch_add(1, Ordering::Relaxed);
        let number = key.as_u128() as u64 ^ draw.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // The upper 53 bits as a fraction of 1, which a double holds exactly.
        let fraction = (split_mix(number) >> 11) as f64 / (1_u64 << 53) as f64;
        ttl.mul_f64(1.0 - self.ttl_jitter * fraction).min(ttl)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").
fn split_mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[async_trait]
impl<V: Clone + Send + Sync + 'static> CacheTier<V> for MemoryTier<V> {
    #[inline]
    fn probe(&self, key: &Key) -> Probe<V> {
        self.get(key).map_or(Probe::Miss, Probe::Hit)
    }

    async fn fetch(&self, key: &Key) -> Result<Option<Entry<V>>, CacheError> {
        Ok(self.get(key))
    }

    async fn put(&self, key: Key, entry: Entry<V>) -> Result<(), CacheError> {
        self.insert(key, entry)
    }

    async fn forget(&self, what: Forget) -> Result<(), CacheError> {
        match what {
            Forget::Key(key) => {
                self.remove(&key);
            }
            Forget::All => self.flush(),
        }
        Ok(())
    }

    fn stats(&self) -> TierStats {
        self.stats()
    }
}

impl<V> fmt::Debug for MemoryTier<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (max_entries, max_bytes) = self.limits.bounds();
        f.debug_struct("MemoryTier")
            .field("max_entries", &max_entries)
            .field("max_bytes", &max_bytes)
            .field("ttl", &Duration::from_nanos(self.ttl_nanos.load(Ordering::Relaxed)))
            .field("ttl_jitter", &self.ttl_jitter)
            .finish_non_exhaustive()
    }
}
