//! The state of an admission behind its lock: who is under way, who waits, and who goes next.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use hp_base::Clock;
use tokio::sync::oneshot;

use super::applicant::Applicant;
use super::config::AdmissionConfig;
use super::limiter::Limiter;
use super::permit::Outcome;
use super::queue::{Queue, Ticket};
use super::rejected::{RejectReason, Rejected};
use super::stats::{AdmissionStats, RejectCounts};
use super::sync::{Mutex, MutexGuard};

/// Lets so many through, and lets the others wait.
#[derive(Debug)]
pub(crate) struct Gate {
    config: AdmissionConfig,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

/// What one who waits is told; the time is that of admission.
pub(crate) type Verdict = Result<Instant, Rejected>;

/// What became of one who came.
#[derive(Debug)]
pub(crate) enum Entry {
    /// Admitted at once, at this time.
    Admitted(Instant),
    /// Waits. Whoever stops waiting must say so with [`Gate::leave`].
    Waits(Ticket, oneshot::Receiver<Verdict>),
}

#[derive(Debug)]
struct State {
    limiter: Limiter,
    queue: Queue<oneshot::Sender<Verdict>>,
    /// What the limit cannot exceed at present.
    ceiling: usize,
    next_ticket: Ticket,
    is_closed: bool,
    n_in_flight: usize,
    n_admitted: u64,
    n_overloaded: u64,
    n_cancelled: u64,
    n_rejected: RejectCounts,
}

impl Gate {
    pub(crate) fn new(config: AdmissionConfig, clock: Arc<dyn Clock>) -> Self {
        let config = config.in_bounds();
        let state = State {
            limiter: Limiter::new(config, clock.now()),
            queue: Queue::new(config.age_after),
            ceiling: config.ceiling,
            next_ticket: 0,
            is_closed: false,
            n_in_flight: 0,
            n_admitted: 0,
            n_overloaded: 0,
            n_cancelled: 0,
            n_rejected: RejectCounts::default(),
        };
        Self { config, clock, state: Mutex::new(state) }
    }

    /// Somebody comes, and waits if there is no leave now and they want to.
    pub(crate) fn enter(&self, applicant: Applicant, waits: bool) -> Result<Entry, Rejected> {
        let now = self.clock.now();
        let mut state = self.lock();
        if state.is_closed {
            return Err(state.reject(RejectReason::Closed, applicant));
        }
        let left = applicant.deadline.instant().map(|at| at.saturating_duration_since(now));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(state.reject(RejectReason::OutOfTime, applicant));
        }
        if state.n_in_flight < state.limit() && state.queue.len() == 0 {
            state.n_in_flight += 1;
            state.n_admitted += 1;
            return Ok(Entry::Admitted(now));
        }
        if !waits {
            return Err(state.reject(RejectReason::Full, applicant));
        }
        if left.is_some_and(|left| state.is_too_late(applicant, left)) {
            return Err(state.reject(RejectReason::TooLate, applicant));
        }
        if state.queue.len() >= self.config.max_waiting {
            let Some((displaced, teller)) = state.queue.displace(applicant.priority, now) else {
                return Err(state.reject(RejectReason::Full, applicant));
            };
            let rejected = state.reject(RejectReason::Displaced, displaced);
            tell(teller, Err(rejected));
        }
        let (teller, verdict) = oneshot::channel();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.queue.push(ticket, applicant, teller, now);
        Ok(Entry::Waits(ticket, verdict))
    }

    /// One who waited does so no more: whoever was admitted meanwhile, unheard, makes way for the next.
    pub(crate) fn leave(&self, ticket: Ticket, verdict: &mut oneshot::Receiver<Verdict>) {
        let mut state = self.lock();
        if state.queue.remove(ticket).is_some() {
            state.n_cancelled += 1;
        } else if matches!(verdict.try_recv(), Ok(Ok(_))) {
            state.n_in_flight -= 1;
            state.n_cancelled += 1;
            state.admit_next(self.clock.now());
        }
    }

