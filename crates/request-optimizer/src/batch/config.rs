//! How a batcher behaves, what is said of an item, and how things stand.

use std::time::Duration;

use hp_base::{Deadline, Priority};

use crate::lanes::{LanesConfig, PerLane, Place};
use crate::urgency::Urgency;

/// How a [`Batcher`](crate::Batcher) behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatcherConfig {
    /// Items in a call, at the most; 0 counts as 1. Default: 10.
    pub max_batch_size: usize,
    /// How long items wait, at the most, for others to fill the last of several slots with. Default: 50 ms.
    pub batch_timeout: Duration,
    /// What the items of a call weigh together, at the most; one that is heavier goes by itself. Default: no bound.
    pub max_weight: u64,
    /// Calls at once, at the most; 0 counts as 1. Default: 3.
    pub max_in_flight: usize,
    /// Who goes first, and how many wait.
    pub lanes: LanesConfig,
    /// How long a call is taken to last before one has ended. Default: 300 ms.
    pub typical_call: Duration,
}

impl Default for BatcherConfig {
    fn default() -> Self {
        Self {
            max_batch_size: 10,
            batch_timeout: Duration::from_millis(50),
            max_weight: u64::MAX,
            max_in_flight: 3,
            lanes: LanesConfig::default(),
            typical_call: Duration::from_millis(300),
        }
    }
}

/// On what terms an item is handled.
#[derive(Debug, Clone)]
pub struct Terms {
    /// How urgent it is; it may rise while the item waits. Default: normal.
    pub urgency: Urgency,
    /// When it must be done. Default: never.
    pub deadline: Deadline,
    /// How long after its deadline it still waits for a call that has begun by then, as one does who has told others
    /// meanwhile and keeps the result for later. Default: not at all.
    pub grace: Duration,
    /// What it adds to the weight of a call. Default: 1.
    pub weight: u64,
    /// Items of different groups never share a call. Default: 0.
    pub group: u64,
    /// Whether it shares a call with no other at all. Default: false.
    pub alone: bool,
}

impl Terms {
    pub(super) fn place(&self) -> Place {
        Place {
            lane: self.urgency.now(),
            deadline: self.deadline,
            group: (!self.alone).then_some(self.group),
            weight: self.weight,
        }
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            urgency: Urgency::new(Priority::Normal),
            deadline: Deadline::never(),
            grace: Duration::ZERO,
            weight: 1,
            group: 0,
            alone: false,
        }
    }
}

/// What a batcher has done, and how things stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatcherStats {
    /// Items taken in.
    pub n_items: u64,
    /// Calls begun, those for single items included.
    pub n_batches: u64,
    /// Items that shared a call with others.
    pub n_batched_items: u64,
    /// Calls that failed as a whole, and whose items were handled one by one.
    pub n_fallen_apart: u64,
    /// Items whose submitter went away before their call.
    pub n_cancelled: u64,
    /// Items refused because the lanes were full.
    pub n_refused_full: u64,
    /// Items refused because they would have come too late.
    pub n_refused_late: u64,
    /// Items that left full lanes for more urgent ones.
    pub n_displaced: u64,
    /// Items whose deadline was over, or too near, before they were done.
    pub n_expired: u64,
    /// Calls under way.
    pub n_in_flight: usize,
    /// Items that wait, by the lane they are in.
    pub n_waiting: PerLane<usize>,
    /// How long a call is reckoned to last: three of four of late were not longer.
    pub service_time: Duration,
}
