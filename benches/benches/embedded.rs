//! The embedded classifier on questions of several lengths: weighing alone, and the whole answer.

use std::hint::black_box;

use benches::Questions;
use classifier_core::EmbeddedClassifier;
use criterion::{BenchmarkId, Criterion, Throughput};

/// The longest question that is answered by default, in characters.
const LONGEST: usize = 8_192;

fn main() -> anyhow::Result<()> {
    let questions = Questions::load(None)?;
    let mut criterion = Criterion::default().configure_from_args();
    embedded(&mut criterion, &questions);
    criterion.final_summary();
    Ok(())
}

fn embedded(criterion: &mut Criterion, questions: &Questions) {
    let classifier = EmbeddedClassifier::built_in();
    let longest: String = questions.texts().join(" ").chars().take(LONGEST).collect();
    let lengths = [
        ("p10", questions.at_length(0.1)),
        ("p50", questions.at_length(0.5)),
        ("p90", questions.at_length(0.9)),
        ("longest_of_the_file", questions.at_length(1.0)),
        ("longest_that_is_answered", &longest),
    ];
    let mut group = criterion.benchmark_group("embedded");
    for (name, question) in lengths {
        group.throughput(Throughput::Bytes(question.len() as u64));
        group.bench_with_input(BenchmarkId::new("probabilities", name), question, |bencher, question| {
            bencher.iter(|| classifier.probabilities(black_box(question)));
        });
        group.bench_with_input(BenchmarkId::new("classify", name), question, |bencher, question| {
            bencher.iter(|| classifier.classify(black_box(question)));
        });
    }
    group.finish();
}
