//! Asking a language model: prompts, replies that are checked, and the cascade that asks only where it helps.

mod prompt;
mod reply;

mod early;
mod verdict;

mod batch;
mod cascade;
mod classifier;

mod stats;

pub use cascade::{Cascade, Thresholds};
pub use classifier::{LlmClassifier, LlmOptions, PromptPreview};
pub use stats::{CategoryCounts, LlmStats};
