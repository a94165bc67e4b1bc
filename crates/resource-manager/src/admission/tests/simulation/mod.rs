//! The adaptive limit against simulated upstreams, beside two published algorithms.

mod rivals;
mod upstream;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use self::rivals::{Aimd, Gradient2, Limit};
use self::upstream::{Beyond, Run, Scenario, run};
use crate::AdmissionConfig;
use crate::admission::limiter::Limiter;

const SEEDS: std::ops::Range<u64> = 101..106;
/// Seconds the limit has to find what is right, after the start and after each change.
const FINDS_WITHIN: u64 = 10;

fn config() -> AdmissionConfig {
    AdmissionConfig::default()
}

fn overloaded(servers: &[(u64, usize)], beyond: Beyond, sigma: f64) -> Scenario {
    let name = match (servers, beyond) {
        ([(_, 8)], Beyond::Queues) => "8",
        ([(_, 64)], Beyond::Queues) => "64",
        ([(_, 8), _], Beyond::Queues) => "8, then 64",
        (_, Beyond::Queues) => "64, then 8",
        ([(_, 8)], Beyond::Refuses) => "8, refuses",
        ([(_, 64)], Beyond::Refuses) => "64, refuses",
        ([(_, 8), _], Beyond::Refuses) => "8, then 64, refuses",
        (_, Beyond::Refuses) => "64, then 8, refuses",
    };
    let servers = servers.to_vec();
    Scenario { name, servers, beyond, service_ms: vec![(0, 50.0)], sigma, load: 1.5, seconds: 80 }
}

fn scenarios() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for beyond in [Beyond::Queues, Beyond::Refuses] {
        for servers in [&[(0, 8)][..], &[(0, 64)], &[(0, 8), (40, 64)], &[(0, 64), (40, 8)]] {
            for sigma in [0.0, 0.3, 0.5] {
                scenarios.push(overloaded(servers, beyond, sigma));
            }
        }
    }
    scenarios
}

/// By how much the limit of a second is off what is right, where it should have been found, as shares.
fn misses<'a>(scenario: &'a Scenario, run: &'a Run) -> impl Iterator<Item = f64> + 'a {
    run.limits.iter().enumerate().filter_map(|(second, limit)| {
        let second = second as u64;
        let (since, right) = *scenario.servers.iter().rev().find(|(since, _)| *since <= second)?;
        (second >= since + FINDS_WITHIN).then(|| limit / right as f64 - 1.0)
    })
}

fn worst(scenario: &Scenario, run: &Run) -> f64 {
    misses(scenario, run).fold(0.0, |worst, miss| if miss.abs() > f64::abs(worst) { miss } else { worst })
}

/// The share of seconds, in per cent, in which a limit may be off by more than a quarter.
fn allowed(scenario: &Scenario) -> f64 {
    match scenario.beyond {
        _ if scenario.sigma == 0.0 => 0.0,
        Beyond::Queues => 2.0,
        Beyond::Refuses => 4.0,
    }
}

type Make = fn(Instant) -> Box<dyn Limit>;

const ALL: [(&str, Make); 3] = [
    ("the adaptive limit", |now| Box::new(Limiter::new(config(), now))),
    ("Gradient2", |_| Box::new(Gradient2::new(8))),
    ("AIMD", |now| Box::new(Aimd::new(8, now))),
];

#[test]
fn the_limit_finds_what_is_right_and_stays_there() {
    let origin = Instant::now();
    let mut table = String::from(
        "| servers | jitter | algorithm | seconds off by more than 25 % | worst |\n| --- | --- | --- | --- | --- |\n",
    );
    let mut failures = String::new();
    for scenario in scenarios() {
        for (name, make) in ALL {
            let (mut n_bad, mut n_seconds, mut most_off) = (0, 0, 0.0_f64);
            for seed in SEEDS {
                let run = run(&scenario, &mut *make(origin), origin, seed);
                let off = worst(&scenario, &run);
                n_bad += misses(&scenario, &run).filter(|miss| miss.abs() > 0.25).count();
                n_seconds += misses(&scenario, &run).count();
                most_off = if off.abs() > most_off.abs() { off } else { most_off };
            }
            let (n_bad, n_seconds) = (n_bad as f64, n_seconds as f64);
            let share = 100.0 * n_bad / n_seconds;
            let (jitter, worst) = (scenario.sigma, 100.0 * most_off);
            writeln!(table, "| {} | {jitter} | {name} | {share:.1} % | {worst:+.0} % |", scenario.name)
                .unwrap();
            if name == ALL[0].0 && share > allowed(&scenario) {
                writeln!(failures, "{} with jitter {jitter}: {share:.1} %", scenario.name).unwrap();
            }
        }
    }
    println!("{table}");
    assert!(failures.is_empty(), "off by more than 25 %:\n{failures}");
}

