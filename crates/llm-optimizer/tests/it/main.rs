//! Models and budgets over real parts: real sockets, real files, real processes, real servers, real faults.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in tests a panic is how a failure is reported, and children say what they do"
)]

mod anthropic;
#[cfg(unix)]
mod budget;
mod faults;
mod limits;
mod openai;
mod server;
mod suite;
mod tls;
