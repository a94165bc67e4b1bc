//! When a breaker opens, half-opens and closes.

mod naive;

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

#[test]
fn a_call_that_hangs_is_slow_before_it_ends_and_counts_once() {
    let (breaker, clock) = breaker(BreakerConfig { min_calls: 5, ..BreakerConfig::default() });
    let mut running: Vec<_> = (0..4).map(|_| breaker.try_call().unwrap()).collect();
    clock.advance(Duration::from_secs(1));
    for call in &mut running {
        call.late();
        call.late();
    }
    for call in running {
        call.succeeded();
    }
    assert_eq!(breaker.state(), BreakerState::Closed, "four calls, however often they are told");
    let mut fifth = breaker.try_call().unwrap();
    fifth.late();
    assert_eq!(breaker.state(), BreakerState::Open, "and the fifth has not ended");
}

#[test]
fn a_late_call_that_fails_is_one_call_that_failed() {
    let config = BreakerConfig { slow_rate: 1.0, ..BreakerConfig::default() };
    let (breaker, _) = breaker(config);
    calls(&breaker, "ooo");
    let mut running: Vec<_> = (0..3).map(|_| breaker.try_call().unwrap()).collect();
    running.iter_mut().for_each(Call::late);
    let third = running.pop();
    running.into_iter().for_each(Call::failed);
    assert_eq!(breaker.state(), BreakerState::Closed, "two of six have failed");
    third.unwrap().failed();
    assert_eq!(breaker.state(), BreakerState::Open, "three of six have failed");
}

#[test]
fn a_late_call_that_fails_after_the_window_is_not_put_on_the_calls_of_now() {
    let config = BreakerConfig { slow_rate: 1.0, ..BreakerConfig::default() };
    let (breaker, clock) = breaker(config);
    let mut late = breaker.try_call().unwrap();
    late.late();
    clock.advance(Duration::from_secs(10));
    calls(&breaker, "oooxx");
    late.failed();
    assert_eq!(breaker.state(), BreakerState::Closed, "two of five have failed");
}

#[test]
fn a_late_trial_opens_at_once() {
    let (breaker, clock) = breaker(BreakerConfig::default());
    breaker.trip();
    assert_eq!(breaker.open_for(), Some(Duration::from_millis(500)));
    clock.advance(Duration::from_millis(500));
    let mut trial = breaker.try_call().unwrap();
    assert_eq!(breaker.open_for(), None);
    trial.late();
    assert_eq!(breaker.open_for(), Some(Duration::from_secs(1)));
    drop(trial);
    assert_eq!(breaker.n_openings(), 2);
}

#[test]
fn what_is_slow_follows_what_is_usual_between_floor_and_ceiling() {
    let adaptive = AdaptiveSlow { factor: 3.0, floor: Duration::from_millis(100) };
    let config = BreakerConfig { adaptive_slow: Some(adaptive), ..BreakerConfig::default() };
    let (breaker, clock) = breaker(config);
    let well = |millis| {
        let call = breaker.try_call().unwrap();
        clock.advance(Duration::from_millis(millis));
        call.succeeded();
    };
    let slow_after = || breaker.slow_after().as_millis();
    (0..9).for_each(|_| well(100));
    assert_eq!(slow_after(), 1000, "too little is known");
    well(100);
    assert_eq!(slow_after(), 300);
    (0..200).for_each(|_| well(10));
    assert_eq!(slow_after(), 100, "the floor");
    (0..200).for_each(|_| well(99));
    assert!((290..300).contains(&slow_after()));
    well(400);
    assert!((290..300).contains(&slow_after()), "a slow call is not usual");
    let call = breaker.try_call().unwrap();
    clock.advance(Duration::from_millis(10));
    call.failed();
    assert!((290..300).contains(&slow_after()), "nor is how soon one fails");
}

#[test]
fn what_is_slow_for_good_is_learnt_from_trials() {
    let config = BreakerConfig { adaptive_slow: Some(AdaptiveSlow::default()), ..BreakerConfig::default() };
    let (breaker, clock) = breaker(config);
    let well = |millis| {
        let mut call = breaker.try_call().unwrap();
        if millis >= breaker.slow_after().as_millis() as u64 {
            call.late();
        }
        clock.advance(Duration::from_millis(millis));
        call.succeeded();
    };
    (0..40).for_each(|_| well(100));
    while breaker.state() == BreakerState::Closed {
        well(600);
    }
    assert_eq!(breaker.slow_after().as_millis(), 300);
    let mut n_trials = 0;
    while breaker.state() != BreakerState::Closed {
        clock.advance(breaker.open_for().unwrap_or_default());
        well(600);
        n_trials += 1;
    }
    assert!((3..=5).contains(&n_trials), "{n_trials}");
    (0..100).for_each(|_| well(600));
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn calls_that_have_failed_after_all_count_as_failed() {
    let (breaker, clock) = breaker(BreakerConfig::default());
    breaker.failed_after_all();
    calls(&breaker, "oooooo");
    breaker.failed_after_all();
    clock.advance(Duration::from_secs(5));
    calls(&breaker, "x");
    breaker.failed_after_all();
    assert_eq!(breaker.state(), BreakerState::Closed, "three of seven");
    breaker.failed_after_all();
    assert_eq!(breaker.state(), BreakerState::Open, "four of seven");
    breaker.failed_after_all();
    clock.advance(Duration::from_millis(500));
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    breaker.failed_after_all();
    assert_eq!(breaker.state(), BreakerState::Open);
}
