//! All of them around one another.

use futures_util::future::join_all;
use hp_base::BreakerState;

use super::super::{
    Breaker, Concurrency, ConcurrencyConfig, DeadlineConfig, Fallback, FallbackConfig, Hedge, HedgeConfig,
    Retry, RetryConfig, WithDeadline,
};
use super::*;

struct Stack {
    top: Arc<WithDeadline>,
    concurrency: Arc<Concurrency>,
    breaker: Arc<Breaker>,
}

fn stack(model: &Arc<Scripted>, other: &Arc<Scripted>) -> Stack {
    let breaker = Arc::new(Breaker::new(model.clone(), Breaker::config(), clock()));
    let config = ConcurrencyConfig { limit: 4, ..ConcurrencyConfig::default() };
    let concurrency = Arc::new(Concurrency::new(breaker.clone(), config, clock()));
    let retry = Arc::new(Retry::new(concurrency.clone(), RetryConfig::default(), clock()));
    let hedge = Arc::new(Hedge::new(retry, HedgeConfig::default(), clock()));
    let fallback = Fallback::new(hedge, FallbackConfig::default(), clock()).then(other.clone());
    let top = Arc::new(WithDeadline::new(Arc::new(fallback), DeadlineConfig::default(), clock()));
    Stack { top, concurrency, breaker }
}

#[tokio::test]
async fn the_stack_is_named_outermost_first() {
    let (model, other) =
        (Scripted::named("one", [], Step::Reply), Scripted::named("another", [], Step::Reply));
    let stack = stack(&model, &other);
    expect_test::expect!["deadline(fallback(hedge(retry(concurrency(breaker(one)))), another))"]
        .assert_eq(&stack.top.to_string());
    assert!(stack.top.warm().await.is_ok());
    assert_eq!((model.n_warmed(), other.n_warmed()), (1, 1));
}

#[tokio::test]
async fn what_has_gone_wrong_is_made_good_by_the_decorator_for_it() {
    let model = Scripted::then([Step::Fail(LlmErrorKind::Disconnected)], Step::Reply);
    let other = Scripted::always(Step::Reply);
    let report = stack(&model, &other).top.chat(&request()).await.unwrap().report;
    assert_eq!((report.n_attempts, report.is_fallback, report.is_hedged), (2, false, false));
}

#[tokio::test]
async fn an_outage_is_left_alone_and_the_other_model_answers() {
    let model = Scripted::always(Step::Fail(LlmErrorKind::Unavailable));
    let other = Scripted::always(Step::Reply);
    let stack = stack(&model, &other);
    for _ in 0..50 {
        assert!(stack.top.chat(&request()).await.unwrap().report.is_fallback);
    }
    assert_eq!(stack.breaker.stats().state, BreakerState::Open);
    // Trials may have been let through meanwhile, but few.
    assert!(model.n_calls() < 25, "{}", model.n_calls());
    assert_eq!(other.n_calls(), 50);
}

#[tokio::test]
async fn nothing_is_left_of_calls_that_are_dropped() {
    let script =
        [Step::Reply, Step::Hang, Step::Fail(LlmErrorKind::Disconnected), Step::ReplyAfter(millis(5))];
    let model = Scripted::then(script.into_iter().cycle().take(200), Step::Reply);
    let other = Scripted::then(std::iter::repeat_n(Step::Hang, 50), Step::Reply);
    let stack = stack(&model, &other);
    let calls: Vec<_> = (0..100)
        .map(|number| {
            let top = Arc::clone(&stack.top);
            tokio::spawn(async move {
                let request = request_within(millis(20 + number * 7));
                let patience = millis(5 + number * 5);
                let _ = tokio::time::timeout(patience, top.chat(&request)).await;
            })
        })
        .collect();
    join_all(calls).await.into_iter().for_each(|call| call.unwrap());
    let stats = stack.concurrency.stats();
    assert_eq!((stats.n_in_flight, stats.n_waiting), (0, 0));
    assert_eq!((model.n_running(), other.n_running()), (0, 0));
    assert!(stack.top.chat(&request()).await.is_ok());
}
