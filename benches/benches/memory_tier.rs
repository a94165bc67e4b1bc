//! The memory tier beside a bare quick_cache: gets that hit, gets that miss, and insertions over what is there.

use std::hint::black_box;
use std::sync::Arc;

use benches::{Questions, SideBySide};
use cache_tiers::{Entry, Key};
use criterion::Criterion;

/// Not a divisor of the number of entries, so that stepping by it visits all of them in an order of no locality.
const STEP: usize = 7_919;

fn main() -> anyhow::Result<()> {
    let caches = SideBySide::fill(&Questions::load(None)?)?;
    let mut criterion = Criterion::default().configure_from_args();
    get(&mut criterion, &caches);
    miss(&mut criterion, &caches);
    insert(&mut criterion, &caches);
    criterion.final_summary();
    Ok(())
}

fn get(criterion: &mut Criterion, caches: &SideBySide) {
    let mut group = criterion.benchmark_group("memory_tier/get");
    let mut at = 0;
    group.bench_function("tier", |bencher| {
        bencher.iter(|| caches.tier.get(black_box(next(caches, &mut at))));
    });
    group.bench_function("bare", |bencher| {
        bencher.iter(|| caches.bare.get(black_box(next(caches, &mut at).as_bytes())));
    });
    group.finish();
}

fn miss(criterion: &mut Criterion, caches: &SideBySide) {
    let absent = Key::from_bytes([0; 16]);
    let mut group = criterion.benchmark_group("memory_tier/miss");
    group.bench_function("tier", |bencher| bencher.iter(|| caches.tier.get(black_box(&absent))));
    group.bench_function("bare", |bencher| bencher.iter(|| caches.bare.get(black_box(absent.as_bytes()))));
    group.finish();
}

fn insert(criterion: &mut Criterion, caches: &SideBySide) {
    let Some(answer) = caches.keys.first().and_then(|key| caches.bare.get(key.as_bytes())) else { return };
    let mut group = criterion.benchmark_group("memory_tier/insert");
    let mut at = 0;
    group.bench_function("tier", |bencher| {
        bencher.iter(|| {
            let entry = Entry { value: Arc::clone(&answer), ttl: SideBySide::TTL };
            caches.tier.insert(*next(caches, &mut at), entry)
        });
    });
    group.bench_function("bare", |bencher| {
        bencher.iter(|| caches.bare.insert(*next(caches, &mut at).as_bytes(), Arc::clone(&answer)));
    });
    group.finish();
}

fn next<'a>(caches: &'a SideBySide, at: &mut usize) -> &'a Key {
    *at = (*at + STEP) % SideBySide::N_ENTRIES;
    &caches.keys[*at]
}
