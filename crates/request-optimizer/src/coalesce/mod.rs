//! Single flight: of all equal requests at once one computes, and the others are given its value.

mod config;
mod error;
mod flights;
mod kept;
mod seat;
mod stats;

use std::fmt::{self, Debug};
use std::hash::Hash;
use std::time::Duration;

use hp_base::{Clock, Deadline};

pub use self::config::{CoalescerConfig, OnFailure, Waiter};
pub use self::error::CoalesceError;
use self::flights::{Flights, Joined};
use self::seat::Told;
pub use self::stats::CoalescerStats;
use crate::Urgency;
use crate::sync::Arc;

/// Lets one of several equal requests compute, and gives its value to all.
///
/// Nothing runs in the background: the one who leads polls the computation itself. If it is cancelled or out of time, the
/// computation is dropped, and the most urgent of those who wait, or the first of them, leads with its own. So a request
/// that waits must be polled, as any future must: one that is woken to lead and never polled keeps the others waiting.
///
/// A computation must not ask for its own key, directly or not: it would wait for itself.
///
/// ```
/// use std::sync::Arc;
/// use hp_base::SystemClock;
/// use request_optimizer::{CoalesceError, Coalescer, CoalescerConfig, Role, Waiter};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), CoalesceError<String>> {
/// let coalescer = Coalescer::new(CoalescerConfig::default(), Arc::new(SystemClock));
/// let ask = || coalescer.run("a question", Waiter::default(), |_urgency| async {
///     tokio::task::yield_now().await;
///     Ok::<_, String>("an answer")
/// });
/// let (first, second) = tokio::join!(ask(), ask());
/// assert_eq!((first?.role, second?.role), (Role::Led, Role::Joined));
/// assert_eq!(coalescer.stats().n_led, 1);
/// # Ok(())
/// # }
/// ```
pub struct Coalescer<K, V, E> {
    config: CoalescerConfig,
    clock: std::sync::Arc<dyn Clock>,
    flights: Flights<K, V, E>,
}

/// A value, and how it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flown<V> {
    /// The value.
    pub value: V,
    /// How it came.
    pub role: Role,
}

/// How a request came by its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It has computed it.
    Led,
    /// It has waited for another to compute it.
    Joined,
    /// It came when the value had just been computed.
    Repeated,
}

impl<K, V, E> Coalescer<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    /// One in which nothing is under way.
    #[must_use]
    pub fn new(config: CoalescerConfig, clock: std::sync::Arc<dyn Clock>) -> Self {
        Self { config, clock, flights: Flights::new(config) }
    }

    /// The value of a key: one kept from a moment ago, else that of the computation under way, else that of `compute`.
    ///
    /// `compute` is called when it is this request's turn to lead, which may be at once, later or never. It is given the
    /// flight's urgency: the highest priority of all who came to wait. It rises when somebody more urgent comes, and does
    /// not fall when somebody leaves.
    ///
    /// May be dropped at any time.
    ///
    /// # Errors
    /// [`CoalesceError::Failed`] if the computation failed, [`CoalesceError::Panicked`] if it panicked in the hands of
    /// another request, each under [`OnFailure::Retry`] only where it was this request's own to fail; and
    /// [`CoalesceError::OutOfTime`] once the waiter's deadline has passed. One whose deadline has passed before it came
    /// is given a kept value all the same, and starts nothing.
    ///
    /// # Panics
    /// If `compute` or its future does; and if there is a deadline, outside a tokio runtime with timers.
    pub async fn run<F, Fut>(&self, key: K, waiter: Waiter, compute: F) -> Result<Flown<V>, CoalesceError<E>>
    where
        F: FnOnce(Urgency) -> Fut + Send,
        Fut: Future<Output = Result<V, E>> + Send,
    {
        let left = waiter.deadline.left(&*self.clock);
        if waiter.deadline == Deadline::never() {
            return self.fly(key, waiter, compute).await;
        }
        let flown = if left == Duration::ZERO {
            self.flights.kept_value(&key, self.clock.now()).map(|value| Ok(repeat(value)))
        } else {
            tokio::time::timeout(left, self.fly(key, waiter, compute)).await.ok()
        };
        flown.unwrap_or_else(|| {
            self.flights.counters.n_out_of_time.count();
            Err(CoalesceError::OutOfTime)
        })
    }

    /// Drops the value kept for a key. If one is being computed, those who wait are given it, but it is not kept, and
    /// nobody joins them any more: whoever asks from now on is not given what was forgotten.
    pub fn forget(&self, key: &K) {
        self.flights.forget(key);
    }

    /// The same for all keys.
    pub fn forget_all(&self) {
        self.flights.forget_all();
    }

    /// What it has done so far, and what it holds.
    #[must_use]
    pub fn stats(&self) -> CoalescerStats {
        let counters = &self.flights.counters;
        CoalescerStats {
            n_led: counters.n_led.get(),
            n_joined: counters.n_joined.get(),
            n_repeated: counters.n_repeated.get(),
            n_handed_over: counters.n_handed_over.get(),
            n_failed: counters.n_failed.get(),
            n_panicked: counters.n_panicked.get(),
            n_out_of_time: counters.n_out_of_time.get(),
            n_in_flight: self.flights.n_in_flight(),
            n_kept: self.flights.n_kept(self.clock.now()),
        }
    }

    /// All of it but the deadline.
    async fn fly<F, Fut>(&self, key: K, waiter: Waiter, compute: F) -> Result<Flown<V>, CoalesceError<E>>
    where
        F: FnOnce(Urgency) -> Fut + Send,
        Fut: Future<Output = Result<V, E>> + Send,
    {
        let mut place = match self.flights.join(key, waiter.priority, self.clock.now()) {
            Joined::Repeats(value) => return Ok(repeat(value)),
            Joined::Leads(place) => place,
            Joined::Waits(mut place, seat) => match place.told(&seat).await {
                Told::Landed(Ok(value)) => return Ok(Flown { value: own(value), role: Role::Joined }),
                Told::Landed(Err(error)) => return Err(CoalesceError::Failed(own(error))),
                Told::Panicked => return Err(CoalesceError::Panicked),
                Told::Lead => place,
            },
        };
        let urgency = place.urgency();
        // The call stands inside, so that it is the computation's panic if it panics.
        let result = place.compute(async move { compute(urgency).await }).await;
        let landed = result.map(Arc::new).map_err(Arc::new);
        // The others first: if cloning panics, it is for this request alone.
        place.land(landed.clone(), self.clock.now());
        match landed {
            Ok(value) => Ok(Flown { value: own(value), role: Role::Led }),
            Err(error) => {
                self.flights.counters.n_failed.count();
                Err(CoalesceError::Failed(own(error)))
            }
        }
    }
}

fn repeat<V: Clone>(value: Arc<V>) -> Flown<V> {
    Flown { value: own(value), role: Role::Repeated }
}

/// Takes what is shared out of its pointer: by itself for the last who holds it, a clone for the others.
fn own<T: Clone>(shared: Arc<T>) -> T {
    Arc::try_unwrap(shared).unwrap_or_else(|shared| T::clone(&shared))
}

impl<K, V, E> Debug for Coalescer<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coalescer").field("config", &self.config).finish_non_exhaustive()
    }
}
