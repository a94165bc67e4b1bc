//! Which model is asked when one cannot answer.

use super::super::{Fallback, FallbackConfig, FallbackStats};
use super::*;

fn fallback(models: [&Arc<Scripted>; 2], config: FallbackConfig) -> Fallback {
    Fallback::new(models[0].clone(), config, clock()).then(models[1].clone())
}

#[tokio::test]
async fn the_next_is_asked_unless_the_request_itself_is_wrong() {
    for kind in KINDS {
        let first = Scripted::named("first", [], Step::Fail(kind));
        let second = Scripted::named("second", [], Step::Reply);
        let fallback = fallback([&first, &second], FallbackConfig::default());
        let result = fallback.chat(&request()).await;
        if kind == LlmErrorKind::InvalidRequest {
            assert_eq!(result.unwrap_err().kind(), kind);
            assert_eq!((second.n_calls(), fallback.stats()), (0, FallbackStats::default()));
            continue;
        }
        let report = result.unwrap().report;
        assert_eq!((&*report.model, report.is_fallback), ("second", true));
        let not_sent = [
            LlmErrorKind::InvalidConfig,
            LlmErrorKind::CircuitOpen,
            LlmErrorKind::Busy,
            LlmErrorKind::OverBudget,
            LlmErrorKind::BudgetUnknown,
        ];
        assert_eq!(report.n_attempts, 2 - u32::from(not_sent.contains(&kind)), "{kind:?}");
        assert_eq!(fallback.stats(), FallbackStats { n_fallen_back: 1, n_answered: 1 });
    }
}

#[tokio::test]
async fn a_model_that_answers_is_the_only_one_asked() {
    let [first, second] = [Scripted::always(Step::Reply), Scripted::always(Step::Reply)];
    let reply = fallback([&first, &second], FallbackConfig::default()).chat(&request()).await.unwrap();
    assert!(!reply.report.is_fallback);
    assert_eq!(second.n_calls(), 0);
}

#[tokio::test]
async fn a_model_that_hangs_leaves_time_for_the_next() {
    let [first, second] = [Scripted::always(Step::Hang), Scripted::always(Step::Reply)];
    let config = FallbackConfig { share: 0.001, ..FallbackConfig::default() };
    let request = request_within(Duration::from_secs(60));
    let reply = fallback([&first, &second], config).chat(&request).await.unwrap();
    assert!(reply.report.is_fallback);
    assert_eq!((first.n_running(), first.n_cancelled()), (0, 1));
    let (part, whole) = (first.seen()[0].deadline, second.seen()[0].deadline);
    assert_eq!(whole, request.deadline, "the last has all that is left");
    assert!(part.instant() < whole.instant());
}

#[tokio::test]
async fn without_time_the_next_is_not_asked() {
    let first = Scripted::always(Step::Fail(LlmErrorKind::Unavailable));
    let second = Scripted::always(Step::Reply);
    let fallback = fallback([&first, &second], FallbackConfig { least: HOUR, ..FallbackConfig::default() });
    let error = fallback.chat(&request_within(HOUR / 2)).await.unwrap_err();
    assert_eq!((error.kind(), second.n_calls()), (LlmErrorKind::Unavailable, 0));
    assert!(fallback.chat(&request()).await.is_ok());
}

#[tokio::test]
async fn when_none_answers_it_is_the_last_ones_error() {
    let fail = |kind| Scripted::always(Step::Fail(kind));
    let first = fail(LlmErrorKind::CircuitOpen);
    let second = fail(LlmErrorKind::Unavailable);
    let third = fail(LlmErrorKind::OverBudget);
    let fallback = fallback([&first, &second], FallbackConfig::default()).then(third.clone());
    assert_eq!(fallback.chat(&request()).await.unwrap_err().kind(), LlmErrorKind::OverBudget);
    assert_eq!([first.n_calls(), second.n_calls(), third.n_calls()], [1, 1, 1]);
    assert_eq!(fallback.stats(), FallbackStats { n_fallen_back: 1, n_answered: 0 });
    assert!(fallback.warm().await.is_ok());
    assert_eq!([first.n_warmed(), second.n_warmed(), third.n_warmed()], [1, 1, 1]);
}
