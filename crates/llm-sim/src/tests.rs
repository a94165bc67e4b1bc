//! Tests of what is pure: times, knowledge, prompts, shapes, tokens.

mod brain;
mod faults;
mod latency;
mod prompt;
mod schema;
mod tokens;
