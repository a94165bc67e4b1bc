//! Tiers over real parts: real files, real processes, real servers, real faults.

#![expect(clippy::unwrap_used, reason = "in tests a panic is how a failure is reported")]

#[cfg(feature = "disk")]
mod disk;
#[cfg(feature = "remote")]
mod remote;
