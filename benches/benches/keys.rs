//! Making a cache key: normalising the question, hashing it, and both, beside a bare BLAKE3 of the same bytes.

use std::hint::black_box;

use benches::Questions;
use cache_tiers::{KeySpace, normalize};
use criterion::{BenchmarkId, Criterion};

fn main() -> anyhow::Result<()> {
    let questions = Questions::load(None)?;
    let mut criterion = Criterion::default().configure_from_args();
    keys(&mut criterion, &questions);
    criterion.final_summary();
    Ok(())
}

fn keys(criterion: &mut Criterion, questions: &Questions) {
    let space = KeySpace::builder("hp-classify benches").part("tenant", b"default").build();
    let texts = [
        ("plain", "what enzymes convert kynurenine to quinolinic acid"),
        ("typed", "  Which enzymes convert kynurenine\tto quinolinic acid?? "),
        ("accents", "¿Qué enzimas convierten la quinurenina en ácido quinolínico?"),
        ("longest_of_the_file", questions.at_length(1.0)),
    ];
    let mut group = criterion.benchmark_group("keys");
    for (name, text) in texts {
        let normal = normalize(text);
        group.bench_with_input(BenchmarkId::new("normalize", name), text, |bencher, text| {
            bencher.iter(|| normalize(black_box(text)).len());
        });
        group.bench_with_input(BenchmarkId::new("key", name), &*normal, |bencher, normal| {
            bencher.iter(|| space.key([black_box(normal).as_bytes()]));
        });
        group.bench_with_input(BenchmarkId::new("normalize_and_key", name), text, |bencher, text| {
            bencher.iter(|| space.key([normalize(black_box(text)).as_bytes()]));
        });
        group.bench_with_input(BenchmarkId::new("bare_blake3", name), &*normal, |bencher, normal| {
            bencher.iter(|| blake3::keyed_hash(&[7; blake3::KEY_LEN], black_box(normal).as_bytes()));
        });
    }
    group.finish();
}
