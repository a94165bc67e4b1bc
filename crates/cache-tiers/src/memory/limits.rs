//! The bounds of the memory tier, and the weights by which one capacity keeps both of them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Fewer entries in a shard, and the shards fill unevenly.
const ENTRIES_PER_SHARD: u64 = 256;
/// With so many for each thread the machine runs at once, two seldom meet in one; more of them only cost cache lines.
const SHARDS_PER_THREAD: u64 = 4;
const MAX_SHARDS: u64 = 64;
/// More than anyone has room for, and far from where sums of weights overflow.
const MAX_ENTRIES: u64 = 1 << 31;
const MAX_BYTES: u64 = 1 << 60;

/// The bounds in force. Each number is read alone, since nothing breaks when two are of different ages.
#[derive(Debug)]
pub(super) struct Limits {
    n_shards: u64,
    max_entries: AtomicU64,
    max_bytes: AtomicU64,
    capacity: AtomicU64,
    floor: AtomicU64,
    largest: AtomicU64,
}

impl Limits {
    /// Bounds for a new tier on a machine that runs so many threads at once, which also settle its number of shards: a
    /// power of two.
    pub(super) fn new(max_entries: usize, max_bytes: u64, n_threads: usize) -> Self {
        let most = (n_threads as u64 * SHARDS_PER_THREAD).next_power_of_two().min(MAX_SHARDS);
        let n_shards = (max_entries as u64 / ENTRIES_PER_SHARD).clamp(1, most);
        let limits = Self {
            n_shards: 1 << n_shards.ilog2(),
            max_entries: AtomicU64::new(0),
            max_bytes: AtomicU64::new(0),
            capacity: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            largest: AtomicU64::new(0),
        };
        limits.set(max_entries, max_bytes);
        limits
    }

    /// Moves the bounds; zero for either is zero for both.
    pub(super) fn set(&self, max_entries: usize, max_bytes: u64) {
        let store = |place: &AtomicU64, value: u64| place.store(value, Ordering::Relaxed);
        let max_bytes = max_bytes.min(MAX_BYTES);
        let bytes = max_bytes / self.n_shards;
        if max_entries == 0 || bytes == 0 {
            for place in [&self.max_entries, &self.max_bytes, &self.capacity, &self.floor, &self.largest] {
                store(place, 0);
            }
            return;
        }
        // Whole entries in each shard, so that the sum over the shards cannot pass the bound.
        let entries = ((max_entries as u64).min(MAX_ENTRIES) / self.n_shards).clamp(1, bytes);
        let share = bytes / entries;
        // quick_cache admits nothing heavier than its hot region, 97 % of a shard, not even as the only entry.
        let floor = share.min(bytes - bytes / 16);
        store(&self.max_entries, (entries * self.n_shards).max((max_entries as u64).min(MAX_ENTRIES)));
        store(&self.max_bytes, max_bytes);
        store(&self.capacity, share * entries * self.n_shards);
        store(&self.floor, floor);
        store(&self.largest, floor.max(bytes / 4));
    }

    pub(super) fn n_shards(&self) -> u64 {
        self.n_shards
    }

    /// The sum of weights that fits, a multiple of the number of shards; 0 if nothing is to be kept.
    pub(super) fn capacity(&self) -> u64 {
        self.capacity.load(Ordering::Relaxed)
    }

    /// The least weight of an entry, and the greatest; the latter is 0 if nothing is to be kept.
    #[inline]
    pub(super) fn weights(&self) -> (u64, u64) {
        (self.floor.load(Ordering::Relaxed), self.largest.load(Ordering::Relaxed))
    }

    /// The most entries and the most bytes.
    pub(super) fn bounds(&self) -> (u64, u64) {
        (self.max_entries.load(Ordering::Relaxed), self.max_bytes.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_fits_by_weight_fits_by_entries_and_by_bytes(
            first in 1..100_000_usize, max_entries in 1..100_000_usize, max_bytes in 1..u64::MAX,
        ) {
            let limits = Limits::new(first, max_bytes, 16);
            limits.set(max_entries, max_bytes);
            let (floor, largest) = limits.weights();
            prop_assume!(limits.capacity() > 0);
            let shard = limits.capacity() / limits.n_shards();
            prop_assert_eq!(shard * limits.n_shards(), limits.capacity());
            prop_assert!(limits.capacity() <= max_bytes);
            prop_assert!(shard / floor * limits.n_shards() <= limits.bounds().0);
            prop_assert!(largest >= floor && largest <= shard.max(1));
            prop_assert!(limits.bounds().0 == (max_entries as u64).max(limits.n_shards()));
        }
    }

    #[test]
    fn the_default_has_32_shards_and_takes_entries_of_256_kib() {
        let limits = Limits::new(10_000, 32 << 20, 16);
        assert_eq!(limits.n_shards(), 32);
        assert_eq!(limits.weights(), ((1 << 20) / 312, 256 << 10));
    }
}
