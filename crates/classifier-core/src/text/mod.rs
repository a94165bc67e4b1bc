//! Text as the classifier sees it: folded tokens, the sentence that asks, and patterns over both.

mod pattern;
mod prepare;

pub(crate) use pattern::{PatternSet, PatternSetBuilder, Scan};
#[cfg(feature = "llm")]
pub(crate) use prepare::is_invisible;
pub(crate) use prepare::{Prepared, RECENT_YEAR};
