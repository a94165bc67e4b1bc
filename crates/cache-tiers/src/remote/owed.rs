//! What was to be forgotten while the server was away: not served meanwhile, and made up for when it is back.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Forget, Key};

/// More keys than this become a flush.
const MOST_KEYS: usize = 1024;

/// The list of debts.
#[derive(Debug, Default)]
pub(super) struct Owed {
    is_any: AtomicBool,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    all: bool,
    keys: HashSet<Key>,
    n_added: u64,
}

impl Owed {
    pub(super) fn add(&self, what: Forget) {
        let mut list = self.lock();
        list.n_added += 1;
        match what {
            Forget::Key(key) => {
                list.keys.insert(key);
            }
            Forget::All => list.all = true,
        }
        if list.keys.len() > MOST_KEYS {
            list.all = true;
        }
        if list.all {
            list.keys.clear();
        }
        self.is_any.store(true, Ordering::Release);
    }

    /// Whether the entry under the key is to be forgotten.
    #[inline]
    pub(super) fn includes(&self, key: &Key) -> bool {
        self.is_any.load(Ordering::Acquire) && {
            let list = self.lock();
            list.all || list.keys.contains(key)
        }
    }

    /// One debt, which stays until it is [paid](Self::paid), and the number of debts made so far.
    pub(super) fn next(&self) -> Option<(Forget, u64)> {
        let list = self.lock();
        let what =
            if list.all { Some(Forget::All) } else { list.keys.iter().next().map(|&key| Forget::Key(key)) };
        what.map(|what| (what, list.n_added))
    }

    /// Drops a debt, unless one was added since it was read: that may have been the same once more.
    pub(super) fn paid(&self, (what, n_added): (Forget, u64)) {
        let mut list = self.lock();
        if list.n_added != n_added {
            return;
        }
        match what {
            Forget::Key(key) => {
                list.keys.remove(&key);
            }
            Forget::All => list.all = false,
        }
        self.is_any.store(list.all || !list.keys.is_empty(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        Key::from_bytes((number as u128).to_be_bytes())
    }

    #[test]
    fn debts_are_kept_until_paid() {
        let owed = Owed::default();
        assert!(!owed.includes(&key(1)));
        owed.add(Forget::Key(key(1)));
        assert!(owed.includes(&key(1)) && !owed.includes(&key(2)));
        let debt = owed.next().unwrap();
        assert_eq!(debt.0, Forget::Key(key(1)));
        owed.add(Forget::Key(key(1)));
        owed.paid(debt);
        assert!(owed.includes(&key(1)), "it was made once more after it had been read");
        owed.paid(owed.next().unwrap());
        assert!(!owed.includes(&key(1)));
        assert_eq!(owed.next(), None);
    }

    #[test]
    fn too_many_debts_become_one() {
        let owed = Owed::default();
        (0..=MOST_KEYS).for_each(|number| owed.add(Forget::Key(key(number))));
        assert!(owed.includes(&key(MOST_KEYS + 7)));
        let debt = owed.next().unwrap();
        assert_eq!(debt.0, Forget::All);
        owed.paid(debt);
        assert!(!owed.includes(&key(0)));
    }
}
