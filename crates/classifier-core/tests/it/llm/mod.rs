//! The path to a language model: who is asked, with what words, what counts as an answer, and what happens without one.

mod scripted;
mod server;

mod prompts;

mod batch;
mod cascade;
mod early;

mod asking;
mod attacks;

mod settings;
