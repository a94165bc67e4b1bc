//! Runs the real binary.

mod bulk;
#[cfg(feature = "disk")]
mod caches;
mod cli;
#[cfg(feature = "llm")]
mod llm;
#[cfg(feature = "remote")]
mod replicas;
