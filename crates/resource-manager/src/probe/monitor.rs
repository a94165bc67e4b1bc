//! A thread that takes samples, keeps the latest and passes it on.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use hp_base::Clock;
use tokio::runtime::Handle;

use super::lag::Lag;
use super::{ResourceProbe, Resources};

/// A task that takes longer than this is reported as waiting still; the sampling goes on.
const LAG_PATIENCE: Duration = Duration::from_millis(250);

type Subscriber = Arc<dyn Fn(&Resources) + Send + Sync>;

/// Takes samples on a thread of its own, which ends when this is dropped.
///
/// ```
/// use std::sync::Arc;
/// use hp_base::SystemClock;
/// use resource_manager::{ResourceMonitor, SystemProbe};
///
/// let clock = Arc::new(SystemClock);
/// let probe = Arc::new(SystemProbe::new());
/// let monitor = ResourceMonitor::start(probe, ResourceMonitor::INTERVAL, clock, None)?;
/// assert!(monitor.latest().cpu_quota > 0.0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct ResourceMonitor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Keeps a subscriber; dropping it takes the subscriber away, which may be called once more meanwhile.
#[must_use = "the subscriber goes with it"]
pub struct Subscription {
    shared: Weak<Shared>,
    number: u64,
}

struct Shared {
    probe: Arc<dyn ResourceProbe>,
    lag: Option<Lag>,
    state: Mutex<State>,
    /// Held from a sample to the end of its subscribers, so that these see the samples in their order.
    turn: Mutex<()>,
    stop: Condvar,
}

struct State {
    latest: Resources,
    n_samples: u64,
    subscribers: Vec<(u64, Subscriber)>,
    n_subscribed: u64,
    is_stopped: bool,
}

impl ResourceMonitor {
    /// How often samples are taken where nothing else is asked for: every 5 s.
    pub const INTERVAL: Duration = Duration::from_secs(5);

    /// Takes a first sample and starts the thread. With a `runtime`, the time that a task waits for it is measured too;
    /// by `clock`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        probe: Arc<dyn ResourceProbe>,
        interval: Duration,
        clock: Arc<dyn Clock>,
        runtime: Option<Handle>,
    ) -> io::Result<Self> {
        let state = State {
            latest: probe.sample(),
            n_samples: 1,
            subscribers: Vec::new(),
            n_subscribed: 0,
            is_stopped: false,
        };
        let shared = Arc::new(Shared {
            probe,
            lag: runtime.map(|runtime| Lag::new(runtime, clock)),
            state: Mutex::new(state),
            turn: Mutex::new(()),
            stop: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("resource-monitor".to_owned())
            .spawn(move || of_thread.run(interval))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// The latest sample. Reads nothing.
    #[must_use]
    pub fn latest(&self) -> Resources {
        self.shared.lock().latest
    }

    /// How many samples were taken.
    #[must_use]
    pub fn n_samples(&self) -> u64 {
        self.shared.lock().n_samples
    }

    /// Takes a sample on this thread, for the subscribers too. It takes some 0.3 ms; the time a task waits for the
    /// runtime is the one that was measured last.
    pub fn sample_now(&self) -> Resources {
        self.shared.sample()
    }

    /// Calls `subscriber` with every sample from now on, on the thread that took it. One that panics is passed over. It
    /// must not take samples itself.
    pub fn subscribe(&self, subscriber: impl Fn(&Resources) + Send + Sync + 'static) -> Subscription {
        let mut state = self.shared.lock();
        let number = state.n_subscribed;
        state.n_subscribed += 1;
        state.subscribers.push((number, Arc::new(subscriber)));
        Subscription { shared: Arc::downgrade(&self.shared), number }
    }
}

impl Shared {
    fn run(&self, interval: Duration) {
        while self.wait(interval) {
            if let Some(lag) = &self.lag {
                lag.measure(LAG_PATIENCE.min(interval));
            }
            self.sample();
        }
    }

    /// Waits for the next sample; not for as long once it is stopped, and then it says so.
    fn wait(&self, interval: Duration) -> bool {
        let waiting = |state: &mut State| !state.is_stopped;
        let waited = self.stop.wait_timeout_while(self.lock(), interval, waiting);
        !waited.unwrap_or_else(PoisonError::into_inner).0.is_stopped
    }

    fn sample(&self) -> Resources {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut resources = self.probe.sample();
        resources.loop_lag = self.lag.as_ref().and_then(Lag::latest).or(resources.loop_lag);
        let subscribers: Vec<Subscriber> = {
            let mut state = self.lock();
            state.latest = resources;
            state.n_samples += 1;
            state.subscribers.iter().map(|(_, subscriber)| Arc::clone(subscriber)).collect()
        };
        for subscriber in subscribers {
            // OK to assert: what a subscriber breaks is its own.
            if catch_unwind(AssertUnwindSafe(|| subscriber(&resources))).is_err() {
                tracing::warn!("a subscriber of the resource monitor panicked");
            }
        }
        resources
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ResourceMonitor {
    fn drop(&mut self) {
        self.shared.lock().is_stopped = true;
        self.shared.stop.notify_all();
        if let Some(lag) = &self.shared.lag {
            lag.stop();
        }
        let Some(thread) = self.thread.take() else { return };
        // A subscriber may be what drops the monitor, and a thread cannot wait for itself.
        if thread.thread().id() != std::thread::current().id() {
            // OK to leave out: the thread has nothing to tell.
            let _ = thread.join();
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let subscriber = {
            let mut state = shared.lock();
            let index = state.subscribers.iter().position(|(number, _)| *number == self.number);
            index.map(|index| state.subscribers.remove(index))
        };
        // Outside the lock: dropping it may do anything.
        drop(subscriber);
    }
}

impl fmt::Debug for ResourceMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("ResourceMonitor")
            .field("probe", &self.shared.probe)
            .field("latest", &state.latest)
            .field("n_subscribers", &state.subscribers.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("number", &self.number).finish_non_exhaustive()
    }
}
