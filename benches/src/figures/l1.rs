//! A get from the memory tier beside a get of the same value from a bare quick_cache.

use std::hint::black_box;
use std::time::Instant;

use cache_tiers::normalize;

use super::rounds::{Latencies, Rounds, Turns, drawn, nanos_each};
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
    let mut figures = compare(&caches)?;
    figures.extend(with_hashing(&caches)?);
    Ok(figures)
}

/// Both caches in turns, by the same loop, under the same keys in the same order.
fn compare(caches: &SideBySide) -> anyhow::Result<Vec<Figure>> {
    let bare_keys: Vec<[u8; 16]> = caches.keys.iter().map(|key| *key.as_bytes()).collect();
    let turns = Turns::take(
        N_ROUNDS,
        |round| {
            let draws = drawn(N_GETS, SideBySide::N_ENTRIES, round);
            Ok(nanos_each(&draws, &caches.keys, |key| caches.tier.get(key)))
        },
        |round| {
            let draws = drawn(N_GETS, SideBySide::N_ENTRIES, round);
            Ok(nanos_each(&draws, &bare_keys, |key| caches.bare.get(key)))
        },
    )?;
    Ok(vec![
        Figure::new("l1.get_ns", turns.ours, "ns"),
        Figure::new("l1.bare_get_ns", turns.bare, "ns"),
        Figure::new("l1.get_ratio", turns.ratio, "× bare").with_goal(Goal::AtMost(2.0)),
    ])
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
