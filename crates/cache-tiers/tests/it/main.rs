//! Tiers over real parts: real files, real processes, real servers, real faults.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "in tests a panic is how a failure is reported, and figures are printed"
)]

#[cfg(feature = "disk")]
mod disk;
#[cfg(feature = "remote")]
mod remote;
