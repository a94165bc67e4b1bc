//! What a coalescer has done.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a [`Coalescer`](super::Coalescer) has done since it was made, and what it holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CoalescerStats {
    /// Computations begun.
    pub n_led: u64,
    /// Requests that came to wait for another's computation; those of them that led later count as both.
    pub n_joined: u64,
    /// Requests that were given a value worked out before they came.
    pub n_repeated: u64,
    /// Times one who waited was made to lead, since the one before had left or failed.
    pub n_handed_over: u64,
    /// Computations that failed.
    pub n_failed: u64,
    /// Computations that panicked.
    pub n_panicked: u64,
    /// Requests whose deadline passed, whether they led or waited.
    pub n_out_of_time: u64,
    /// Flights under way now, those included that nobody can join any more.
    pub n_in_flight: usize,
    /// Values kept now for requests to come.
    pub n_kept: usize,
}

/// The counts behind it.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) n_led: Counter,
    pub(super) n_joined: Counter,
    pub(super) n_repeated: Counter,
    pub(super) n_handed_over: Counter,
    pub(super) n_failed: Counter,
    pub(super) n_panicked: Counter,
    pub(super) n_out_of_time: Counter,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
