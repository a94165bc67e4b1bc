//! A simulated upstream and its callers in virtual time: events in a heap, a seeded generator, no clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use super::rivals::Limit;
use crate::Outcome;

/// What the upstream does with those it cannot serve at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beyond {
    /// They queue.
    Queues,
    /// They are refused after 5 ms, as by a 429.
    Refuses,
}

/// One run.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// Servers from a second on.
    pub(super) servers: Vec<(u64, usize)>,
    pub(super) beyond: Beyond,
    /// The median of service time, in milliseconds, from a second on.
    pub(super) service_ms: Vec<(u64, f64)>,
    pub(super) sigma: f64,
    /// Arrivals as a multiple of what the servers can do.
    pub(super) load: f64,
    pub(super) seconds: u64,
}

/// The mean limit of each second, and how much was done.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) limits: Vec<f64>,
    /// Done in each second.
    pub(super) n_done: Vec<u64>,
    pub(super) n_refused: u64,
}

/// Marsaglia's xorshift64.
pub(super) struct Lot(pub(super) u64);

impl Lot {
    /// Above 0 and below 1.
    pub(super) fn even(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// By the method of Box and Muller.
    fn normal(&mut self) -> f64 {
        (-2.0 * self.even().ln()).sqrt() * (std::f64::consts::TAU * self.even()).cos()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrives,
    Served { sent: u64 },
    Refused { sent: u64 },
}

fn value_at<T: Copy>(steps: &[(u64, T)], micros: u64) -> T {
    steps.iter().rev().find(|(second, _)| second * 1_000_000 <= micros).map_or(steps[0].1, |step| step.1)
}

pub(super) fn run(scenario: &Scenario, limit: &mut dyn Limit, origin: Instant, seed: u64) -> Run {
    let mut lot = Lot(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut events = BinaryHeap::from([Reverse((0_u64, Event::Arrives))]);
    let (mut n_waiting, mut n_in_flight, mut n_busy) = (0_u64, 0_usize, 0_usize);
    let mut queued: VecDeque<u64> = VecDeque::new();
    let seconds = usize::try_from(scenario.seconds).unwrap();
    let mut run = Run { limits: vec![0.0; seconds], n_done: vec![0; seconds], n_refused: 0 };
    let mut last = 0;
    while let Some(Reverse((now, event))) = events.pop() {
        let end = now.min(scenario.seconds * 1_000_000);
        while last < end {
            let second = last / 1_000_000;
            let until = end.min((second + 1) * 1_000_000);
            run.limits[usize::try_from(second).unwrap()] +=
                limit.limit() as f64 * (until - last) as f64 / 1e6;
            last = until;
        }
        if now >= scenario.seconds * 1_000_000 {
            break;
        }
        let servers = value_at(&scenario.servers, now);
        let median = value_at(&scenario.service_ms, now) * 1_000.0;
        let mut service = || (median * (scenario.sigma * lot.normal()).exp()) as u64 + 1;
        let mut ended = None;
        match event {
            Event::Arrives => n_waiting = (n_waiting + 1).min(1_000),
            Event::Served { sent } => {
                ended = Some((sent, Outcome::Done));
                n_busy -= 1;
                run.n_done[usize::try_from(now / 1_000_000).unwrap()] += 1;
                while n_busy < servers
                    && let Some(sent) = queued.pop_front()
                {
                    n_busy += 1;
                    events.push(Reverse((now + service(), Event::Served { sent })));
                }
            }
            Event::Refused { sent } => {
                ended = Some((sent, Outcome::Overloaded));
                run.n_refused += 1;
            }
        }
        if let Some((sent, outcome)) = ended {
            let at = origin + Duration::from_micros(now);
            limit.sample(Duration::from_micros(now - sent), n_in_flight, outcome, at);
            n_in_flight -= 1;
        }
        while n_waiting > 0 && n_in_flight < limit.limit() {
            n_waiting -= 1;
            n_in_flight += 1;
            if n_busy < servers {
                n_busy += 1;
                events.push(Reverse((now + service(), Event::Served { sent: now })));
            } else if scenario.beyond == Beyond::Queues {
                queued.push_back(now);
            } else {
                events.push(Reverse((now + 5_000, Event::Refused { sent: now })));
            }
        }
        if event == Event::Arrives {
            let mean =
                median * (scenario.sigma * scenario.sigma / 2.0).exp() / (scenario.load * servers as f64);
            events.push(Reverse((now + (-mean * lot.even().ln()) as u64 + 1, Event::Arrives)));
        }
    }
    run
}
