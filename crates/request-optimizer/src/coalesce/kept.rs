//! Values that are given for a while to those who come too late to wait for them.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::mem;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::sync::{Arc, Mutex, MutexGuard};

/// How many expired values are thrown away when one is added: more than one, so that they become fewer.
const N_SWEPT: usize = 4;

/// Values by key, each for the same time and so many at the most.
///
/// Whatever is thrown away is dropped after the lock is released, since it is the user's and may do anything.
pub(super) struct Kept<K, V> {
    window: Duration,
    max: usize,
    inner: Mutex<Inner<K, V>>,
}

struct Inner<K, V> {
    values: HashMap<K, Entry<V>>,
    /// The keys in the order they came, which is that of expiry too.
    order: BTreeMap<u64, K>,
    n_added: u64,
}

struct Entry<V> {
    value: Arc<V>,
    /// Never, if that is later than time can be told.
    expires: Option<Instant>,
    place: u64,
}

/// What was taken out, to be dropped.
type Removed<K, V> = (K, Entry<V>, Option<K>);

impl<K: Hash + Eq + Clone, V> Kept<K, V> {
    pub(super) fn new(window: Duration, max: usize) -> Self {
        Self { window, max, inner: Mutex::new(Inner::new()) }
    }

    /// The key's value, if it is still good.
    pub(super) fn get(&self, key: &K, now: Instant) -> Option<Arc<V>> {
        if self.is_idle() {
            return None;
        }
        let mut inner = self.lock();
        let entry = inner.values.get(key)?;
        if !entry.is_expired(now) {
            return Some(Arc::clone(&entry.value));
        }
        let removed = inner.remove(key);
        drop(inner);
        drop(removed);
        None
    }

    /// Keeps a value from now on.
    pub(super) fn insert(&self, key: K, value: Arc<V>, now: Instant) {
        if self.is_idle() {
            return;
        }
        let expires = now.checked_add(self.window);
        let mut removed = Vec::new();
        let mut inner = self.lock();
        removed.extend(inner.remove(&key));
        for _ in 0..N_SWEPT {
            removed.extend(inner.remove_first_if(|entry| entry.is_expired(now)));
        }
        while inner.values.len() >= self.max {
            let Some(oldest) = inner.remove_first_if(|_| true) else { break };
            removed.push(oldest);
        }
        inner.n_added += 1;
        let place = inner.n_added;
        inner.order.insert(place, key.clone());
        inner.values.insert(key, Entry { value, expires, place });
        drop(inner);
        drop(removed);
    }

    /// Drops the key's value.
    pub(super) fn forget(&self, key: &K) {
        if !self.is_idle() {
            let removed = self.lock().remove(key);
            drop(removed);
        }
    }

    /// Drops all values.
    pub(super) fn forget_all(&self) {
        let mut inner = self.lock();
        let empty = Inner { n_added: inner.n_added, ..Inner::new() };
        let removed = mem::replace(&mut *inner, empty);
        drop(inner);
        drop(removed);
    }

    /// How many are still good; the others are thrown away.
    pub(super) fn len(&self, now: Instant) -> usize {
        let mut removed = Vec::new();
        let mut inner = self.lock();
        while let Some(expired) = inner.remove_first_if(|entry| entry.is_expired(now)) {
            removed.push(expired);
        }
        let len = inner.values.len();
        drop(inner);
        drop(removed);
        len
    }

    /// Whether nothing is ever kept.
    fn is_idle(&self) -> bool {
        self.window.is_zero() || self.max == 0
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K, V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Entry<V> {
    fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

impl<K: Hash + Eq, V> Inner<K, V> {
    fn new() -> Self {
        Self { values: HashMap::new(), order: BTreeMap::new(), n_added: 0 }
    }

    fn remove(&mut self, key: &K) -> Option<Removed<K, V>> {
        let (key, entry) = self.values.remove_entry(key)?;
        let twin = self.order.remove(&entry.place);
        Some((key, entry, twin))
    }

    /// Takes out the one that came first, if it is such a one.
    fn remove_first_if(&mut self, matches: impl FnOnce(&Entry<V>) -> bool) -> Option<Removed<K, V>> {
        let (_, key) = self.order.first_key_value()?;
        let is_match = self.values.get(key).is_some_and(matches);
        let (_, key) = is_match.then(|| self.order.pop_first()).flatten()?;
        let (twin, entry) = self.values.remove_entry(&key)?;
        Some((key, entry, Some(twin)))
    }
}
