//! What the crate promises, seen from outside.

#![expect(clippy::unwrap_used, clippy::panic, reason = "in tests a panic is how a failure is reported")]

mod support;

mod data;
mod model_file;
mod own_taxonomy;
mod probabilities;
mod traffic;
mod training;

mod cache_keys;
mod caches;
#[cfg(feature = "remote")]
mod replicas;
mod settings;
#[cfg(feature = "llm")]
mod simulated;
mod system;
mod wire_names;

#[cfg(feature = "llm")]
mod llm;
