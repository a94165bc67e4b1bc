//! When a breaker opens, half-opens and closes.

use super::*;
use crate::ManualClock;

fn breaker(config: BreakerConfig) -> (CircuitBreaker, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    (CircuitBreaker::new(config, clock.clone()), clock)
}

fn calls(breaker: &CircuitBreaker, outcomes: &str) {
    for outcome in outcomes.chars() {
        let call = breaker.try_call().unwrap();
        if outcome == 'x' { call.failed() } else { call.succeeded() }
    }
}

#[test]
fn it_opens_at_the_rate_and_not_before_there_are_enough_calls() {
    for (outcomes, state) in [
        ("xxxx", BreakerState::Closed),
        ("xxxxx", BreakerState::Open),
        ("oooxx", BreakerState::Closed),
        ("oooxxx", BreakerState::Open),
    ] {
        let (breaker, _) = breaker(BreakerConfig::default());
        calls(&breaker, outcomes);
        assert_eq!(breaker.state(), state, "{outcomes}");
    }
}

#[test]
fn what_is_older_than_the_window_does_not_count() {
    let (breaker, clock) = breaker(BreakerConfig::default());
    calls(&breaker, "xxxx");
    clock.advance(Duration::from_secs(10));
    calls(&breaker, "xxxx");
    assert_eq!(breaker.state(), BreakerState::Closed);
    clock.advance(Duration::from_secs(5));
    calls(&breaker, "x");
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn slow_calls_open_it_too() {
    let (breaker, clock) = breaker(BreakerConfig::default());
    for _ in 0..5 {
        let call = breaker.try_call().unwrap();
        clock.advance(Duration::from_secs(1));
        call.succeeded();
    }
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn a_failed_trial_doubles_the_wait_and_a_good_one_closes() {
    let (breaker, clock) = breaker(BreakerConfig::default());
    breaker.trip();
    for wait in [500, 1000, 2000, 4000, 8000, 10_000, 10_000] {
        clock.advance(Duration::from_millis(wait - 1));
        assert!(breaker.try_call().is_none());
        clock.advance(Duration::from_millis(1));
        calls(&breaker, "x");
    }
    clock.advance(Duration::from_secs(10));
    calls(&breaker, "oo");
    assert_eq!(breaker.state(), BreakerState::Closed);
    breaker.trip();
    clock.advance(Duration::from_millis(500));
    assert_eq!(breaker.state(), BreakerState::HalfOpen, "the wait begins anew");
}

#[test]
fn few_trials_run_at_once_and_an_abandoned_one_makes_room() {
    let (breaker, clock) = breaker(BreakerConfig::default());
    breaker.trip();
    clock.advance(Duration::from_millis(500));
    let first = breaker.try_call().unwrap();
    let second = breaker.try_call().unwrap();
    assert!(breaker.try_call().is_none());
    drop(first);
    let third = breaker.try_call().unwrap();
    second.succeeded();
    third.succeeded();
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn a_call_of_an_earlier_period_says_nothing_about_this_one() {
    let (breaker, clock) = breaker(BreakerConfig::default());
    let old: Vec<_> = (0..5).map(|_| breaker.try_call().unwrap()).collect();
    breaker.trip();
    clock.advance(Duration::from_millis(500));
    for call in old {
        call.failed();
    }
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    breaker.reset();
    assert_eq!(breaker.state(), BreakerState::Closed);
}
