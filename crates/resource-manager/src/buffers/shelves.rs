//! Where buffers lie until they are taken again: shards of shelves, and a bound on the bytes in all of them.

use std::sync::PoisonError;

use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

/// The capacity of the smallest class is 2 to this power: 256 bytes.
const SMALLEST: u32 = 8;

/// Classes of capacities: 256 B, 512 B, … 1 MiB.
pub(crate) const N_CLASSES: usize = 13;

/// The capacity of the largest class, in bytes.
pub(crate) const LARGEST: usize = capacity_of(N_CLASSES - 1);

/// Capacities of a class, in bytes.
pub(crate) const fn capacity_of(class: usize) -> usize {
    1 << (SMALLEST as usize + class)
}

/// The smallest class with room for so many bytes, if there is one.
pub(crate) fn class_for(at_least: usize) -> Option<usize> {
    (0..N_CLASSES).find(|&class| capacity_of(class) >= at_least)
}

/// The class in which a buffer of this capacity is of use; none if it is too small or too large to be kept.
pub(crate) fn class_of(capacity: usize) -> Option<usize> {
    let power = capacity.checked_ilog2()?;
    (capacity <= LARGEST).then_some(power.checked_sub(SMALLEST)? as usize)
}

/// The buffers at rest.
///
/// `bytes_kept` is raised before a buffer is put down and lowered after it is taken, so that the bound holds at all times.
#[derive(Debug)]
pub(crate) struct Shelves {
    shards: Vec<Alone<Mutex<Shard>>>,
    bytes_kept: Alone<AtomicU64>,
    max_bytes: AtomicU64,
}

/// What is written to often has a cache line of its own, so that it does not take its neighbours along.
#[derive(Debug)]
#[repr(align(128))]
struct Alone<T>(T);

#[derive(Debug, Default)]
struct Shard {
    shelves: [Vec<Vec<u8>>; N_CLASSES],
    counts: Counts,
}

/// What became of buffers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) n_reused: u64,
    pub(crate) n_allocated: u64,
    pub(crate) n_returned: u64,
    pub(crate) n_discarded: u64,
}

impl Shelves {
    pub(crate) fn new(n_shards: usize, max_bytes: u64) -> Self {
        let shards = (0..n_shards.max(1)).map(|_| Alone(Mutex::new(Shard::default()))).collect();
        Self { shards, bytes_kept: Alone(AtomicU64::new(0)), max_bytes: AtomicU64::new(max_bytes) }
    }

    /// A buffer of the class: from the shard, or from another that nobody holds. If there is none, one will be allocated.
    pub(crate) fn take(&self, shard: usize, class: Option<usize>) -> Option<Vec<u8>> {
        let n_shards = self.shards.len();
        let mut own = self.lock(shard);
        let others = || (1..n_shards).map(|step| &self.shards[(shard + step) % n_shards].0);
        let found = class.and_then(|class| {
            own.shelves[class]
                .pop()
                .or_else(|| others().find_map(|other| other.try_lock().ok()?.shelves[class].pop()))
        });
        match &found {
            Some(buffer) => {
                own.counts.n_reused += 1;
                self.bytes_kept.0.fetch_sub(buffer.capacity() as u64, Ordering::AcqRel);
            }
            None => own.counts.n_allocated += 1,
        }
        found
    }

    /// Puts a buffer down, or frees it if it is of no use or beyond the bound.
    pub(crate) fn put(&self, shard: usize, buffer: Vec<u8>) {
        let n_bytes = buffer.capacity() as u64;
        let most = self.max_bytes();
        let room = |kept: u64| kept.checked_add(n_bytes).filter(|&kept| kept <= most);
        let class = class_of(buffer.capacity())
            .filter(|_| self.bytes_kept.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).is_ok());
        let mut own = self.lock(shard);
        let Some(class) = class else {
            own.counts.n_discarded += 1;
            drop(own);
            // Freed once no lock is held.
            drop(buffer);
            return;
        };
        own.shelves[class].push(buffer);
        own.counts.n_returned += 1;
        drop(own);
        // The bound may have been lowered since it was read. Who lowered it either saw the count and locked this shard
        // after the push, or is seen here.
        let most_now = self.max_bytes();
        if most_now < most {
            self.trim_to(most_now);
        }
    }

    /// Frees until at most so many bytes are kept, shard by shard, the largest of each first.
    pub(crate) fn trim_to(&self, n_bytes: u64) {
        let mut freed = Vec::new();
        // A write that changes nothing: who raises the count after it sees the bound that was stored before it.
        let mut kept = self.bytes_kept.0.fetch_add(0, Ordering::AcqRel);
        for shard in 0..self.shards.len() {
            if kept <= n_bytes {
                break;
            }
            let mut shard = self.lock(shard);
            let Shard { shelves, counts } = &mut *shard;
            for shelf in shelves.iter_mut().rev() {
                while kept > n_bytes {
                    let Some(buffer) = shelf.pop() else { break };
                    let capacity = buffer.capacity() as u64;
                    kept = self.bytes_kept.0.fetch_sub(capacity, Ordering::AcqRel) - capacity;
                    counts.n_discarded += 1;
                    // Freed once no lock is held.
                    freed.push(buffer);
                }
            }
        }
    }

    /// Changes the bound and frees what is beyond it.
    pub(crate) fn set_max_bytes(&self, max_bytes: u64) {
        self.max_bytes.store(max_bytes, Ordering::Release);
        self.trim_to(max_bytes);
    }

    pub(crate) fn bytes_kept(&self) -> u64 {
        self.bytes_kept.0.load(Ordering::Acquire)
    }

    pub(crate) fn max_bytes(&self) -> u64 {
        self.max_bytes.load(Ordering::Acquire)
    }

    pub(crate) fn counts(&self) -> Counts {
        (0..self.shards.len()).map(|shard| self.lock(shard).counts).fold(Counts::default(), |sum, of| {
            Counts {
                n_reused: sum.n_reused + of.n_reused,
                n_allocated: sum.n_allocated + of.n_allocated,
                n_returned: sum.n_returned + of.n_returned,
                n_discarded: sum.n_discarded + of.n_discarded,
            }
        })
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.shards[shard % self.shards.len()].0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
