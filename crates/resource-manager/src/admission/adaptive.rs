//! Admission under a limit that finds itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hp_base::Clock;
use tokio::sync::oneshot;

use super::gate::{Entry, Gate, Verdict};
use super::queue::Ticket;
use super::{Admission, AdmissionConfig, AdmissionStats, Applicant, Permit, Rejected};

/// Lets so many work at once as what is behind can take, which it finds out by itself.
///
/// The limit follows how long work takes and whether what is behind was too busy. Who finds no leave waits: the most
/// urgent are admitted first, of those the ones with the earliest deadline, and who has waited long counts as more
/// urgent. Who could not be served in time is told at once.
///
/// ```
/// use std::sync::Arc;
/// use hp_base::SystemClock;
/// use resource_manager::{AdaptiveAdmission, Admission, AdmissionConfig, Applicant, RejectReason};
///
/// let admission = AdaptiveAdmission::new(AdmissionConfig::fixed(1), Arc::new(SystemClock));
/// let permit = admission.try_admit(Applicant::default())?;
/// let rejected = admission.try_admit(Applicant::default()).unwrap_err();
/// assert_eq!(rejected.reason(), RejectReason::Full);
/// permit.done();
/// assert!(admission.try_admit(Applicant::default()).is_ok());
/// # Ok::<(), resource_manager::Rejected>(())
/// ```
#[derive(Debug)]
pub struct AdaptiveAdmission {
    gate: Arc<Gate>,
}

/// One who waits, and leaves when dropped.
struct Waiter<'a> {
    gate: &'a Gate,
    ticket: Ticket,
    verdict: oneshot::Receiver<Verdict>,
    is_told: bool,
}

impl AdaptiveAdmission {
    /// An admission with its limit at the initial value.
    #[must_use]
    pub fn new(config: AdmissionConfig, clock: Arc<dyn Clock>) -> Self {
        Self { gate: Arc::new(Gate::new(config, clock)) }
    }

    /// Admits nobody any more: who waits and who comes is rejected. Those under way are left to end.
    pub fn close(&self) {
        self.gate.close();
    }

    fn permit(&self, since: Instant) -> Permit {
        let gate = Arc::clone(&self.gate);
        Permit::new(move |outcome| gate.give_back(since, outcome))
    }
}

impl Waiter<'_> {
    async fn wait(&mut self, left: Duration) -> Verdict {
        let told = if left == Duration::MAX {
            (&mut self.verdict).await
        } else if let Ok(told) = tokio::time::timeout(left, &mut self.verdict).await {
            told
        } else {
            self.is_told = true;
            return self.gate.time_out(self.ticket, &mut self.verdict);
        };
        self.is_told = true;
        // OK to call it closed: the gate outlives the wait, and tells before it drops a teller.
        told.unwrap_or(Err(Rejected::new(super::RejectReason::Closed)))
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if !self.is_told {
            self.gate.leave(self.ticket, &mut self.verdict);
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Admission for AdaptiveAdmission {
    async fn admit(&self, applicant: Applicant) -> Result<Permit, Rejected> {
        let since = match self.gate.enter(applicant, true)? {
            Entry::Admitted(since) => since,
            Entry::Waits(ticket, verdict) => {
                let mut waiter = Waiter { gate: &self.gate, ticket, verdict, is_told: false };
                let left = applicant.deadline.left(self.gate.clock());
                waiter.wait(left).await?
            }
        };
        Ok(self.permit(since))
    }

    fn try_admit(&self, applicant: Applicant) -> Result<Permit, Rejected> {
        match self.gate.enter(applicant, false)? {
            Entry::Admitted(since) => Ok(self.permit(since)),
            Entry::Waits(ticket, mut verdict) => {
                self.gate.leave(ticket, &mut verdict);
                Err(Rejected::new(super::RejectReason::Full))
            }
        }
    }

    fn stats(&self) -> AdmissionStats {
        self.gate.stats()
    }

    fn squeeze(&self, share: f64) {
        self.gate.squeeze(share);
    }
}
