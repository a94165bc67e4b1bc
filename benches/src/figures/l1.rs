//! A get from the memory tier beside a get of the same value from a bare quick_cache.

use std::hint::black_box;
use std::time::Instant;

use cache_tiers::normalize;

use super::rounds::{Latencies, Rounds, drawn};
use super::{Figure, Goal};
use crate::{Questions, SideBySide};

/// How often a round reads from each: so few that most rounds are over before the scheduler gives the core to somebody
/// else, so many that what a cache finds in the processor's caches is its own.
const N_GETS: usize = 20_000;
/// About five million gets from each.
const N_ROUNDS: u64 = 251;
/// Fewer will do for single calls.
const N_HASHING_ROUNDS: u64 = 31;

pub(super) fn measure(questions: &Questions) -> anyhow::Result<Vec<Figure>> {
    let caches = SideBySide::fill(questions)?;
    let mut figures = compare(&caches);
    figures.extend(with_hashing(&caches)?);
    Ok(figures)
}

/// Both caches in turns, by the same loop, under the same keys in the same order.
fn compare(caches: &SideBySide) -> Vec<Figure> {
    let bare_keys: Vec<[u8; 16]> = caches.keys.iter().map(|key| *key.as_bytes()).collect();
    let (mut tier, mut bare, mut ratio) = (Rounds::default(), Rounds::default(), Rounds::default());
    // The first round warms up.
    for round in 0..=N_ROUNDS {
        let draws = drawn(N_GETS, SideBySide::N_ENTRIES, round);
        let read_tier = || nanos_each(&draws, &caches.keys, |key| caches.tier.get(key));
        let read_bare = || nanos_each(&draws, &bare_keys, |key| caches.bare.get(key));
        // They also take turns at being first.
        let (tier_nanos, bare_nanos) = if round % 2 == 0 {
            let tier_nanos = read_tier();
            (tier_nanos, read_bare())
        } else {
            let bare_nanos = read_bare();
            (read_tier(), bare_nanos)
        };
        if round > 0 {
            tier.push(tier_nanos);
            bare.push(bare_nanos);
            ratio.push(tier_nanos / bare_nanos);
        }
    }
    vec![
        Figure::new("l1.get_ns", tier.median(), "ns"),
        Figure::new("l1.bare_get_ns", bare.median(), "ns"),
        Figure::new("l1.get_ratio", ratio.median(), "× bare").with_goal(Goal::AtMost(2.0)),
    ]
}

/// The time of a get, in nanoseconds. Never inlined, so that the loop is the same whatever is read.
#[inline(never)]
fn nanos_each<K, T>(draws: &[usize], keys: &[K], get: impl Fn(&K) -> Option<T>) -> f64 {
    let started = Instant::now();
    for &draw in draws {
        black_box(get(black_box(&keys[draw])));
    }
    started.elapsed().as_secs_f64() * 1e9 / draws.len() as f64
}

/// From the question to its answer: normalising, hashing and reading. Questions that are not ASCII take longer to
/// normalise, so the mean depends on how many of them there are.
fn with_hashing(caches: &SideBySide) -> anyhow::Result<Vec<Figure>> {
    let (mut p50, mut mean) = (Rounds::default(), Rounds::default());
    for round in 0..=N_HASHING_ROUNDS {
        let mut latencies = Latencies::new()?;
        for draw in drawn(N_GETS, SideBySide::N_ENTRIES, round) {
            let question = black_box(&caches.questions[draw]);
            let started = Instant::now();
            let entry = caches.tier.get(&caches.space.key([normalize(question).as_bytes()]));
            latencies.record(started.elapsed());
            black_box(entry);
        }
        if round > 0 {
            p50.push(latencies.micros_at(0.5));
            mean.push(latencies.mean_micros());
        }
    }
    Ok(vec![
        Figure::new("l1.get_with_hashing_us", p50.median(), "µs").with_goal(Goal::AtMost(1.0)),
        Figure::new("l1.get_with_hashing_mean_us", mean.median(), "µs"),
    ])
}
