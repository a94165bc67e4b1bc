//! What opens the breaker of a model, and what does not.

use futures_util::future::join_all;
use hp_base::{BreakerConfig, BreakerState, ManualClock};

use super::super::{Breaker, DeadlineConfig, WithDeadline};
use super::*;

/// Slow calls are seen, but only after an hour.
fn config() -> BreakerConfig {
    BreakerConfig { slow_call: HOUR, adaptive_slow: None, ..Breaker::config() }
}

fn breaker(model: &Arc<Scripted>, config: BreakerConfig) -> Arc<Breaker> {
    Arc::new(Breaker::new(model.clone(), config, clock()))
}

#[tokio::test]
async fn what_the_provider_is_to_blame_for_opens_it() {
    let blameless = [
        LlmErrorKind::InvalidConfig,
        LlmErrorKind::InvalidRequest,
        LlmErrorKind::OutOfTime,
        LlmErrorKind::CircuitOpen,
        LlmErrorKind::Busy,
        LlmErrorKind::OverBudget,
        LlmErrorKind::BudgetUnknown,
    ];
    for kind in KINDS {
        let model = Scripted::always(Step::Fail(kind));
        let breaker = breaker(&model, config());
        for _ in 0..5 {
            assert_eq!(breaker.chat(&request()).await.unwrap_err().kind(), kind);
        }
        let opens = !blameless.contains(&kind);
        assert_eq!(breaker.stats().state == BreakerState::Open, opens, "{kind:?}");
    }
}

#[tokio::test]
async fn what_was_never_sent_says_nothing_of_the_provider() {
    let model = Scripted::always(Step::Refuse(LlmErrorKind::RateLimited));
    let breaker = breaker(&model, config());
    for _ in 0..20 {
        let error = breaker.chat(&request()).await.unwrap_err();
        assert!(error.kind() == LlmErrorKind::RateLimited && error.is_unsent());
    }
    assert_eq!(breaker.stats().state, BreakerState::Closed);
}

#[tokio::test]
async fn open_it_refuses_at_once_and_trials_close_it() {
    let clock = Arc::new(ManualClock::new());
    let script = std::iter::repeat_n(Step::Fail(LlmErrorKind::Unavailable), 5);
    let model = Scripted::then(script, Step::Reply);
    let breaker = Breaker::new(model.clone(), config(), clock.clone());
    for _ in 0..5 {
        assert!(breaker.chat(&request()).await.is_err());
    }
    let error = breaker.chat(&request()).await.unwrap_err();
    assert_eq!(error.kind(), LlmErrorKind::CircuitOpen);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    assert_eq!((model.n_calls(), breaker.stats().n_refused), (5, 1));
    clock.advance(Duration::from_secs(1));
    for _ in 0..2 {
        assert!(breaker.chat(&request()).await.is_ok());
    }
    let stats = breaker.stats();
    assert_eq!((stats.state, stats.n_openings), (BreakerState::Closed, 1));
}

#[tokio::test]
async fn what_hangs_opens_it_before_it_ends() {
    let model = Scripted::always(Step::Hang);
    let breaker = breaker(&model, BreakerConfig { slow_call: millis(20), ..config() });
    let request = request();
    tokio::select! {
        _ = join_all((0..5).map(|_| breaker.chat(&request))) => unreachable!("they hang"),
        () = until(|| breaker.stats().state == BreakerState::Open && model.n_running() == 5) => {}
    }
    assert_eq!(model.n_running(), 0);
}

#[tokio::test]
async fn what_hangs_is_seen_by_requests_with_less_time_than_a_slow_call_takes() {
    let script = std::iter::repeat_n(Step::Reply, 5);
    let model = Scripted::then(script, Step::Hang);
    let breaker = breaker(&model, config());
    for _ in 0..5 {
        assert!(breaker.chat(&request()).await.is_ok());
    }
    let with_deadline = WithDeadline::new(breaker.clone(), DeadlineConfig::default(), clock());
    let request = request_within(millis(500));
    join_all((0..25).map(|_| with_deadline.chat(&request))).await;
    assert_eq!(breaker.stats().state, BreakerState::Open);
}

#[tokio::test]
async fn calls_in_a_hurry_and_calls_that_are_dropped_say_nothing() {
    let model = Scripted::always(Step::Hang);
    let breaker = breaker(&model, config());
    let with_deadline = WithDeadline::new(
        breaker.clone(),
        DeadlineConfig { least: Duration::ZERO, ..DeadlineConfig::default() },
        clock(),
    );
    // Half of what a call is taken to last.
    let hurried = request_within(millis(150));
    join_all((0..10).map(|_| with_deadline.chat(&hurried))).await;
    assert_eq!(model.n_running(), 0);
    let request = request();
    tokio::select! {
        _ = join_all((0..10).map(|_| breaker.chat(&request))) => unreachable!("they hang"),
        () = until(|| model.n_running() == 10) => {}
    }
    assert_eq!((breaker.stats().state, breaker.stats().n_openings), (BreakerState::Closed, 0));
}

#[tokio::test]
async fn replies_of_no_use_open_it_if_somebody_says_so() {
    let model = Scripted::always(Step::Reply);
    let breaker = breaker(&model, config());
    for n_useless in 0..5 {
        assert_eq!(breaker.stats().state, BreakerState::Closed, "{n_useless}");
        assert!(breaker.chat(&request()).await.is_ok());
        breaker.report_bad_reply();
    }
    assert_eq!(breaker.stats().state, BreakerState::Open);
}
