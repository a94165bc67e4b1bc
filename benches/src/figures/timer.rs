//! What reading the clock costs: every time of a single call holds this much that is not the call.

use std::time::{Duration, Instant};

use super::Figure;
use super::rounds::{N_ROUNDS, Rounds};

const N_CALLS: u32 = 10_000;

pub(super) fn measure() -> Vec<Figure> {
    let mut rounds = Rounds::default();
    for _ in 0..N_ROUNDS {
        let nothing: Duration = (0..N_CALLS).map(|_| Instant::now().elapsed()).sum();
        rounds.push(nothing.as_secs_f64() * 1e9 / f64::from(N_CALLS));
    }
    vec![Figure::new("timer.overhead_ns", rounds.median(), "ns")]
}
