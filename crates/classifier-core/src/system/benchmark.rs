//! How fast a system answers: measured on the system itself, with questions of the caller's.

use std::time::Duration;

use serde::Serialize;

use super::ClassificationSystem;
use crate::classifier::Request;
use crate::error::{Error, ErrorKind, Result};

/// How fast questions were answered, one after another. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchmarkReport {
    /// Answers.
    pub n_answers: u64,
    /// Questions that were refused or failed.
    pub n_errors: u64,
    /// Answers that something better should have given.
    pub n_degraded: u64,
    /// Answers of a cache, as a share of all; in [0, 1].
    pub hit_rate: f64,
    /// Answers within `target_response_time_ms`, as a share of all; in [0, 1].
    pub target_compliance_rate: f64,
    /// The mean.
    pub avg_ms: f64,
    /// Half were as fast.
    pub p50_ms: f64,
    /// 95 of a hundred were as fast.
    pub p95_ms: f64,
    /// 99 of a hundred were as fast.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
    /// Answers a second, one after another.
    pub throughput_rps: f64,
}

impl ClassificationSystem {
    /// Asks all questions one after another, `iterations` times over, by the system as it is: what its caches have is
    /// found there, and the answers are kept as any others. `hp-validate` measures under load, and from outside.
    ///
    /// # Errors
    /// [`InvalidQuery`](ErrorKind::InvalidQuery) when there is nothing to ask.
    pub async fn benchmark(&self, queries: &[&str], iterations: usize) -> Result<BenchmarkReport> {
        if queries.is_empty() || iterations == 0 {
            let message = "there is nothing to measure; give one question and one iteration at least";
            return Err(Error::new(ErrorKind::InvalidQuery, message));
        }
        let started = self.engine.clock.now();
        let mut times = Vec::with_capacity(queries.len().saturating_mul(iterations));
        let (mut n_errors, mut n_hits, mut n_degraded, mut n_met) = (0, 0_u64, 0, 0_u64);
        for query in std::iter::repeat_n(queries, iterations).flatten() {
            let Ok(outcome) = self.classify(&Request::new(query)).await else {
                n_errors += 1;
                continue;
            };
            times.push(outcome.metadata.response_time);
            n_hits += u64::from(outcome.metadata.cache_hit);
            n_degraded += u64::from(outcome.metadata.degraded);
            n_met += u64::from(outcome.metadata.target_met);
        }
        let took = self.engine.clock.now().saturating_duration_since(started);
        times.sort_unstable();
        let n_answers = times.len() as u64;
        let share = |n: u64| if n_answers == 0 { 0.0 } else { n as f64 / n_answers as f64 };
        let total: Duration = times.iter().sum();
        Ok(BenchmarkReport {
            n_answers,
            n_errors,
            n_degraded,
            hit_rate: share(n_hits),
            target_compliance_rate: share(n_met),
            avg_ms: if n_answers == 0 { 0.0 } else { milliseconds(total) / n_answers as f64 },
            p50_ms: quantile(&times, 0.5),
            p95_ms: quantile(&times, 0.95),
            p99_ms: quantile(&times, 0.99),
            max_ms: quantile(&times, 1.0),
            throughput_rps: if took.is_zero() { 0.0 } else { n_answers as f64 / took.as_secs_f64() },
        })
    }
}

/// The smallest of the sorted times that so large a share is within.
fn quantile(sorted: &[Duration], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().map_or(0.0, milliseconds)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_time_that_so_many_are_within() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        for (share, expected) in [(0.0, 1.0), (0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (1.0, 100.0)] {
            assert_eq!(quantile(&times, share), expected);
        }
        assert_eq!(quantile(&times[..1], 0.5), 1.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
