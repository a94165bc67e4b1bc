//! How many calls are under way at once, who waits, and who is refused.

use futures_util::future::join_all;
use tokio::task::JoinHandle;

use super::super::{Concurrency, ConcurrencyConfig};
use super::*;
use crate::{ChatReply, LlmError};

const ONE: ConcurrencyConfig =
    ConcurrencyConfig { limit: 1, max_waiting: 1_000, typical_call: Duration::from_secs(100) };

fn concurrency(model: &Arc<Scripted>, config: ConcurrencyConfig) -> Arc<Concurrency> {
    Arc::new(Concurrency::new(model.clone(), config, clock()))
}

fn start(model: &Arc<Concurrency>, request: ChatRequest) -> JoinHandle<Result<ChatReply, LlmError>> {
    let model = Arc::clone(model);
    tokio::spawn(async move { model.chat(&request).await })
}

#[tokio::test]
async fn no_more_than_the_limit_are_under_way() {
    let model = Scripted::always(Step::ReplyAfter(millis(1)));
    let concurrency = concurrency(&model, ConcurrencyConfig { limit: 3, ..ONE });
    let request = request();
    let replies = join_all((0..50).map(|_| concurrency.chat(&request))).await;
    assert!(replies.iter().all(Result::is_ok));
    assert_eq!((model.n_calls(), model.most_running()), (50, 3));
    let stats = concurrency.stats();
    assert_eq!((stats.n_in_flight, stats.n_waiting, stats.n_refused), (0, 0, 0));
}

#[tokio::test]
async fn who_came_first_is_served_first() {
    let model = Scripted::always(Step::ReplyOnceReleased);
    let concurrency = concurrency(&model, ONE);
    let mut calls = Vec::new();
    for number in 0..5 {
        calls.push(start(&concurrency, ChatRequest { max_output_tokens: number, ..request() }));
        let n_waiting = number as usize;
        until(|| concurrency.stats().n_in_flight == 1 && concurrency.stats().n_waiting == n_waiting).await;
    }
    model.release(5);
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    let order: Vec<_> = model.seen().iter().map(|request| request.max_output_tokens).collect();
    assert_eq!(order, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn who_could_not_be_served_in_time_is_refused_at_once() {
    let model = Scripted::always(Step::Hang);
    let concurrency = concurrency(&model, ONE);
    // Behind nine others there are 900 s of waiting and 100 s of a call; behind ten it is more than what is left.
    let calls: Vec<_> =
        (0..11).map(|_| start(&concurrency, request_within(Duration::from_secs(1050)))).collect();
    until(|| concurrency.stats().n_waiting == 10).await;
    let error = concurrency.chat(&request_within(Duration::from_secs(1050))).await.unwrap_err();
    assert_eq!(error.kind(), LlmErrorKind::Busy);
    assert_eq!((concurrency.stats().n_refused, concurrency.stats().n_waiting), (1, 10));
    calls.iter().for_each(JoinHandle::abort);
    join_all(calls).await;
    let stats = concurrency.stats();
    assert_eq!((stats.n_in_flight, stats.n_waiting, model.n_running()), (0, 0, 0));
}

#[tokio::test]
async fn who_waits_in_vain_is_refused_while_there_is_still_time_for_something_else() {
    let model = Scripted::always(Step::Hang);
    let concurrency = concurrency(&model, ConcurrencyConfig { typical_call: millis(20), ..ONE });
    let running = start(&concurrency, request());
    until(|| model.n_running() == 1).await;
    let error = concurrency.chat(&request_within(millis(200))).await.unwrap_err();
    assert_eq!((error.kind(), model.n_calls()), (LlmErrorKind::Busy, 1));
    assert_eq!(concurrency.stats().n_waiting, 0);
    running.abort();
}

#[tokio::test]
async fn no_more_wait_than_may() {
    let model = Scripted::always(Step::ReplyOnceReleased);
    let concurrency = concurrency(&model, ConcurrencyConfig { max_waiting: 2, ..ONE });
    let calls: Vec<_> = (0..3).map(|_| start(&concurrency, request())).collect();
    until(|| concurrency.stats().n_waiting == 2).await;
    assert_eq!(concurrency.chat(&request()).await.unwrap_err().kind(), LlmErrorKind::Busy);
    model.release(3);
    assert!(join_all(calls).await.into_iter().all(|reply| reply.unwrap().is_ok()));
}

#[tokio::test]
async fn the_limit_can_be_changed_while_calls_are_under_way() {
    let model = Scripted::always(Step::ReplyOnceReleased);
    let concurrency = concurrency(&model, ConcurrencyConfig { limit: 4, ..ONE });
    let calls: Vec<_> = (0..12).map(|_| start(&concurrency, request())).collect();
    let running = |n| {
        let model = Arc::clone(&model);
        until(move || model.n_running() == n)
    };
    running(4).await;
    concurrency.set_limit(2);
    model.release(2);
    running(2).await;
    model.release(1);
    until(|| model.n_calls() == 5).await;
    assert_eq!(model.n_running(), 2, "one has come in for the third to go");
    concurrency.set_limit(1);
    concurrency.set_limit(3);
    running(3).await;
    concurrency.set_limit(0);
    assert_eq!(concurrency.stats().limit, 1);
    model.release(3);
    until(|| model.n_calls() == 7).await;
    running(1).await;
    model.release(12);
    assert!(join_all(calls).await.into_iter().all(|reply| reply.unwrap().is_ok()));
    assert_eq!((model.most_running(), concurrency.stats().n_in_flight), (4, 0));
}

#[tokio::test]
async fn who_is_dropped_gives_back_a_place_in_flight_or_in_the_queue() {
    let model = Scripted::then([Step::Hang, Step::Hang], Step::Reply);
    let concurrency = concurrency(&model, ONE);
    let calls: Vec<_> = (0..3).map(|_| start(&concurrency, request())).collect();
    until(|| concurrency.stats().n_waiting == 2 && model.n_running() == 1).await;
    calls[1].abort();
    until(|| concurrency.stats().n_waiting == 1).await;
    calls[0].abort();
    until(|| model.n_calls() == 2 && concurrency.stats().n_waiting == 0).await;
    calls[2].abort();
    assert!(concurrency.chat(&request()).await.is_ok());
    until(|| concurrency.stats().n_in_flight == 0).await;
    assert_eq!(model.n_running(), 0);
}
