//! Batches that fall apart, handlers that are broken, and the end.

use super::*;

/// Three items of one batch that ends so, and then each by itself; the second fails there as well.
async fn check_falls_apart(ending: Ending) {
    let mut bench = Bench::new(one_slot());
    let answers = [1, 2, 3].map(|item| bench.submit(item));
    bench.call_of(&[1, 2, 3]).await.end(ending);
    for (item, ending) in [(1, Ending::Well), (2, Ending::Err), (3, Ending::Well)] {
        bench.call_of(&[item]).await.end(ending);
    }
    let [one, two, three] = answers;
    let waited = Duration::ZERO;
    assert_eq!(one.await.unwrap(), Ok(Done { value: 10, batch_size: 1, waited }));
    assert_eq!(two.await.unwrap(), Err(BatchError::Failed("all bad".to_owned())));
    assert_eq!(three.await.unwrap(), Ok(Done { value: 30, batch_size: 1, waited }));
    let stats = bench.batcher.stats();
    assert_eq!((stats.n_items, stats.n_batches, stats.n_fallen_apart), (3, 4, 1));
    bench.is_clean().await;
}

#[tokio::test]
async fn a_batch_that_fails_falls_apart() {
    check_falls_apart(Ending::Err).await;
}

#[tokio::test]
async fn a_batch_with_a_result_too_few_falls_apart() {
    check_falls_apart(Ending::Short).await;
}

#[tokio::test]
async fn a_batch_that_panics_falls_apart() {
    check_falls_apart(Ending::Panic).await;
}

#[tokio::test]
async fn a_bad_item_spoils_nobody() {
    let mut bench = Bench::new(one_slot());
    let answers = [1, 2].map(|item| bench.submit(item));
    bench.call_of(&[1, 2]).await.end(Ending::BadItem(1));
    let [one, two] = answers;
    assert_eq!(one.await.unwrap(), Err(BatchError::Failed("bad".to_owned())));
    assert_eq!(two.await.unwrap().unwrap().value, 20);
    assert_eq!(bench.batcher.stats().n_fallen_apart, 0);
}

#[tokio::test]
async fn a_single_item_that_breaks_the_handler_is_told_so() {
    let mut bench = Bench::new(one_slot());
    for ending in [Ending::Panic, Ending::Short] {
        let answer = bench.submit(1);
        bench.call_of(&[1]).await.end(ending);
        assert_eq!(answer.await.unwrap(), Err(BatchError::Panicked));
    }
    bench.is_clean().await;
}

#[tokio::test]
async fn who_has_gone_or_risen_by_the_time_a_batch_falls_apart_is_treated_so() {
    let mut bench = Bench::new(one_slot());
    let terms = bench.terms(Priority::Low, None);
    let gone = bench.submit(1);
    bench.submit(2);
    bench.submit_on(3, terms.clone());
    let call = bench.call_of(&[1, 2, 3]).await;
    terms.urgency.raise(Priority::High);
    gone.abort();
    bench.settled().await;
    call.end(Ending::Err);
    bench.call_of(&[3]).await.end(Ending::Well);
    bench.call_of(&[2]).await.end(Ending::Well);
    bench.is_clean().await;
}

#[tokio::test]
async fn closing_takes_nothing_more_and_waits_for_what_is_there() {
    let mut bench = Bench::new(one_slot());
    bench.submit(1);
    let first = bench.call_of(&[1]).await;
    let second = bench.submit(2);
    bench.settled().await;
    let closing = tokio::spawn({
        let batcher = Arc::clone(&bench.batcher);
        async move { batcher.close().await }
    });
    bench.settled().await;
    assert_eq!(bench.submit(3).await.unwrap(), Err(BatchError::Closed));
    first.end(Ending::Well);
    let call = bench.call_of(&[2]).await;
    assert!(!closing.is_finished());
    call.end(Ending::Well);
    assert_eq!(closing.await.unwrap(), 2);
    assert_eq!(second.await.unwrap().unwrap().value, 20);
}

#[tokio::test]
async fn shutting_fails_what_waits_and_leaves_calls_to_end() {
    let mut bench = Bench::new(one_slot());
    let first = bench.submit(1);
    let call = bench.call_of(&[1]).await;
    let second = bench.submit(2);
    bench.settled().await;
    bench.batcher.shut();
    assert_eq!(second.await.unwrap(), Err(BatchError::Closed));
    assert_eq!(bench.submit(3).await.unwrap(), Err(BatchError::Closed));
    call.end(Ending::Well);
    assert_eq!(first.await.unwrap().unwrap().value, 10);
    bench.is_clean().await;
}

#[tokio::test]
async fn what_falls_apart_after_shutting_is_failed() {
    let mut bench = Bench::new(one_slot());
    let answers = [1, 2].map(|item| bench.submit(item));
    let call = bench.call_of(&[1, 2]).await;
    bench.batcher.shut();
    call.end(Ending::Err);
    for answer in answers {
        assert_eq!(answer.await.unwrap(), Err(BatchError::Closed));
    }
    bench.is_clean().await;
}

/// Panics before it gives a slot.
#[derive(Debug)]
struct NoSlot;

#[async_trait]
impl BatchHandler<u32, u32> for NoSlot {
    type Slot = ();
    type Error = String;

    async fn ready(&self, _: Priority) {
        panic!("no slot")
    }

    async fn handle(&self, (): (), _: Vec<Arc<u32>>) -> Result<Vec<Result<u32, String>>, String> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_handler_that_panics_instead_of_giving_a_slot_leaves_nobody_waiting() {
    let handler: Arc<dyn BatchHandler<u32, u32, Slot = (), Error = String>> = Arc::new(NoSlot);
    let batcher = Batcher::new(handler, BatcherConfig::default(), Arc::new(ManualClock::new()));
    for _ in 0..2 {
        assert_eq!(batcher.submit(1, Terms::default()).await, Err(BatchError::Panicked));
    }
    batcher.close().await;
}

#[test]
fn the_end_of_the_runtime_that_dispatches_leaves_nobody_waiting_elsewhere() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let bench = Bench::with_room(BatcherConfig::default(), 0);
    let submit_on = |runtime: &tokio::runtime::Runtime, item| {
        let batcher = Arc::clone(&bench.batcher);
        let answer = runtime.spawn(async move { batcher.submit(item, Terms::default()).await });
        runtime.block_on(tokio::task::yield_now());
        answer
    };
    let _on_first = submit_on(&first, 1);
    let on_second = submit_on(&second, 2);
    drop(first);
    assert_eq!(second.block_on(on_second).unwrap(), Err(BatchError::Closed));
    // A new one begins where it is asked.
    bench.handler.room.add_permits(1);
    let mut bench = bench;
    second.block_on(async {
        let answer = bench.submit(3);
        bench.call_of(&[3]).await.end(Ending::Well);
        assert_eq!(answer.await.unwrap().unwrap().value, 30);
    });
}