    /// One who waited does so no more, since their time is over; what they are told counts if it came before.
    pub(crate) fn time_out(&self, ticket: Ticket, verdict: &mut oneshot::Receiver<Verdict>) -> Verdict {
        let mut state = self.lock();
        match state.queue.remove(ticket) {
            Some((applicant, _)) => Err(state.reject(RejectReason::OutOfTime, applicant)),
            // OK to call it closed otherwise: who is taken out of the queue is told why under the lock.
            None => verdict.try_recv().unwrap_or(Err(Rejected::new(RejectReason::Closed))),
        }
    }

    /// One who was admitted at a time has ended, and the next ones may come.
    pub(crate) fn give_back(&self, since: Instant, outcome: Outcome) {
        let now = self.clock.now();
        let mut state = self.lock();
        let n_in_flight = state.n_in_flight;
        state.limiter.sample(now.saturating_duration_since(since), n_in_flight, outcome, now);
        state.n_overloaded += u64::from(outcome == Outcome::Overloaded);
        state.n_in_flight -= 1;
        state.admit_next(now);
    }

    pub(crate) fn squeeze(&self, share: f64) {
        let share = if share.is_nan() { 1.0 } else { share.clamp(0.0, 1.0) };
        let mut state = self.lock();
        // OK to cast: it is between 0 and the ceiling.
        state.ceiling = ((self.config.ceiling as f64 * share) as usize).max(1);
        state.admit_next(self.clock.now());
    }

    /// Admits nobody any more, and tells those who wait.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        while let Some((applicant, teller)) = state.queue.pop_any() {
            let rejected = state.reject(RejectReason::Closed, applicant);
            tell(teller, Err(rejected));
        }
    }

    pub(crate) fn stats(&self) -> AdmissionStats {
        let state = self.lock();
        AdmissionStats {
            limit: state.limit(),
            ceiling: state.ceiling,
            n_in_flight: state.n_in_flight,
            n_waiting: state.queue.len(),
            n_admitted: state.n_admitted,
            n_overloaded: state.n_overloaded,
            n_cancelled: state.n_cancelled,
            n_rejected: state.n_rejected,
            latency: state.limiter.latency(),
            usual_latency: state.limiter.usual_latency(),
        }
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn limit(&self) -> usize {
        self.limiter.limit().min(self.ceiling)
    }

    /// How long until so many who wait have been admitted: `limit` of them end, on average, in the time one takes.
    fn wait(&self, n_ahead: usize) -> Option<Duration> {
        let n_rounds = n_ahead as f64 / self.limit() as f64;
        Duration::try_from_secs_f64(self.limiter.latency()?.as_secs_f64() * n_rounds).ok()
    }

    fn is_too_late(&self, applicant: Applicant, left: Duration) -> bool {
        if self.n_in_flight == 0 {
            return false;
        }
        // The one who comes is behind those ahead, and behind one who is under way.
        let n_ahead = self.queue.n_ahead(applicant) + 1;
        let Some(latency) = self.limiter.latency() else { return false };
        self.wait(n_ahead).is_none_or(|wait| left < wait.saturating_add(latency))
    }

    fn reject(&mut self, reason: RejectReason, applicant: Applicant) -> Rejected {
        self.n_rejected.count(reason, applicant.priority);
        let wait = match reason {
            RejectReason::Full | RejectReason::Displaced | RejectReason::TooLate => {
                self.wait(self.queue.len() + 1)
            }
            RejectReason::OutOfTime | RejectReason::Closed => None,
        };
        Rejected::new(reason).with_retry_after(wait)
    }

    fn admit_next(&mut self, now: Instant) {
        while self.n_in_flight < self.limit() {
            let Some((applicant, teller)) = self.queue.pop(now) else { return };
            if applicant.deadline.instant().is_some_and(|at| at <= now) {
                let rejected = self.reject(RejectReason::OutOfTime, applicant);
                tell(teller, Err(rejected));
            } else {
                self.n_in_flight += 1;
                self.n_admitted += 1;
                tell(teller, Ok(now));
            }
        }
    }
}

fn tell(teller: oneshot::Sender<Verdict>, verdict: Verdict) {
    // OK to ignore: who waits leaves the queue before they stop listening, so that everybody in it is heard.
    let _ = teller.send(verdict);
}
