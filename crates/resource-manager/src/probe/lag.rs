//! How long a task that is ready waits until the async runtime runs it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hp_base::Clock;
use tokio::runtime::Handle;

/// Measures one task at a time, from outside the runtime.
#[derive(Debug)]
pub(super) struct Lag {
    runtime: Handle,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// When the task that is under way was spawned.
    spawned: Option<Instant>,
    last: Option<Duration>,
    is_stopped: bool,
}

/// The task; a runtime that has ended drops it without running it.
struct Task {
    shared: Arc<Shared>,
    spawned: Instant,
    has_run: bool,
}

impl Lag {
    pub(super) fn new(runtime: Handle, clock: Arc<dyn Clock>) -> Self {
        let shared = Shared { clock, state: Mutex::new(State::default()), arrived: Condvar::new() };
        Self { runtime, shared: Arc::new(shared) }
    }

    /// Spawns a task unless one is waiting still, and waits so long for it to run. Not for threads of the runtime.
    pub(super) fn measure(&self, patience: Duration) {
        let shared = &self.shared;
        let mut state = shared.lock();
        if state.spawned.is_none() {
            let spawned = shared.clock.now();
            state.spawned = Some(spawned);
            // The task takes the lock.
            drop(state);
            let task = Task { shared: Arc::clone(shared), spawned, has_run: false };
            drop(self.runtime.spawn(async move { task.run() }));
            state = shared.lock();
        }
        let waiting = |state: &mut State| state.spawned.is_some() && !state.is_stopped;
        drop(shared.arrived.wait_timeout_while(state, patience, waiting));
    }

    /// Ends the waiting, now and later.
    pub(super) fn stop(&self) {
        self.shared.lock().is_stopped = true;
        self.shared.arrived.notify_all();
    }

    /// What was measured last, or how long the task under way has been waiting if that is longer.
    pub(super) fn latest(&self) -> Option<Duration> {
        let state = *self.shared.lock();
        let waiting = state.spawned.map(|spawned| self.shared.clock.now().saturating_duration_since(spawned));
        waiting.max(state.last)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    fn run(mut self) {
        self.has_run = true;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let lag = self.shared.clock.now().saturating_duration_since(self.spawned);
        {
            let mut state = self.shared.lock();
            state.spawned = None;
            state.last = self.has_run.then_some(lag);
        }
        self.shared.arrived.notify_all();
    }
}
