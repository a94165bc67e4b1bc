//! What the memory tier asks of quick_cache: how entries are hashed, weighed and counted when they go.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};

use super::limits::Limits;
use crate::Key;
use crate::stats::{Counters, Event};

/// What quick_cache adds to an entry, in bytes, by its documentation.
pub(super) const TABLE_BYTES: usize = 21;

/// The cache underneath.
pub(super) type Store<V> = Cache<Key, Slot<V>, SlotWeight, KeyHash, CountDrops>;

/// An entry as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Slot<V> {
    pub(super) value: V,
    /// By [`Clock::coarse_nanos`](crate::Clock::coarse_nanos).
    pub(super) expires: u64,
    pub(super) bytes: u64,
    /// The flush it was stored after.
    pub(super) epoch: u32,
    /// Kept, rather than worked out, because quick_cache demands that it never change behind its back.
    pub(super) weight: u64,
}

/// An empty cache.
pub(super) fn new<V: Clone>(limits: &Limits, counters: Arc<Counters>) -> Store<V> {
    #[expect(clippy::expect_used, reason = "it fails only when one of the two required options is missing")]
    let options = OptionsBuilder::new()
        .shards(usize::try_from(limits.n_shards()).unwrap_or(1))
        .estimated_items_capacity(usize::try_from(limits.bounds().0).unwrap_or(usize::MAX))
        .weight_capacity(limits.capacity())
        .build()
        .expect("both required options are set");
    Cache::with_options(options, SlotWeight, KeyHash::new(), CountDrops { counters })
}

/// Stores the slot, counts those that go because of it, and drops them when the lock is free again.
pub(super) fn insert<V: Clone>(store: &Store<V>, key: Key, slot: Slot<V>) {
    let mut dropped = Dropped { inserting: Some(key), ..Dropped::default() };
    store.insert_with_lifecycle(key, slot, &mut dropped);
}

#[derive(Debug, Clone)]
pub(super) struct SlotWeight;

impl<V> Weighter<Key, Slot<V>> for SlotWeight {
    #[inline]
    fn weight(&self, _key: &Key, slot: &Slot<V>) -> u64 {
        slot.weight
    }
}

/// Counts what quick_cache drops of its own accord: the entry that is replaced, and those that make room.
#[derive(Debug, Clone)]
pub(super) struct CountDrops {
    counters: Arc<Counters>,
}

/// The entries that go because of one insertion. Most make way for one at most, hence no allocation.
#[derive(Debug)]
pub(super) struct Dropped<V> {
    inserting: Option<Key>,
    first: Option<V>,
    others: Vec<V>,
}

impl<V> Default for Dropped<V> {
    fn default() -> Self {
        Self { inserting: None, first: None, others: Vec::new() }
    }
}

impl<V> Lifecycle<Key, Slot<V>> for CountDrops {
    type RequestState = Dropped<V>;

    #[inline]
    fn on_evict(&self, dropped: &mut Dropped<V>, key: Key, slot: Slot<V>) {
        let why = if dropped.inserting == Some(key) { Event::Replaced } else { Event::Evicted };
        self.counters.count(why);
        self.counters.add(Event::BytesOut, slot.bytes);
        match dropped.first {
            None => dropped.first = Some(slot.value),
            Some(_) => dropped.others.push(slot.value),
        }
    }
}

/// Hashes keys, which are hashes already, by one multiplication with a secret of the process: nobody can aim
/// at one shard or bucket from outside, and all bits count in the low ones (buckets), the middle ones (shards) and
/// the highest seven (tags).
#[derive(Debug, Clone)]
pub(super) struct KeyHash {
    secret: [u64; 2],
}

/// The state of [`KeyHash`]: good for one [`Key`], correct for anything.
#[derive(Debug)]
pub(super) struct KeyHasher {
    secret: [u64; 2],
    hash: u64,
}

impl KeyHash {
    fn new() -> Self {
        let random = RandomState::new();
        Self { secret: [random.hash_one(0_u8), random.hash_one(1_u8)] }
    }
}

impl BuildHasher for KeyHash {
    type Hasher = KeyHasher;

    #[inline]
    fn build_hasher(&self) -> KeyHasher {
        KeyHasher { secret: self.secret, hash: 0 }
    }
}

impl Hasher for KeyHasher {
    #[inline]
    fn write_u128(&mut self, number: u128) {
        let low = number as u64 ^ self.secret[0] ^ self.hash;
        let high = (number >> 64) as u64 ^ self.secret[1];
        let product = u128::from(low) * u128::from(high);
        self.hash = product as u64 ^ (product >> 64) as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u128(u128::from(byte));
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.hash
    }
}
