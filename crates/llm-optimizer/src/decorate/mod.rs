//! What is put around a model so that its calls are bounded, in time, and cheap.
//!
//! Each decorator is a [`ChatModel`](crate::ChatModel) around an `Arc<dyn ChatModel>` and knows nothing of the others, so any
//! of them may be left out. `Display` names the stack: `deadline(retry(breaker(openai gpt-4o-mini)))`.
//!
//! Dropping a call's future at any point gives back all that the call has taken: permits, trials, connections.

mod deadline;

mod within;

pub use deadline::{DeadlineConfig, DeadlineStats, WithDeadline};

#[cfg(test)]
mod tests;
