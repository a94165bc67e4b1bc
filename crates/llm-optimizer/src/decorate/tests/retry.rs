//! What is asked again, how often, and what is not.

use super::super::{Retry, RetryConfig, RetryStats};
use super::*;

const QUICK: RetryConfig = RetryConfig {
    max_retries: 1,
    first_wait: Duration::ZERO,
    longest_wait: Duration::ZERO,
    share: 1.0,
    burst: 100,
    typical_call: Duration::ZERO,
};

fn retry(model: &Arc<Scripted>, config: RetryConfig) -> Retry {
    Retry::new(model.clone(), config, clock())
}

#[tokio::test]
async fn only_what_may_pass_is_asked_again() {
    for kind in KINDS {
        let model = Scripted::then([Step::Fail(kind)], Step::Reply);
        let result = retry(&model, QUICK).chat(&request()).await;
        let may_pass = [LlmErrorKind::RateLimited, LlmErrorKind::Unavailable, LlmErrorKind::Disconnected];
        if may_pass.contains(&kind) {
            assert_eq!(result.unwrap().report.n_attempts, 2, "{kind:?}");
        } else {
            assert_eq!(result.unwrap_err().kind(), kind);
            assert_eq!(model.n_calls(), 1, "{kind:?}");
        }
    }
}

#[tokio::test]
async fn it_is_asked_so_often_and_no_more() {
    for max_retries in 0..4 {
        let model = Scripted::always(Step::Fail(LlmErrorKind::Unavailable));
        let retry = retry(&model, RetryConfig { max_retries, ..QUICK });
        assert!(retry.chat(&request()).await.is_err());
        assert_eq!(model.n_calls(), max_retries as usize + 1);
        assert_eq!(retry.stats(), RetryStats { n_retries: max_retries.into(), ..RetryStats::default() });
    }
}

#[tokio::test]
async fn a_retry_that_could_not_end_in_time_is_not_begun() {
    let script = [Step::Fail(LlmErrorKind::Unavailable), Step::Reply, Step::Fail(LlmErrorKind::Unavailable)];
    let model = Scripted::then(script, Step::Reply);
    let retry = retry(&model, RetryConfig { typical_call: HOUR, ..QUICK });
    assert!(retry.chat(&request_within(HOUR / 2)).await.is_err(), "calls are taken to last an hour");
    assert_eq!((model.n_calls(), retry.stats().n_no_time), (1, 1));
    assert!(retry.chat(&request()).await.is_ok());
    assert!(retry.chat(&request_within(HOUR / 2)).await.is_ok(), "now it is known that they do not");
    assert_eq!((retry.stats().n_retries, retry.stats().n_cured), (1, 1));
}

#[tokio::test]
async fn the_wait_the_provider_asks_for_is_kept_or_not_begun() {
    let limited = |wait| Step::FailWithRetryAfter(LlmErrorKind::RateLimited, wait);
    let model = Scripted::then([limited(HOUR), limited(millis(40))], Step::Reply);
    let retry = retry(&model, QUICK);
    assert!(retry.chat(&request_within(HOUR / 2)).await.is_err());
    assert_eq!(model.n_calls(), 1);
    let started = std::time::Instant::now();
    assert!(retry.chat(&request_within(HOUR / 2)).await.is_ok());
    assert!(started.elapsed() >= millis(40));
}

#[tokio::test]
async fn an_outage_is_not_met_with_twice_the_load() {
    let model = Scripted::always(Step::Fail(LlmErrorKind::Unavailable));
    let retry = retry(&model, RetryConfig { share: 0.1, burst: 2, ..QUICK });
    for _ in 0..100 {
        assert!(retry.chat(&request()).await.is_err());
    }
    let stats = retry.stats();
    assert!((11..=12).contains(&stats.n_retries), "{stats:?}");
    assert_eq!(stats.n_no_allowance, 100 - stats.n_retries);
    assert_eq!(model.n_calls() as u64, 100 + stats.n_retries);
}

#[tokio::test]
async fn who_is_dropped_while_waiting_asks_no_more() {
    let model = Scripted::always(Step::Fail(LlmErrorKind::Unavailable));
    let retry = retry(&model, RetryConfig { first_wait: HOUR, longest_wait: HOUR, ..QUICK });
    let request = request();
    tokio::select! {
        _ = retry.chat(&request) => unreachable!("it waits for an hour"),
        () = until(|| retry.stats().n_retries == 1) => {}
    }
    assert_eq!((model.n_calls(), model.n_running()), (1, 0));
}
