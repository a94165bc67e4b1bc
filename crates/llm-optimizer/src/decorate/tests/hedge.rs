//! When a second request is sent, and which of the two counts.

use super::super::{Hedge, HedgeConfig, HedgeStats};
use super::*;

const FREELY: HedgeConfig = HedgeConfig { quantile: 0.95, min_samples: 20, share: 1.0, burst: 100 };

/// A model that has replied quickly for long enough that a late call is known, and then does what is said.
async fn learnt(config: HedgeConfig, then: impl IntoIterator<Item = Step>) -> (Arc<Scripted>, Hedge) {
    let script = std::iter::repeat_n(Step::Reply, 20).chain(then);
    let model = Scripted::named("first", script, Step::Reply);
    let hedge = Hedge::new(model.clone(), config, clock());
    for _ in 0..20 {
        assert_eq!(hedge.late_after(), None);
        assert!(!hedge.chat(&request()).await.unwrap().report.is_hedged);
    }
    assert!(hedge.late_after().is_some());
    (model, hedge)
}

#[tokio::test]
async fn the_second_request_brings_the_reply_when_the_first_hangs() {
    let (model, hedge) = learnt(FREELY, [Step::Hang]).await;
    let reply = hedge.chat(&request()).await.unwrap();
    assert!(reply.report.is_hedged);
    assert_eq!(reply.report.n_attempts, 2);
    assert_eq!((model.n_calls(), model.n_running(), model.n_cancelled()), (22, 0, 1));
    assert_eq!(hedge.stats(), HedgeStats { n_sent: 1, n_won: 1, ..HedgeStats::default() });
}

#[tokio::test]
async fn the_first_reply_counts_and_the_other_call_is_dropped() {
    let (model, hedge) = learnt(FREELY, [Step::ReplyOnceReleased]).await;
    let backup = Scripted::named("backup", [], Step::Hang);
    let hedge = hedge.with_backup(backup.clone());
    let request = request();
    let (reply, ()) = tokio::join!(hedge.chat(&request), async {
        until(|| backup.n_running() == 1).await;
        model.release(1);
    });
    let report = reply.unwrap().report;
    assert_eq!((&*report.model, report.is_hedged, report.n_attempts), ("first", true, 2));
    assert_eq!((backup.n_running(), backup.n_cancelled()), (0, 1));
    assert_eq!(hedge.stats(), HedgeStats { n_sent: 1, ..HedgeStats::default() });
}

#[tokio::test]
async fn when_one_fails_the_other_is_waited_for() {
    let fail = Step::FailOnceReleased(LlmErrorKind::Unavailable);
    let fail_otherwise = Step::FailOnceReleased(LlmErrorKind::InvalidReply);
    let reply = Step::ReplyOnceReleased;
    for (first, second, first_ends_first, expected) in [
        (fail, reply, true, Ok("backup")),
        (reply, fail, false, Ok("first")),
        (fail, fail_otherwise, true, Err(LlmErrorKind::Unavailable)),
        (fail, fail_otherwise, false, Err(LlmErrorKind::Unavailable)),
    ] {
        let (model, hedge) = learnt(FREELY, [first]).await;
        let backup = Scripted::named("backup", [], second);
        let hedge = hedge.with_backup(backup.clone());
        let (sooner, later) = if first_ends_first { (&model, &backup) } else { (&backup, &model) };
        let request = request();
        let (result, ()) = tokio::join!(hedge.chat(&request), async {
            until(|| backup.n_running() == 1).await;
            sooner.release(1);
            until(|| sooner.n_running() == 0).await;
            later.release(1);
        });
        let result = result.map(|reply| reply.report.model).map_err(|error| error.kind());
        assert_eq!(result.as_deref().map_err(|kind| *kind), expected);
        assert_eq!((model.n_cancelled(), backup.n_cancelled()), (0, 0));
    }
}

#[tokio::test]
async fn what_fails_before_it_is_late_has_failed() {
    let (model, hedge) = learnt(FREELY, [Step::Fail(LlmErrorKind::Disconnected)]).await;
    assert_eq!(hedge.chat(&request()).await.unwrap_err().kind(), LlmErrorKind::Disconnected);
    assert_eq!((model.n_calls(), hedge.stats().n_sent), (21, 0));
}

#[tokio::test]
async fn second_requests_are_a_share_of_calls() {
    let config = HedgeConfig { share: 0.0, burst: 1, ..FREELY };
    let (model, hedge) = learnt(config, [Step::Hang, Step::Reply, Step::ReplyOnceReleased]).await;
    assert!(hedge.chat(&request()).await.unwrap().report.is_hedged);
    let request = request();
    let (reply, ()) = tokio::join!(hedge.chat(&request), async {
        until(|| hedge.stats().n_no_allowance == 1).await;
        model.release(1);
    });
    assert!(!reply.unwrap().report.is_hedged);
    assert_eq!((model.n_calls(), hedge.stats().n_sent), (23, 1));
}

#[tokio::test]
async fn no_second_request_is_sent_when_it_could_not_end_in_time() {
    let script = std::iter::repeat_n(Step::ReplyAfter(millis(40)), 2).chain([Step::Hang]);
    let model = Scripted::then(script, Step::Reply);
    let hedge = Hedge::new(model.clone(), HedgeConfig { min_samples: 2, ..FREELY }, clock());
    for _ in 0..2 {
        assert!(hedge.chat(&request()).await.is_ok());
    }
    // When the first is late, nothing is left.
    let request = request_within(hedge.late_after().unwrap());
    tokio::select! {
        _ = hedge.chat(&request) => unreachable!("it hangs"),
        () = until(|| hedge.stats().n_no_time == 1) => {}
    }
    assert_eq!((model.n_calls(), model.n_running()), (3, 0));
}

#[tokio::test]
async fn slow_calls_that_were_beaten_are_not_forgotten() {
    let script = std::iter::repeat_n([Step::Hang, Step::ReplyAfter(millis(20))], 20).flatten();
    let (_, hedge) = learnt(FREELY, script).await;
    for _ in 0..20 {
        hedge.chat(&request()).await.unwrap();
    }
    // Half of the calls hang. Had only replies been counted, all calls would still be taken to end at once.
    assert!(hedge.late_after().unwrap() >= millis(20), "{:?}", hedge.late_after());
}

#[tokio::test]
async fn who_is_dropped_drops_both_requests() {
    let (model, hedge) = learnt(FREELY, [Step::Hang, Step::Hang]).await;
    let request = request();
    tokio::select! {
        _ = hedge.chat(&request) => unreachable!("both hang"),
        () = until(|| model.n_running() == 2) => {}
    }
    assert_eq!((model.n_running(), model.n_cancelled()), (0, 2));
}
