//! Byte buffers that are used again, bounded in bytes.

pub(crate) mod shelves;

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::shelves::{Shelves, capacity_of, class_for};
use crate::{Level, PressureResponse, PressureState};

/// Enough that threads seldom meet; more would only scatter the buffers.
const N_SHARDS: usize = 8;

/// Where a [`BufferPool`] stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BufferStats {
    /// Buffers taken that lay in the pool.
    pub n_reused: u64,
    /// Buffers taken that had to be allocated.
    pub n_allocated: u64,
    /// Buffers that came back and were kept.
    pub n_returned: u64,
    /// Buffers that were freed: too large, too small, beyond the bound, or trimmed.
    pub n_discarded: u64,
    /// Bytes of capacity that lie in the pool now.
    pub bytes_kept: u64,
    /// Bytes of capacity that may lie there.
    pub max_bytes: u64,
}

/// Keeps buffers for those who come next. A clone is the same pool.
///
/// Capacities are powers of two from 256 B to 1 MiB. A larger buffer is allocated as it is asked for, and freed. The
/// content of a buffer that lies in the pool is out of reach, and not overwritten.
///
/// ```
/// use resource_manager::BufferPool;
///
/// let pool = BufferPool::new(1024 * 1024);
/// let mut buffer = pool.take(300);
/// buffer.extend_from_slice(b"hello");
/// assert_eq!(buffer.capacity(), 512);
/// drop(buffer);
///
/// assert!(pool.take(300).is_empty());
/// assert_eq!(pool.stats().n_reused, 1);
/// ```
#[derive(Debug, Clone)]
pub struct BufferPool {
    shelves: Arc<Shelves>,
}

/// A buffer, which goes back to its pool when it is dropped.
pub struct PooledBuffer {
    buffer: Vec<u8>,
    shelves: Option<Arc<Shelves>>,
}

impl BufferPool {
    /// An empty pool that will keep at most so many bytes; 0 keeps nothing.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        Self { shelves: Arc::new(Shelves::new(N_SHARDS, max_bytes)) }
    }

    /// An empty buffer with room for at least so many bytes.
    #[must_use]
    pub fn take(&self, at_least: usize) -> PooledBuffer {
        let class = class_for(at_least);
        let reused = self.shelves.take(shard(), class);
        let buffer = reused.unwrap_or_else(|| Vec::with_capacity(class.map_or(at_least, capacity_of)));
        PooledBuffer { buffer, shelves: Some(Arc::clone(&self.shelves)) }
    }

    /// Frees buffers until at most this share of the bound is kept. The share is taken to be within [0, 1]; one
    /// that is no number frees all.
    pub fn trim(&self, share: f64) {
        // OK to cast: the product is not negative, and a cast of what is no number is 0.
        let n_bytes = (self.shelves.max_bytes() as f64 * share.clamp(0.0, 1.0)) as u64;
        self.shelves.trim_to(n_bytes);
    }

    /// Keeps at most so many bytes from now on, and frees what is beyond.
    pub fn set_max_bytes(&self, max_bytes: u64) {
        self.shelves.set_max_bytes(max_bytes);
    }

    /// How things stand.
    #[must_use]
    pub fn stats(&self) -> BufferStats {
        let counts = self.shelves.counts();
        BufferStats {
            n_reused: counts.n_reused,
            n_allocated: counts.n_allocated,
            n_returned: counts.n_returned,
            n_discarded: counts.n_discarded,
            bytes_kept: self.shelves.bytes_kept(),
            max_bytes: self.shelves.max_bytes(),
        }
    }
}

/// A number of this thread's own, so that threads seldom meet at one shard.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    // OK to use the first where a thread is ending: any shard is right.
    SHARD.try_with(|&shard| shard).unwrap_or(0)
}

impl PooledBuffer {
    /// The bytes, which do not go back to the pool.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<u8> {
        self.shelves = None;
        std::mem::take(&mut self.buffer)
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        if let Some(shelves) = self.shelves.take() {
            self.buffer.clear();
            shelves.put(shard(), std::mem::take(&mut self.buffer));
        }
    }
}

impl Deref for PooledBuffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.buffer
    }
}

impl DerefMut for PooledBuffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }
}

impl AsRef<[u8]> for PooledBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl AsMut<Vec<u8>> for PooledBuffer {
    fn as_mut(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }
}

/// Sizes only: what is in a buffer is its owner's.
impl fmt::Debug for PooledBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledBuffer")
            .field("len", &self.buffer.len())
            .field("capacity", &self.buffer.capacity())
            .finish()
    }
}

/// While memory is short a pool keeps nothing; afterwards, what it kept before.
#[derive(Debug)]
pub struct ShrinkBuffers {
    pool: BufferPool,
    max_bytes: u64,
}

impl ShrinkBuffers {
    /// A response that gives the pool back the bound it has now.
    #[must_use]
    pub fn new(pool: BufferPool) -> Self {
        let max_bytes = pool.shelves.max_bytes();
        Self { pool, max_bytes }
    }
}

impl PressureResponse for ShrinkBuffers {
    fn name(&self) -> &'static str {
        "shrink_buffers"
    }

    fn respond(&self, state: PressureState) {
        self.pool.set_max_bytes(match state.memory {
            Level::High => 0,
            Level::Normal => self.max_bytes,
        });
    }
}

#[cfg(test)]
mod tests;
