//! The model that is compiled in: its size, and how long reading it takes.

use std::hint::black_box;
use std::time::Instant;

use anyhow::ensure;
use classifier_core::EmbeddedClassifier;

use super::rounds::{N_ROUNDS, Rounds};
use super::{Figure, Goal};

static FILE: &[u8] = include_bytes!("../../../crates/classifier-core/data/clinical-metabolomics/model.bin");

pub(super) fn measure() -> anyhow::Result<Vec<Figure>> {
    let is_built_in =
        EmbeddedClassifier::from_bytes(FILE)?.digest() == EmbeddedClassifier::built_in().digest();
    ensure!(is_built_in, "the model was trained anew while this was compiled; build again");
    let mut loading = Rounds::default();
    for _ in 0..N_ROUNDS {
        let started = Instant::now();
        let classifier = black_box(EmbeddedClassifier::built_in());
        loading.push(started.elapsed().as_secs_f64() * 1e3);
        drop(classifier);
    }
    Ok(vec![
        Figure::new("model.bytes", FILE.len() as f64, "bytes").with_goal(Goal::AtMost(1_048_576.0)),
        // The greater part of the time to the first answer.
        Figure::new("model.load_ms", loading.median(), "ms"),
    ])
}
