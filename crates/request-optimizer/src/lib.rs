//! Doing less for the same requests: one computation for equal ones, one call for many, the urgent first.
//!
//! # Nouns
//!
//! - An [`Urgency`] is a priority that can rise while a request waits.

mod urgency;

pub use urgency::Urgency;