#[test]
fn the_limit_does_not_rise_while_it_is_not_used() {
    let origin = Instant::now();
    let scenario = Scenario { load: 0.05, ..overloaded(&[(0, 64)], Beyond::Queues, 0.3) };
    for seed in SEEDS {
        let run = run(&scenario, &mut Limiter::new(config(), origin), origin, seed);
        let most = run.limits.iter().fold(0.0, |most: f64, limit| most.max(*limit));
        assert!(most <= 16.0, "with 3 under way on average it rises to {most}");
    }
}

#[test]
fn the_limit_does_not_decay_under_lasting_overload_nor_when_all_becomes_slower() {
    let origin = Instant::now();
    for (slow_from, sigma) in [(1_000, 0.3), (100, 0.3), (100, 0.5)] {
        let scenario = Scenario {
            service_ms: vec![(0, 50.0), (slow_from, 150.0)],
            seconds: 600,
            ..overloaded(&[(0, 32)], Beyond::Queues, sigma)
        };
        let (mut n_off, mut n_seconds) = (0_u32, 0_u32);
        for seed in SEEDS {
            let run = run(&scenario, &mut Limiter::new(config(), origin), origin, seed);
            for (second, limit) in run.limits.iter().enumerate().skip(20) {
                let is_looking = slow_from == 100 && (100..130).contains(&second);
                let is_off = !is_looking && !(24.0..=40.0).contains(limit);
                n_off += u32::from(is_off);
                n_seconds += 1;
                assert!(*limit > 4.0, "seed {seed}, second {second}: {limit}");
            }
        }
        let share = 100.0 * f64::from(n_off) / f64::from(n_seconds);
        println!("slower from second {slow_from} with jitter {sigma}: {share:.1} % of the seconds off");
        assert!(share <= 4.0, "slower from second {slow_from} with jitter {sigma}: {share} %");
    }
}

#[test]
fn a_limit_that_begins_much_too_high_comes_down() {
    let origin = Instant::now();
    let config = AdmissionConfig { initial: 128, ..config() };
    for seed in SEEDS {
        let scenario = overloaded(&[(0, 8)], Beyond::Queues, 0.3);
        let run = run(&scenario, &mut Limiter::new(config, origin), origin, seed);
        assert!(run.limits[40..].iter().all(|limit| (5.0..=12.0).contains(limit)), "{:?}", run.limits);
    }
}

#[test]
fn the_same_run_gives_the_same_limits() {
    let origin = Instant::now();
    let scenario = overloaded(&[(0, 64), (40, 8)], Beyond::Queues, 0.5);
    let [one, two] = [0, 1].map(|later| {
        let origin = origin + Duration::from_secs(later);
        run(&scenario, &mut Limiter::new(config(), origin), origin, 7).limits
    });
    assert_eq!(one, two);
}

#[test]
fn calls_that_take_no_time_leave_a_limit() {
    let now = Instant::now();
    let mut limiter = Limiter::new(config(), now);
    for latency in [Duration::ZERO, Duration::MAX, Duration::from_nanos(1)].repeat(300) {
        let n_in_flight = limiter.limit();
        limiter.sample(latency, n_in_flight, crate::Outcome::Done, now);
        assert!((1..=256).contains(&limiter.limit()));
    }
    for _ in 0..300 {
        let n_in_flight = limiter.limit();
        limiter.sample(Duration::ZERO, n_in_flight, crate::Outcome::Done, now);
        assert!((1..=256).contains(&limiter.limit()));
    }
    let mut limiter = Limiter::new(config(), now);
    for _ in 0..300 {
        let n_in_flight = limiter.limit();
        limiter.sample(Duration::ZERO, n_in_flight, crate::Outcome::Done, now);
        assert!((8..=256).contains(&limiter.limit()));
    }
}
