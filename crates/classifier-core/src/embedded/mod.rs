//! The classifier that needs nothing: a linear model over cues and hashed n-grams, compiled into the program.

mod analysis;
mod classifier;
mod explain;
mod features;
mod model;
pub(crate) mod train;

pub use classifier::{EmbeddedClassifier, EmbeddedOptions};
pub use train::{TrainOptions, TrainReport, Trained, train};
