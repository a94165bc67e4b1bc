//! Doing less for the same requests: one computation for equal ones, one call for many, the urgent first.
//!
//! # Nouns
//!
//! - [`Lanes`] hold what waits, and say who goes next.
//! - A [`Batcher`] has many requests handled in few calls of a [`BatchHandler`].
//! - A [`Coalescer`] lets one of several equal requests compute, and gives its value to all.
//! - An [`Urgency`] is a priority that can rise while a request waits.

mod batch;
mod coalesce;
mod lanes;
mod sync;
mod urgency;

pub use batch::{BatchError, BatchHandler, Batcher, BatcherConfig, BatcherStats, Done, Terms};
pub use coalesce::{
    CoalesceError, Coalescer, CoalescerConfig, CoalescerStats, Flown, OnFailure, Role, Waiter,
};
pub use lanes::{ItemId, Lanes, LanesConfig, PerLane, Pick, Place, Pushed, Waiting};
pub use urgency::Urgency;

#[cfg(test)]
#[path = "tests/coalesce.rs"]
mod coalesce_tests;
