//! Two published algorithms to compare the adaptive limit with.

use std::time::{Duration, Instant};

use crate::Outcome;
use crate::admission::limiter::Limiter;

/// What is compared.
pub(super) trait Limit {
    fn limit(&self) -> usize;
    fn sample(&mut self, latency: Duration, n_in_flight: usize, outcome: Outcome, now: Instant);
}

impl Limit for Limiter {
    fn limit(&self) -> usize {
        self.limit()
    }

    fn sample(&mut self, latency: Duration, n_in_flight: usize, outcome: Outcome, now: Instant) {
        self.sample(latency, n_in_flight, outcome, now);
    }
}

/// Additive increase, multiplicative decrease (Chiu and Jain 1989): up by one for each round that was used, down to 0.9
/// once a round when one takes longer than 1.5 times the shortest mean of a second so far, or is refused.
#[derive(Debug)]
pub(super) struct Aimd {
    limit: f64,
    shortest: f64,
    mean: f64,
    mean_ends: Instant,
    cut: Instant,
}

impl Aimd {
    pub(super) fn new(initial: usize, now: Instant) -> Self {
        Self { limit: initial as f64, shortest: f64::MAX, mean: 0.0, mean_ends: now + SECOND, cut: now }
    }
}

const SECOND: Duration = Duration::from_secs(1);

impl Limit for Aimd {
    fn limit(&self) -> usize {
        self.limit as usize
    }

    fn sample(&mut self, latency: Duration, n_in_flight: usize, outcome: Outcome, now: Instant) {
        let seconds = latency.as_secs_f64();
        let is_bad = match outcome {
            Outcome::Done => {
                self.mean = if self.mean == 0.0 { seconds } else { self.mean + 0.1 * (seconds - self.mean) };
                if now >= self.mean_ends {
                    self.shortest = self.shortest.min(self.mean);
                    self.mean_ends = now + SECOND;
                }
                self.shortest < f64::MAX && self.mean > 1.5 * self.shortest
            }
            Outcome::Overloaded => true,
            Outcome::Unknown => return,
        };
        if is_bad && now >= self.cut {
            self.limit = (0.9 * self.limit).max(1.0);
            self.cut = now + Duration::from_secs_f64(self.mean.max(0.02));
        } else if !is_bad && n_in_flight >= self.limit() {
            self.limit = (self.limit + 1.0 / self.limit).min(256.0);
        }
    }
}

/// `Gradient2Limit` of Netflix' concurrency-limits by its published formula and defaults: the gradient of a long mean of
/// latency (600 samples) against each sample, a tolerance of 1.5, a queue of the square root of the limit, smoothing by
/// 0.2; down to 0.9 when one is refused.
#[derive(Debug)]
pub(super) struct Gradient2 {
    limit: f64,
    long: f64,
}

impl Gradient2 {
    pub(super) fn new(initial: usize) -> Self {
        Self { limit: initial as f64, long: 0.0 }
    }
}

impl Limit for Gradient2 {
    fn limit(&self) -> usize {
        self.limit as usize
    }

    fn sample(&mut self, latency: Duration, n_in_flight: usize, outcome: Outcome, _now: Instant) {
        if outcome == Outcome::Overloaded {
            self.limit = (0.9 * self.limit).max(1.0);
            return;
        }
        let seconds = latency.as_secs_f64();
        self.long = if self.long == 0.0 { seconds } else { self.long + (seconds - self.long) * 2.0 / 601.0 };
        if self.long > 2.0 * seconds {
            self.long *= 0.95;
        }
        if (n_in_flight as f64) < self.limit / 2.0 {
            return;
        }
        let gradient = (1.5 * self.long / seconds).clamp(0.5, 1.0);
        let aim = self.limit * gradient + self.limit.sqrt();
        self.limit = (0.8 * self.limit + 0.2 * aim).clamp(1.0, 256.0);
    }
}
