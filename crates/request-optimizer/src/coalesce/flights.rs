//! Who computes what, and who waits for it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::mem;
use std::pin::pin;
use std::sync::PoisonError;
use std::time::Instant;

use hp_base::Priority;

use super::kept::Kept;
use super::seat::{Landed, Seat, Told};
use super::stats::Counters;
use super::{CoalescerConfig, OnFailure};
use crate::Urgency;
use crate::sync::{Arc, Mutex, MutexGuard};

const N_SHARDS: usize = 16;

/// The flights under way, and the values of those that have landed.
///
/// One lock of a shard is the only truth about who leads a flight and who waits for it. Nothing of the user's is called
/// or dropped under it, the hash and equality of keys aside; seats are told after it is released.
pub(super) struct Flights<K, V, E> {
    shards: [Mutex<Shard<K, V, E>>; N_SHARDS],
    kept: Kept<K, V>,
    on_failure: OnFailure,
    pub(super) counters: Counters,
}

struct Shard<K, V, E> {
    /// The flights that equal requests join.
    open: HashMap<K, FlightId>,
    /// All flights, those included that were forgotten while under way.
    flights: HashMap<FlightId, Flight<V, E>>,
    n_ids: u64,
}

/// The number of its first leader in the shard.
type FlightId = u64;

struct Flight<V, E> {
    urgency: Urgency,
    /// The number of the one who leads.
    leader: u64,
    waiting: BTreeMap<Rank, Arc<Seat<V, E>>>,
}

/// Who leads next: the most urgent, then the one who came first.
type Rank = (Reverse<Priority>, u64);

/// What one who comes is to do.
pub(super) enum Joined<'a, K: Hash + Eq + Clone, V, E> {
    /// Take the value that was kept.
    Repeats(Arc<V>),
    /// Lead.
    Leads(Place<'a, K, V, E>),
    /// Wait.
    Waits(Place<'a, K, V, E>, Arc<Seat<V, E>>),
}

/// A place in a flight, of one who leads or waits. To drop it is to leave: one who leads hands over to one who waits.
pub(super) struct Place<'a, K: Hash + Eq + Clone, V, E> {
    flights: &'a Flights<K, V, E>,
    key: K,
    shard: usize,
    flight: FlightId,
    rank: Rank,
    urgency: Urgency,
    /// While a computation is being polled; if it still holds when the place is dropped, the computation has panicked.
    is_polling: bool,
    /// Whether nothing is left to be said to the others.
    is_over: bool,
}

impl<K: Hash + Eq + Clone, V, E> Flights<K, V, E> {
    pub(super) fn new(config: CoalescerConfig) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Shard::new())),
            kept: Kept::new(config.window, config.max_kept),
            on_failure: config.on_failure,
            counters: Counters::default(),
        }
    }

    /// Comes to the flight of a key, or starts one.
    pub(super) fn join(&self, key: K, priority: Priority, now: Instant) -> Joined<'_, K, V, E> {
        let index = shard_of(&key);
        let mut shard = self.lock(index);
        shard.n_ids += 1;
        let rank = (Reverse(priority), shard.n_ids);
        let place = |key, flight, urgency| Place {
            flights: self,
            key,
            shard: index,
            flight,
            rank,
            urgency,
            is_polling: false,
            is_over: false,
        };
        if let Some((id, flight)) = shard.open_flight(&key) {
            let seat = Arc::new(Seat::new());
            flight.waiting.insert(rank, Arc::clone(&seat));
            let urgency = flight.urgency.clone();
            drop(shard);
            // Without the lock, since it wakes those who look out for a rise.
            urgency.raise(priority);
            self.counters.n_joined.count();
            return Joined::Waits(place(key, id, urgency), seat);
        }
        // Under the lock, so that no flight lands between the two looks.
        if let Some(value) = self.kept.get(&key, now) {
            drop(shard);
            self.counters.n_repeated.count();
            return Joined::Repeats(value);
        }
        let urgency = Urgency::new(priority);
        let id = rank.1;
        shard.open.insert(key.clone(), id);
        shard.flights.insert(id, Flight { urgency: urgency.clone(), leader: id, waiting: BTreeMap::new() });
        drop(shard);
        Joined::Leads(place(key, id, urgency))
    }

    /// The value kept for a key, for one who has no time to wait.
    pub(super) fn kept_value(&self, key: &K, now: Instant) -> Option<Arc<V>> {
        self.kept.get(key, now).inspect(|_| self.counters.n_repeated.count())
    }

    /// Nobody joins the key's flight any more, nor finds its value.
    pub(super) fn forget(&self, key: &K) {
        let mut shard = self.lock(shard_of(key));
        let closed = shard.open.remove_entry(key);
        self.kept.forget(key);
        drop(shard);
        drop(closed);
    }

    /// Nobody joins any flight there is any more, nor finds any value.
    pub(super) fn forget_all(&self) {
        for index in 0..N_SHARDS {
            let closed = mem::take(&mut self.lock(index).open);
            drop(closed);
        }
        // Last: until its shard had its turn, a flight could still land and have its value kept.
        self.kept.forget_all();
    }

    pub(super) fn n_in_flight(&self) -> usize {
        (0..N_SHARDS).map(|index| self.lock(index).flights.len()).sum()
    }

    pub(super) fn n_kept(&self, now: Instant) -> usize {
        self.kept.len(now)
    }

    fn lock(&self, index: usize) -> MutexGuard<'_, Shard<K, V, E>> {
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The leader's part ends with something to tell, or with nothing, where another is to lead if there is one.
    fn end(&self, place: &Place<'_, K, V, E>, told: Option<Told<V, E>>, now: Option<Instant>) {
        let mut shard = self.lock(place.shard);
        let Some(flight) = shard.flights.get_mut(&place.flight) else { return };
        if told.is_none()
            && let Some((rank, seat)) = flight.waiting.pop_first()
        {
            flight.leader = rank.1;
            drop(shard);
            self.counters.n_handed_over.count();
            seat.tell(Told::Lead);
            return;
        }
        let flight = shard.flights.remove(&place.flight);
        let closed = shard.close(&place.key, place.flight);
        // Kept under the lock, so that whoever finds no flight finds the value.
        let unkept = match (closed, &told, now) {
            (Some(key), Some(Told::Landed(Ok(value))), Some(now)) => {
                self.kept.insert(key, Arc::clone(value), now);
                None
            }
            (closed, ..) => closed,
        };
        drop(shard);
        drop(unkept);
        if let (Some(flight), Some(told)) = (flight, told) {
            for seat in flight.waiting.into_values() {
                seat.tell(told.clone());
            }
        }
    }
}

