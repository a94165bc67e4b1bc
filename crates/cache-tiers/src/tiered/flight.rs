//! Single flight within the process: of all who miss the same key at once, one works the value out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::Key;

/// The values that are being worked out now.
#[derive(Debug)]
pub(super) struct Flights<V> {
    running: Mutex<HashMap<Key, watch::Receiver<Option<V>>>>,
}

/// What one who misses is to do.
pub(super) enum Turn<V> {
    /// Work the value out.
    Lead(Leading<V>),
    /// Wait for the one who does.
    Follow(Following<V>),
}

/// Held while the value is worked out; the others go on waiting until it is dropped.
#[derive(Debug)]
pub(super) struct Leading<V> {
    flights: Arc<Flights<V>>,
    key: Key,
    sender: watch::Sender<Option<V>>,
}

/// Waits for somebody else's value.
pub(super) struct Following<V>(watch::Receiver<Option<V>>);

impl<V: Clone> Flights<V> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { running: Mutex::new(HashMap::new()) })
    }

    pub(super) fn join(self: &Arc<Self>, key: &Key) -> Turn<V> {
        let mut running = self.lock();
        if let Some(receiver) = running.get(key) {
            return Turn::Follow(Following(receiver.clone()));
        }
        let (sender, receiver) = watch::channel(None);
        running.insert(*key, receiver);
        Turn::Lead(Leading { flights: Arc::clone(self), key: *key, sender })
    }
}

impl<V> Flights<V> {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Option<V>>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Leading<V> {
    /// Hands the value to all who wait.
    pub(super) fn land(self, value: V) {
        self.sender.send_replace(Some(value));
    }
}

impl<V> Drop for Leading<V> {
    fn drop(&mut self) {
        // Before the sender goes, so that whoever is woken finds nobody leading.
        self.flights.lock().remove(&self.key);
    }
}

impl<V: Clone> Following<V> {
    /// The value, or nothing if the one who led has given up.
    pub(super) async fn value(mut self) -> Option<V> {
        let value = self.0.wait_for(Option::is_some).await.ok()?;
        value.clone()
    }
}
