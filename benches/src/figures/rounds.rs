//! Measuring in rounds: medians, times of single calls, and an order nobody can foresee.

use std::hint::black_box;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// How often each measurement is repeated; odd, so that the median is one of them.
pub(super) const N_ROUNDS: u64 = 31;

/// The longest single call that is told from a longer one.
const LONGEST: Duration = Duration::from_secs(60);

/// One value a round, of which the middle one counts.
#[derive(Debug, Default)]
pub(super) struct Rounds(Vec<f64>);

impl Rounds {
    pub(super) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The middle value, or the upper one of two; not a number before the first round.
    pub(super) fn median(mut self) -> f64 {
        self.0.sort_by(f64::total_cmp);
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// What came of measuring something of ours and what is underneath it in turns: medians over the rounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turns {
    pub(super) ours: f64,
    pub(super) bare: f64,
    /// Of `ours` to `bare` in the same round.
    pub(super) ratio: f64,
}

impl Turns {
    /// Both measure once a round and are told its number; the first round, number 0, warms up.
    pub(super) fn take(
        n_rounds: u64,
        mut ours: impl FnMut(u64) -> anyhow::Result<f64>,
        mut bare: impl FnMut(u64) -> anyhow::Result<f64>,
    ) -> anyhow::Result<Self> {
        let (mut all_ours, mut all_bare, mut ratio) =
            (Rounds::default(), Rounds::default(), Rounds::default());
        for round in 0..=n_rounds {
            // They also take turns at being first.
            let (ours, bare) = if round % 2 == 0 {
                let ours = ours(round)?;
                (ours, bare(round)?)
            } else {
                let bare = bare(round)?;
                (ours(round)?, bare)
            };
            if round > 0 {
                all_ours.push(ours);
                all_bare.push(bare);
                ratio.push(ours / bare);
            }
        }
        Ok(Self { ours: all_ours.median(), bare: all_bare.median(), ratio: ratio.median() })
    }
}

/// The time of a get, in nanoseconds. Never inlined, so that the loop is the same whatever is read.
#[inline(never)]
pub(super) fn nanos_each<K, T>(draws: &[usize], keys: &[K], get: impl Fn(&K) -> Option<T>) -> f64 {
    let started = Instant::now();
    for &draw in draws {
        black_box(get(black_box(&keys[draw])));
    }
    started.elapsed().as_secs_f64() * 1e9 / draws.len() as f64
}

/// The times of single calls, each with the time it takes to read the clock in it, to three digits.
#[derive(Debug)]
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_max(nanos(LONGEST), 3)?))
    }

    pub(super) fn record(&mut self, time: Duration) {
        self.0.saturating_record(nanos(time));
    }

    /// The time that this share of the calls did not exceed, in microseconds.
    pub(super) fn micros_at(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }

    /// The mean of all calls, in microseconds.
    pub(super) fn mean_micros(&self) -> f64 {
        self.0.mean() / 1e3
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Indices below `n_items` drawn by lot; the same ones for the same seed.
pub(super) fn drawn(n_draws: usize, n_items: usize, seed: u64) -> Vec<usize> {
    // SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (0..n_draws).map(|_| (next() % n_items as u64) as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_disturbed_round_does_not_count() {
        let mut rounds = Rounds::default();
        for value in [3.0, 1000.0, 2.0] {
            rounds.push(value);
        }
        assert_eq!(rounds.median(), 3.0);
        assert!(Rounds::default().median().is_nan());
    }

    #[test]
    fn turns_are_compared_within_a_round() {
        let turns = Turns::take(3, |round| Ok(round as f64 * 3.0), |round| Ok(round as f64)).unwrap();
        assert_eq!((turns.ours, turns.bare, turns.ratio), (6.0, 2.0, 3.0));
        assert!(Turns::take(3, |_| anyhow::bail!("broken"), |_| Ok(1.0)).is_err());
    }

    #[test]
    fn quantiles_are_in_microseconds() {
        let mut latencies = Latencies::new().unwrap();
        for micros in 1..=100 {
            latencies.record(Duration::from_micros(micros));
        }
        assert!((latencies.micros_at(0.5) - 50.0).abs() < 0.1);
        assert!((latencies.micros_at(0.99) - 99.0).abs() < 0.1);
        assert!((latencies.mean_micros() - 50.5).abs() < 0.1);
    }

    #[test]
    fn every_item_is_drawn_about_as_often() {
        let draws = drawn(10_000, 10, 7);
        assert_eq!(draws, drawn(10_000, 10, 7));
        for item in 0..10 {
            let n_draws = draws.iter().filter(|&&draw| draw == item).count();
            assert!((900..1100).contains(&n_draws), "{item} was drawn {n_draws} times");
        }
    }
}
