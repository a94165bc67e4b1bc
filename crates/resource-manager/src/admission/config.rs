//! How admission behaves.

use std::time::Duration;

/// How [`AdaptiveAdmission`](crate::AdaptiveAdmission) behaves. Values out of bounds count as the nearest one within.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdmissionConfig {
    /// How many may be under way before anything is known. Default: 8.
    pub initial: usize,
    /// The lowest limit, at least 1. Default: 1.
    pub floor: usize,
    /// The highest limit, not below the floor; a limit that is to stay where it is has floor and ceiling there.
    /// Default: 256.
    pub ceiling: usize,
    /// How many wait, at the most; 0 lets nobody wait. Default: 1,000.
    pub max_waiting: usize,
    /// How many times the usual latency is as good as the usual latency, from 1 to 4. The limit ends near so many times
    /// what can be worked on at once. Default: 1.
    pub tolerance: f64,
    /// By which share of it the limit goes above what is known to be worked on at once, to find out whether there is
    /// more, from 0.01 to 0.5; by 1 at the least. Default: 0.08.
    pub headroom: f64,
    /// How often the limit is lowered for a moment to measure the usual latency, while it is used; not more often than
    /// in the time that 40 take one after the other. Default: 5 s.
    pub probe_every: Duration,
    /// After how long somebody who waits counts as more urgent by one step. Default: 2 s.
    pub age_after: Duration,
}

impl AdmissionConfig {
    /// A limit that does not adapt; 0 counts as 1.
    #[must_use]
    pub fn fixed(limit: usize) -> Self {
        Self { initial: limit, floor: limit, ceiling: limit, ..Self::default() }
    }

    /// The nearest one within bounds.
    pub(crate) fn in_bounds(self) -> Self {
        let floor = self.floor.clamp(1, MOST);
        let ceiling = self.ceiling.clamp(floor, MOST);
        let or = |value: f64, usual| if value.is_nan() { usual } else { value };
        Self {
            initial: self.initial.clamp(floor, ceiling),
            floor,
            ceiling,
            tolerance: or(self.tolerance, 1.0).clamp(1.0, 4.0),
            headroom: or(self.headroom, 0.08).clamp(0.01, 0.5),
            ..self
        }
    }
}

/// More are never under way; a limit beyond is none.
const MOST: usize = 1 << 30;

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self {
            initial: 8,
            floor: 1,
            ceiling: 256,
            max_waiting: 1_000,
            tolerance: 1.0,
            headroom: 0.08,
            probe_every: Duration::from_secs(5),
            age_after: Duration::from_secs(2),
        }
    }
}
