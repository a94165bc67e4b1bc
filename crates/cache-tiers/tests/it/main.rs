//! Tiers over real parts: real files, real processes, real faults.

#[cfg(feature = "disk")]
mod disk;
