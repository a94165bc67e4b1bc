//! How admission stands.

use std::time::Duration;

use hp_base::Priority;

use super::rejected::RejectReason;

/// How an admission stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AdmissionStats {
    /// How many may be under way now.
    pub limit: usize,
    /// What the limit cannot exceed now.
    pub ceiling: usize,
    /// Under way now.
    pub n_in_flight: usize,
    /// Waiting now.
    pub n_waiting: usize,
    /// Admitted so far.
    pub n_admitted: u64,
    /// Said to have met somebody too busy so far.
    pub n_overloaded: u64,
    /// Who left the queue of their own accord so far.
    pub n_cancelled: u64,
    /// Rejected so far.
    pub n_rejected: RejectCounts,
    /// How long work takes, as a running mean; nothing before any was done.
    pub latency: Option<Duration>,
    /// How long work takes when nothing queues behind, as far as that is known.
    pub usual_latency: Option<Duration>,
}

/// How many were rejected, by reason and priority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RejectCounts([[u64; Priority::ALL.len()]; RejectReason::ALL.len()]);

impl RejectCounts {
    /// How many of a priority were rejected for a reason.
    #[must_use]
    pub fn get(&self, reason: RejectReason, priority: Priority) -> u64 {
        self.0[reason as usize][priority as usize]
    }

    /// How many were rejected for a reason.
    #[must_use]
    pub fn of_reason(&self, reason: RejectReason) -> u64 {
        self.0[reason as usize].iter().sum()
    }

    /// How many were rejected.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().flatten().sum()
    }

    /// Counts one, for people who write an admission of their own.
    pub fn count(&mut self, reason: RejectReason, priority: Priority) {
        self.0[reason as usize][priority as usize] += 1;
    }
}
