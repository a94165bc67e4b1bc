<<<<<<< HEAD
//! Models over real sockets: what is sent, what is made of the answers, and what of the faults.

#![expect(clippy::unwrap_used, reason = "in tests a panic is how a failure is reported")]

mod anthropic;
mod faults;
mod limits;
mod openai;
mod server;
mod suite;
=======
//! Budgets over real parts: real files, real processes, real servers, real faults.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "in tests a panic is how a failure is reported, and children say what they do"
)]

#[cfg(unix)]
mod budget;
>>>>>>> 66036cc (llm-optimizer: money is put aside before it is spent)
