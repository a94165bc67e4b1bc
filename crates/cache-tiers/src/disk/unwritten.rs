//! What should have been forgotten on disk and could not be: remembered in memory until it can.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Key;

/// More keys than this are not remembered: 1 MiB and what the table adds.
const MOST_KEYS: usize = 65_536;

/// Entries that are on disk and count as gone.
///
/// A value that could not be replaced or forgotten is out of date, and a full disk is no reason to find it again.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    is_any: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    keys: HashSet<Key>,
    all: bool,
}

/// What is to be forgotten as soon as it can be written.
#[derive(Debug, Default)]
pub(super) struct Owed {
    pub(super) keys: Vec<Key>,
    pub(super) all: bool,
}

impl Unwritten {
    pub(super) fn add(&self, key: Key) {
        let mut inner = self.lock();
        if inner.keys.len() < MOST_KEYS {
            inner.keys.insert(key);
        }
        self.is_any.store(true, Ordering::Release);
    }

    pub(super) fn add_all(&self) {
        self.lock().all = true;
        self.is_any.store(true, Ordering::Release);
    }

    #[inline]
    pub(super) fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Acquire)
    }

    /// Whether what is on disk under the key counts as gone.
    #[inline]
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.is_any() && {
            let inner = self.lock();
            inner.all || inner.keys.contains(key)
        }
    }

    /// All of it. It stays here until it is [settled](Self::settle).
    pub(super) fn owed(&self) -> Owed {
        let inner = self.lock();
        Owed { keys: inner.keys.iter().copied().collect(), all: inner.all }
    }

    /// What was owed has been written.
    pub(super) fn settle(&self, owed: &Owed) {
        let mut inner = self.lock();
        for key in &owed.keys {
            inner.keys.remove(key);
        }
        inner.all &= !owed.all;
        self.is_any.store(inner.all || !inner.keys.is_empty(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_counts_as_gone_until_it_is_settled() {
        let unwritten = Unwritten::default();
        let key = |byte| Key::from_bytes([byte; 16]);
        assert!(!unwritten.contains(&key(1)));
        unwritten.add(key(1));
        let first = unwritten.owed();
        unwritten.add(key(2));
        unwritten.settle(&first);
        assert!(!unwritten.contains(&key(1)) && unwritten.contains(&key(2)));
        unwritten.add_all();
        assert!(unwritten.contains(&key(3)));
        unwritten.settle(&unwritten.owed());
        assert!(!unwritten.is_any() && !unwritten.contains(&key(2)));
    }

    #[test]
    fn its_memory_is_bounded() {
        let unwritten = Unwritten::default();
        for number in 0..=MOST_KEYS as u128 {
            unwritten.add(Key::from_bytes(number.to_le_bytes()));
        }
        assert_eq!(unwritten.owed().keys.len(), MOST_KEYS);
    }
}
