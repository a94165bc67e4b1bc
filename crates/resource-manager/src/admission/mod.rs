//! Who may work now, who waits, and who is sent away before any time is lost on them.

mod applicant;
mod permit;
mod rejected;

mod adaptive;
mod config;
mod gate;
mod limiter;
mod queue;
mod stats;
mod sync;

use std::fmt::Debug;

use async_trait::async_trait;

pub use self::adaptive::AdaptiveAdmission;
pub use self::applicant::Applicant;
pub use self::config::AdmissionConfig;
pub use self::permit::{Outcome, Permit};
pub use self::rejected::{RejectReason, Rejected};
pub use self::stats::{AdmissionStats, RejectCounts};

/// Lets so many work at once as what is behind can take.
///
/// The future of [`admit`](Admission::admit) may be dropped at any point: whoever waited leaves, and a permit that was
/// just granted goes to the next.
#[async_trait]
pub trait Admission: Debug + Send + Sync + 'static {
    /// Leave to work, now or after a wait.
    ///
    /// # Errors
    ///
    /// If there is no room to wait, if waiting would be in vain, or if the time is over; see [`Rejected::reason`].
    async fn admit(&self, applicant: Applicant) -> Result<Permit, Rejected>;

    /// Leave to work now; never waits.
    ///
    /// # Errors
    ///
    /// If there is none now; see [`Rejected::reason`].
    fn try_admit(&self, applicant: Applicant) -> Result<Permit, Rejected>;

    /// How things stand.
    fn stats(&self) -> AdmissionStats;

    /// Lowers the ceiling of the limit to this share of it, above 0 and at most 1, where 1 gives it back. At least one
    /// stays admitted; those under way are left to end.
    fn squeeze(&self, share: f64);
}

/// Admits everybody at once whose time is not over, and counts nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAdmission;

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Admission for NoAdmission {
    async fn admit(&self, applicant: Applicant) -> Result<Permit, Rejected> {
        self.try_admit(applicant)
    }

    fn try_admit(&self, applicant: Applicant) -> Result<Permit, Rejected> {
        if applicant.deadline.is_over(&hp_base::SystemClock) {
            return Err(Rejected::new(RejectReason::OutOfTime));
        }
        Ok(Permit::uncounted())
    }

    fn stats(&self) -> AdmissionStats {
        AdmissionStats { limit: usize::MAX, ceiling: usize::MAX, ..AdmissionStats::default() }
    }

    fn squeeze(&self, _share: f64) {}
}

const _: Option<&dyn Admission> = None;

#[cfg(test)]
mod tests;
