//! When memory or processor run short, and what is done about it until they do not.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hp_base::Clock;

use crate::Resources;

/// Changes that are remembered.
const MAX_HISTORY: usize = 64;

/// When pressure begins and ends. Shares are within [0, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PressureConfig {
    /// Memory is short from this share of its limit on. Default: 0.85.
    pub memory_high: f64,
    /// Memory is short no more from this share down; a higher one than `memory_high` counts as that. Default: 0.75.
    pub memory_low: f64,
    /// The processor is short from this share of what may be used on. Default: 0.9.
    pub cpu_high: f64,
    /// The processor is short no more from this share down; a higher one than `cpu_high` counts as that. Default: 0.7.
    pub cpu_low: f64,
    /// Samples in a row that must say so before anything changes; 0 counts as 1. Default: 2.
    pub hold: u32,
}

impl Default for PressureConfig {
    fn default() -> Self {
        Self { memory_high: 0.85, memory_low: 0.75, cpu_high: 0.9, cpu_low: 0.7, hold: 2 }
    }
}

/// How short something is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// There is enough.
    #[default]
    Normal,
    /// It is short.
    High,
}

/// How short everything is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PressureState {
    /// Memory.
    pub memory: Level,
    /// Processor time.
    pub cpu: Level,
}

/// Turns samples into a state that does not flap: it has two bounds each, and both take samples in a row.
///
/// A sample that does not know a share changes nothing, and breaks the row.
#[derive(Debug, Clone)]
pub struct Pressure {
    config: PressureConfig,
    memory: Gauge,
    cpu: Gauge,
}

#[derive(Debug, Clone, Copy, Default)]
struct Gauge {
    level: Level,
    n_in_a_row: u32,
}

impl Pressure {
    /// Everything is normal at first.
    #[must_use]
    pub fn new(config: PressureConfig) -> Self {
        Self { config, memory: Gauge::default(), cpu: Gauge::default() }
    }

    /// Takes a sample into account. Returns the state with it.
    pub fn observe(&mut self, resources: &Resources) -> PressureState {
        let config = &self.config;
        let hold = config.hold.max(1);
        self.memory.observe(resources.memory_share_used, config.memory_high, config.memory_low, hold);
        self.cpu.observe(resources.cpu_share_used, config.cpu_high, config.cpu_low, hold);
        self.state()
    }

    /// The state with the samples so far.
    #[must_use]
    pub fn state(&self) -> PressureState {
        PressureState { memory: self.memory.level, cpu: self.cpu.level }
    }
}

impl Gauge {
    fn observe(&mut self, share: Option<f64>, high: f64, low: f64, hold: u32) {
        let (says_change, other) = match self.level {
            Level::Normal => (share.is_some_and(|share| share >= high), Level::High),
            // Below `high` in any case, so that a sample cannot speak for both.
            Level::High => (share.is_some_and(|share| share <= low && share < high), Level::Normal),
        };
        self.n_in_a_row = if says_change { self.n_in_a_row + 1 } else { 0 };
        if self.n_in_a_row >= hold {
            *self = Self { level: other, n_in_a_row: 0 };
        }
    }
}

/// Something that is done while resources are short, and undone afterwards.
pub trait PressureResponse: Debug + Send + Sync + 'static {
    /// What statistics and log lines call it.
    fn name(&self) -> &'static str;

    /// The state has changed to this one. Must be quick, and must undo what it did once the state is normal again.
    fn respond(&self, state: PressureState);
}

const _: Option<&dyn PressureResponse> = None;

/// Says in the log when the state changes, and does nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogPressure;

impl PressureResponse for LogPressure {
    fn name(&self) -> &'static str {
        "log"
    }

    fn respond(&self, state: PressureState) {
        if state == PressureState::default() {
            tracing::info!("memory and processor are no longer short");
        } else {
            tracing::warn!(memory = ?state.memory, cpu = ?state.cpu, "resources are short");
        }
    }
}

/// A change of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PressureChange {
    /// When it was.
    pub at: Instant,
    /// The state since then.
    pub state: PressureState,
}

/// How a [`PressureControl`] stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PressureStats {
    /// The state now.
    pub state: PressureState,
    /// Since when it has been so.
    pub since: Instant,
    /// How often memory became short.
    pub n_memory_high: u64,
    /// How often the processor became short.
    pub n_cpu_high: u64,
    /// The names of the responses, in the order they are called.
    pub responses: Vec<&'static str>,
}

/// Watches the samples and calls the responses when the state changes, and only then.
///
/// Dropping it while something is short tells the responses that all is normal, so that nothing stays reduced.
#[derive(Debug)]
pub struct PressureControl {
    responses: Vec<Arc<dyn PressureResponse>>,
    clock: Arc<dyn Clock>,
    /// Held from a sample to the end of its responses, so that these see the changes in their order.
    turn: Mutex<()>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    pressure: Pressure,
    since: Instant,
    n_memory_high: u64,
    n_cpu_high: u64,
    history: VecDeque<PressureChange>,
}

impl PressureControl {
    /// Everything is normal at first, and no response has been called.
    #[must_use]
    pub fn new(
        config: PressureConfig,
        responses: Vec<Arc<dyn PressureResponse>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let inner = Inner {
            pressure: Pressure::new(config),
            since: clock.now(),
            n_memory_high: 0,
            n_cpu_high: 0,
            history: VecDeque::new(),
        };
        Self { responses, clock, turn: Mutex::new(()), inner: Mutex::new(inner) }
    }

    /// Takes a sample into account, and calls every response if the state changes. A response must not call this.
    pub fn observe(&self, resources: &Resources) -> PressureState {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, state) = {
            let mut inner = self.lock();
            let before = inner.pressure.state();
            let state = inner.pressure.observe(resources);
            if state != before {
                inner.changed(before, state, self.clock.now());
            }
            (before, state)
        };
        if state != before {
            self.tell(state);
        }
        state
    }

    /// How things stand.
    #[must_use]
    pub fn stats(&self) -> PressureStats {
        let inner = self.lock();
        PressureStats {
            state: inner.pressure.state(),
            since: inner.since,
            n_memory_high: inner.n_memory_high,
            n_cpu_high: inner.n_cpu_high,
            responses: self.responses.iter().map(|response| response.name()).collect(),
        }
    }

    /// The last changes, at most 64, oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<PressureChange> {
        self.lock().history.iter().copied().collect()
    }

    fn tell(&self, state: PressureState) {
        for response in &self.responses {
            response.respond(state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn changed(&mut self, before: PressureState, state: PressureState, at: Instant) {
        self.since = at;
        self.n_memory_high += u64::from(state.memory > before.memory);
        self.n_cpu_high += u64::from(state.cpu > before.cpu);
        if self.history.len() == MAX_HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(PressureChange { at, state });
    }
}

impl Drop for PressureControl {
    fn drop(&mut self) {
        if self.lock().pressure.state() != PressureState::default() {
            self.tell(PressureState::default());
        }
    }
}

#[cfg(test)]
mod tests;
