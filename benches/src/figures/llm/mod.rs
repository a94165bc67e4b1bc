//! The path to a language model, against a simulated provider in a process of its own.

mod early;
mod overhead;
mod provider;
mod tokens;

pub(super) use early::measure as early;
pub(super) use overhead::measure as overhead;
pub(super) use provider::Provider;
pub(super) use tokens::measure as tokens;
