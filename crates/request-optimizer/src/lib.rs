//! Doing less for the same requests: one computation for equal ones, one call for many, the urgent first.
//!
//! # Nouns
//!
//! - A [`Coalescer`] lets one of several equal requests compute, and gives its value to all.
//! - An [`Urgency`] is a priority that can rise while a request waits.

mod coalesce;
mod sync;
mod urgency;

pub use coalesce::{
    CoalesceError, Coalescer, CoalescerConfig, CoalescerStats, Flown, OnFailure, Role, Waiter,
};
pub use urgency::Urgency;

#[cfg(test)]
#[path = "tests/coalesce.rs"]
mod coalesce_tests;
