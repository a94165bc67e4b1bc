//! The embedded classifier alone: how long single calls take, and how many of them one core makes in a second.

use std::hint::black_box;
use std::time::Instant;

use classifier_core::EmbeddedClassifier;

use super::rounds::{Latencies, N_ROUNDS, Rounds};
use super::{Figure, Goal};
use crate::Questions;

/// A short file is asked over and over, so that the 99th percentile rests on more than a few calls.
const MIN_CALLS: usize = 2_000;
/// Throughput is measured piecewise: a piece is over before the scheduler gives the core to somebody else, or else its
/// median over the rounds does not count it. One core's throughput is that of the core while it is ours.
const PIECE: usize = 50;

pub(super) fn measure(questions: &Questions) -> anyhow::Result<Vec<Figure>> {
    let texts = questions.texts();
    let classifier = EmbeddedClassifier::built_in();
    for text in texts {
        black_box(classifier.classify(text));
    }

    let (mut p50, mut p99) = (Rounds::default(), Rounds::default());
    let mut pieces: Vec<Rounds> = texts.chunks(PIECE).map(|_| Rounds::default()).collect();
    for _ in 0..N_ROUNDS {
        let mut latencies = Latencies::new()?;
        let n_calls = texts.len() * MIN_CALLS.div_ceil(texts.len());
        for text in texts.iter().cycle().take(n_calls) {
            let started = Instant::now();
            let answer = classifier.classify(black_box(text));
            latencies.record(started.elapsed());
            black_box(answer);
        }
        p50.push(latencies.micros_at(0.5));
        p99.push(latencies.micros_at(0.99));

        for (piece, rounds) in texts.chunks(PIECE).zip(&mut pieces) {
            let started = Instant::now();
            for text in piece {
                black_box(classifier.classify(black_box(text)));
            }
            rounds.push(started.elapsed().as_secs_f64());
        }
    }
    let seconds: f64 = pieces.into_iter().map(Rounds::median).sum();
    let throughput = texts.len() as f64 / seconds;
    Ok(vec![
        Figure::new("classify.embedded.p50_us", p50.median(), "µs").with_goal(Goal::AtMost(40.0)),
        Figure::new("classify.embedded.p99_us", p99.median(), "µs"),
        Figure::new("classify.embedded.queries_per_second_one_core", throughput, "queries/s")
            .with_goal(Goal::AtLeast(25_000.0)),
    ])
}
