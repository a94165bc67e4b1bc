//! The simulator as its clients see it: over real sockets, fault by fault.

#![expect(clippy::unwrap_used, reason = "in tests a panic is how a failure is reported")]

mod client;

mod anthropic;
mod batch;
mod openai;

mod control;
mod faults;
mod limits;
mod log;
mod refusal;

#[cfg(feature = "cli")]
mod program;
