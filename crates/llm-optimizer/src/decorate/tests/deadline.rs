//! Calls and the time they have.

use super::super::{DeadlineConfig, WithDeadline};
use super::*;

fn held(model: &Arc<Scripted>, config: DeadlineConfig) -> WithDeadline {
    WithDeadline::new(model.clone(), config, clock())
}

#[tokio::test]
async fn a_call_with_too_little_time_is_not_begun() {
    let model = Scripted::always(Step::Reply);
    let with_deadline = held(&model, DeadlineConfig { least: HOUR, ..DeadlineConfig::default() });
    for time in [Duration::ZERO, HOUR / 2] {
        let error = with_deadline.chat(&request_within(time)).await.unwrap_err();
        assert_eq!(error.kind(), LlmErrorKind::OutOfTime);
    }
    assert!(with_deadline.chat(&request_within(HOUR * 2)).await.is_ok());
    assert_eq!(model.n_calls(), 1);
    assert_eq!(with_deadline.stats().n_refused, 2);
}

#[tokio::test]
async fn what_hangs_is_dropped_at_the_deadline() {
    let model = Scripted::always(Step::Hang);
    let with_deadline =
        held(&model, DeadlineConfig { least: Duration::ZERO, call_timeout: Some(millis(30)) });
    let own = request_within(HOUR / 60);
    let error = with_deadline.chat(&request_within(millis(30))).await.unwrap_err();
    assert_eq!(error.kind(), LlmErrorKind::OutOfTime);
    let error = with_deadline.chat(&request()).await.unwrap_err();
    assert_eq!(error.kind(), LlmErrorKind::OutOfTime, "the time of those that have none of their own");
    assert_eq!((model.n_running(), model.n_cancelled()), (0, 2));
    assert_eq!(with_deadline.stats().n_out_of_time, 2);

    let mut call = with_deadline.chat(&own);
    let still_running = tokio::time::timeout(millis(100), &mut call).await.is_err();
    assert!(still_running, "a request with a later deadline of its own has it");
    drop(call);
    assert_eq!(model.n_running(), 0);
    let seen: Vec<_> = model.seen().into_iter().map(|request| request.deadline).collect();
    assert!(seen.iter().all(|deadline| deadline.instant().is_some()), "what is within can plan with it");
    assert_eq!(seen[2], own.deadline);
}

#[tokio::test]
async fn what_was_sent_has_its_grace() {
    let model = Scripted::always(Step::Hang);
    let with_deadline = held(&model, DeadlineConfig { least: Duration::ZERO, ..DeadlineConfig::default() });
    let request = ChatRequest { grace: HOUR, ..request_within(millis(30)) };
    let mut call = with_deadline.chat(&request);
    let still_running = tokio::time::timeout(millis(100), &mut call).await.is_err();
    assert!(still_running && model.n_running() == 1);
}

#[tokio::test]
async fn without_a_timeout_a_request_without_a_deadline_goes_on() {
    let model = Scripted::always(Step::ReplyOnceReleased);
    let with_deadline = held(&model, DeadlineConfig { call_timeout: None, ..DeadlineConfig::default() });
    model.release(1);
    assert!(with_deadline.chat(&request()).await.is_ok());
    assert_eq!(model.seen()[0].deadline, Deadline::never());
    assert!(with_deadline.warm().await.is_ok());
    assert_eq!(model.n_warmed(), 1);
}
