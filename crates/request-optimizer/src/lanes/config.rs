//! How lanes behave, and what an item says of itself when it joins one.

use std::time::Duration;

use hp_base::{Deadline, Priority};

/// One of something for each lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PerLane<T> {
    /// For [`Priority::High`].
    pub high: T,
    /// For [`Priority::Normal`].
    pub normal: T,
    /// For [`Priority::Low`].
    pub low: T,
}

impl<T> PerLane<T> {
    /// What is there for a lane.
    #[must_use]
    pub const fn get(&self, lane: Priority) -> &T {
        match lane {
            Priority::High => &self.high,
            Priority::Normal => &self.normal,
            Priority::Low => &self.low,
        }
    }

    pub(super) const fn get_mut(&mut self, lane: Priority) -> &mut T {
        match lane {
            Priority::High => &mut self.high,
            Priority::Normal => &mut self.normal,
            Priority::Low => &mut self.low,
        }
    }
}

/// How [`Lanes`](crate::Lanes) behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanesConfig {
    /// Shares of the picks while all lanes have something; a lane of 0 is picked from only when the others that wait
    /// have 0 as well, or by ageing. Default: 8, 3 and 1.
    pub weights: PerLane<u32>,
    /// An item that has waited for so long counts as one lane higher, one that has waited twice as long as two.
    /// Default: 1 s.
    pub age_after: Duration,
    /// An item without a deadline takes its turn as if it had one so long after it came, and so does an item with a later
    /// one; otherwise those with deadlines would overtake it for ever. Default: 10 s.
    pub patience: Duration,
    /// Items that wait, at the most, in all lanes together; 0 counts as 1. Default: 1,000.
    pub max_waiting: usize,
}

impl Default for LanesConfig {
    fn default() -> Self {
        Self {
            weights: PerLane { high: 8, normal: 3, low: 1 },
            age_after: Duration::from_secs(1),
            patience: Duration::from_secs(10),
            max_waiting: 1_000,
        }
    }
}

/// Where an item belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// How urgent it is. Default: normal.
    pub lane: Priority,
    /// When it must be done. Default: never.
    pub deadline: Deadline,
    /// The items it may be picked along with; none: with no other. Default: 0.
    pub group: Option<u64>,
    /// What it adds to the weight of those picked together. Default: 1.
    pub weight: u64,
}

impl Default for Place {
    fn default() -> Self {
        Self { lane: Priority::Normal, deadline: Deadline::never(), group: Some(0), weight: 1 }
    }
}