impl<K: Hash + Eq, V, E> Shard<K, V, E> {
    fn new() -> Self {
        Self { open: HashMap::new(), flights: HashMap::new(), n_ids: 0 }
    }

    fn open_flight(&mut self, key: &K) -> Option<(FlightId, &mut Flight<V, E>)> {
        let id = *self.open.get(key)?;
        Some((id, self.flights.get_mut(&id)?))
    }

    /// Lets nobody join the flight any more; the key, if somebody could.
    fn close(&mut self, key: &K, id: FlightId) -> Option<K> {
        if self.open.get(key) != Some(&id) {
            return None;
        }
        self.open.remove_entry(key).map(|(key, _)| key)
    }
}

impl<K: Hash + Eq + Clone, V, E> Place<'_, K, V, E> {
    /// How urgent the flight is.
    pub(super) fn urgency(&self) -> Urgency {
        self.urgency.clone()
    }

    /// Waits to be told something.
    pub(super) async fn told(&mut self, seat: &Seat<V, E>) -> Told<V, E> {
        let told = poll_fn(|context| seat.poll_told(context)).await;
        self.is_over = !matches!(told, Told::Lead);
        told
    }

    /// Polls a computation to its end.
    pub(super) async fn compute<T>(&mut self, computation: impl Future<Output = T>) -> T {
        self.flights.counters.n_led.count();
        let mut computation = pin!(computation);
        poll_fn(|context| {
            self.is_polling = true;
            let polled = computation.as_mut().poll(context);
            self.is_polling = false;
            polled
        })
        .await
    }

    /// Ends the flight with what the computation has come to, or has another try.
    pub(super) fn land(mut self, landed: Landed<V, E>, now: Instant) {
        let told = match (&landed, self.flights.on_failure) {
            (Err(_), OnFailure::Retry) => None,
            _ => Some(Told::Landed(landed)),
        };
        self.flights.end(&self, told, Some(now));
        self.is_over = true;
    }

    /// Leaves before the flight has ended.
    fn leave(&self) {
        if self.is_polling {
            self.flights.counters.n_panicked.count();
        }
        let mut shard = self.flights.lock(self.shard);
        let Some(flight) = shard.flights.get_mut(&self.flight) else { return };
        if flight.leader != self.rank.1 {
            let seat = flight.waiting.remove(&self.rank);
            drop(shard);
            drop(seat);
            return;
        }
        drop(shard);
        // OK to have released the lock meanwhile: nobody but the leader ends a flight.
        let told = (self.is_polling && self.flights.on_failure == OnFailure::Share).then_some(Told::Panicked);
        self.flights.end(self, told, None);
    }
}

impl<K: Hash + Eq + Clone, V, E> Drop for Place<'_, K, V, E> {
    fn drop(&mut self) {
        if !self.is_over {
            self.leave();
        }
    }
}

/// Which shard a key belongs to. A known hash will do: who makes keys collide here makes them wait for a lock, no more.
fn shard_of<K: Hash>(key: &K) -> usize {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
    // OK to cast: the remainder is small.
    (hash % N_SHARDS as u64) as usize
}
