//! How long a call is reckoned to last.

use std::collections::VecDeque;
use std::time::Duration;

/// How many calls are remembered.
const N_CALLS: usize = 32;

/// What three of four of the latest calls took at the most: a quarter may hang without anybody else being thought late.
#[derive(Debug)]
pub(super) struct ServiceTime {
    latest: VecDeque<Duration>,
    expected: Duration,
}

impl ServiceTime {
    pub(super) fn new(typical: Duration) -> Self {
        Self { latest: VecDeque::with_capacity(N_CALLS), expected: typical }
    }

    pub(super) fn expected(&self) -> Duration {
        self.expected
    }

    /// What a call needs of the time of an item: a quarter more than is expected. Who has just as much left as a call
    /// takes is late by the time it takes to be told, and under overload all who are served have as much as is demanded.
    pub(super) fn needed(&self) -> Duration {
        self.expected.saturating_add(self.expected / 4)
    }

    /// Learns from a call. One that failed tells how long calls take only if it was slow: many fail at once.
    pub(super) fn learn(&mut self, took: Duration, went_well: bool) {
        if !went_well && took < self.expected {
            return;
        }
        if self.latest.len() == N_CALLS {
            self.latest.pop_front();
        }
        self.latest.push_back(took);
        let mut sorted: Vec<Duration> = self.latest.iter().copied().collect();
        sorted.sort_unstable();
        // The nearest rank.
        let rank = (sorted.len() * 3).div_ceil(4);
        self.expected = sorted.get(rank - 1).copied().unwrap_or(took);
    }
}
