//! The breaker of one kind of operation: requests look at a flag, and a task of the tier finds out when to open it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use hp_base::{BreakerConfig, BreakerState, Call, CircuitBreaker, Clock};

/// A breaker that is shut to requests until [`open_to_requests`](Self::open_to_requests) says otherwise.
///
/// A share of failures over a window is slow to notice a server that was well a moment ago and answers nothing any
/// more, so failures in a row count too.
#[derive(Debug)]
pub(super) struct Gate {
    breaker: CircuitBreaker,
    most_in_a_row: u32,
    n_failed_in_a_row: AtomicU32,
    lets_through: AtomicBool,
}

impl Gate {
    /// A gate that lets nothing through yet.
    pub(super) fn new(config: BreakerConfig, clock: Arc<dyn Clock>) -> Self {
        let breaker = CircuitBreaker::new(config, clock);
        breaker.trip();
        Self {
            breaker,
            most_in_a_row: config.min_calls,
            n_failed_in_a_row: AtomicU32::new(0),
            lets_through: AtomicBool::new(false),
        }
    }

    #[inline]
    pub(super) fn lets_through(&self) -> bool {
        self.lets_through.load(Ordering::Acquire)
    }

    /// What is reported to operators.
    pub(super) fn state(&self) -> BreakerState {
        if self.lets_through() {
            return BreakerState::Closed;
        }
        match self.breaker.state() {
            // It has been seen to open and not to close yet.
            BreakerState::Closed => BreakerState::HalfOpen,
            state => state,
        }
    }

    /// Leave for one call of a request.
    pub(super) fn enter(&self) -> Option<Call<'_>> {
        if self.lets_through() { self.breaker.try_call() } else { None }
    }

    pub(super) fn succeeded(&self, call: Call<'_>) -> bool {
        self.n_failed_in_a_row.store(0, Ordering::Relaxed);
        call.succeeded();
        self.shuts_if_open()
    }

    /// Counts a failure, and says whether the gate is shut because of it.
    pub(super) fn failed(&self, call: Call<'_>) -> bool {
        let n_in_a_row = self.n_failed_in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        call.failed();
        if n_in_a_row >= self.most_in_a_row { self.shut() } else { self.shuts_if_open() }
    }

    /// Lets nothing through any more, and says whether that is news.
    pub(super) fn shut(&self) -> bool {
        let was_open = self.lets_through.swap(false, Ordering::AcqRel);
        if was_open {
            self.breaker.trip();
        }
        was_open
    }

    /// Lets requests through again.
    pub(super) fn open_to_requests(&self) {
        if !self.lets_through() {
            self.n_failed_in_a_row.store(0, Ordering::Relaxed);
            self.breaker.reset();
            self.lets_through.store(true, Ordering::Release);
        }
    }

    fn shuts_if_open(&self) -> bool {
        self.breaker.state() != BreakerState::Closed && self.lets_through.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use hp_base::ManualClock;

    use super::*;

    fn gate() -> Gate {
        let config = BreakerConfig { min_calls: 3, ..BreakerConfig::default() };
        Gate::new(config, Arc::new(ManualClock::new()))
    }

    #[test]
    fn it_is_shut_until_it_is_opened() {
        let gate = gate();
        assert!(gate.enter().is_none());
        assert_eq!(gate.state(), BreakerState::Open);
        gate.open_to_requests();
        assert!(gate.enter().is_some());
        assert_eq!(gate.state(), BreakerState::Closed);
    }

    #[test]
    fn failures_in_a_row_shut_it_however_many_went_well_before() {
        let gate = gate();
        gate.open_to_requests();
        for _ in 0..1000 {
            gate.succeeded(gate.enter().unwrap());
        }
        assert!(!gate.failed(gate.enter().unwrap()));
        assert!(!gate.failed(gate.enter().unwrap()));
        gate.succeeded(gate.enter().unwrap());
        assert!(!gate.failed(gate.enter().unwrap()));
        assert!(!gate.failed(gate.enter().unwrap()));
        assert!(gate.failed(gate.enter().unwrap()));
        assert!(gate.enter().is_none());
        assert!(!gate.shut(), "it is news only once");
        gate.open_to_requests();
        assert!(!gate.failed(gate.enter().unwrap()), "the row begins anew");
    }
}
