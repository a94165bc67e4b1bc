//! What the benchmarks share: the questions they ask, two caches to compare, and the figures we promise.
//!
//! The criterion targets in `benches/` are for those who make something faster: one part each, under many
//! conditions. The program `figures` is for everybody else: it measures what was promised, the way it was promised,
//! and says whether the promise is kept.

mod questions;
mod side_by_side;

pub mod figures;

pub use questions::Questions;
pub use side_by_side::SideBySide;
