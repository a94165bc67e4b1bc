//! Text as the classifier sees it: folded tokens, the sentence that asks, and patterns over both.

mod pattern;
mod prepare;

pub(crate) use pattern::{PatternSet, PatternSetBuilder, Scan};
pub(crate) use prepare::{Prepared, RECENT_YEAR, is_invisible};
