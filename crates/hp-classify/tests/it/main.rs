//! Runs the real binary.

mod bulk;
mod cli;
