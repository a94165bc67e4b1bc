//! Models over real sockets: what is sent, what is made of the answers, and what of the faults.

#![expect(clippy::unwrap_used, reason = "in tests a panic is how a failure is reported")]

mod anthropic;
mod faults;
mod limits;
mod openai;
mod server;
mod suite;
