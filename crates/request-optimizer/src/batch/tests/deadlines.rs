//! Who is refused, rejected or served in time.

use hp_base::SystemClock;

use super::*;

#[tokio::test]
async fn who_would_come_too_late_is_told_at_once() {
    let mut bench = Bench::new(BatcherConfig { max_batch_size: 2, ..one_slot() });
    bench.submit(0);
    let _first = bench.call_of(&[0]).await;
    // 300 ms for the call under way, and 300 ms for the next with a quarter more.
    let too_late = |millis| Err(BatchError::TooLate { retry_after: Duration::from_millis(millis) });
    assert_eq!(bench.submit_on(1, bench.terms(Priority::Normal, Some(674))).await.unwrap(), too_late(300));
    for item in [2, 3] {
        bench.submit_on(item, bench.terms(Priority::Normal, Some(675)));
    }
    bench.settled().await;
    assert_eq!(bench.submit_on(4, bench.terms(Priority::Normal, Some(974))).await.unwrap(), too_late(600));
    // The urgent go before those, and part of the call is over.
    bench.clock.advance(Duration::from_millis(100));
    assert_eq!(bench.submit_on(5, bench.terms(Priority::High, Some(574))).await.unwrap(), too_late(200));
    bench.submit_on(6, bench.terms(Priority::High, Some(575)));
    bench.settled().await;
    let stats = bench.batcher.stats();
    assert_eq!((stats.n_refused_late, stats.n_waiting), (3, PerLane { high: 1, normal: 2, low: 0 }));
}

#[tokio::test]
async fn who_can_not_make_it_any_more_is_rejected_and_not_served() {
    let config =
        BatcherConfig { max_in_flight: 2, batch_timeout: Duration::ZERO, ..BatcherConfig::default() };
    let config = BatcherConfig { max_batch_size: 1, ..config };
    let mut bench = Bench::new(config);
    bench.submit(0);
    let _first = bench.call_of(&[0]).await;
    bench.submit(1);
    let second = bench.call_of(&[1]).await;
    let late = bench.submit_on(2, bench.terms(Priority::High, Some(22_274)));
    bench.submit_on(3, bench.terms(Priority::Low, Some(22_275)));
    bench.settled().await;
    // Now calls are known to take as long.
    bench.clock.advance(Duration::from_millis(9_900));
    second.end(Ending::Well);
    bench.call_of(&[3]).await.end(Ending::Well);
    assert_eq!(late.await.unwrap(), Err(BatchError::OutOfTime));
    assert_eq!(bench.batcher.stats().n_expired, 1);
}

#[tokio::test]
async fn who_waits_in_a_call_waits_until_the_deadline_and_the_others_longer() {
    let mut bench = Bench::new(one_slot());
    let hurried = bench.submit_on(1, bench.terms(Priority::Normal, Some(5)));
    let patient = bench.submit(2);
    let call = bench.call_of(&[1, 2]).await;
    assert_eq!(hurried.await.unwrap(), Err(BatchError::OutOfTime));
    call.end(Ending::Well);
    assert_eq!(patient.await.unwrap().unwrap().value, 20);
    assert_eq!(bench.batcher.stats().n_expired, 1);
    bench.is_clean().await;
}

#[tokio::test]
async fn who_waits_for_a_slot_waits_until_the_deadline() {
    let mut bench = Bench::with_room(one_slot(), 0);
    let hurried = bench.submit_on(1, bench.terms(Priority::Normal, Some(5)));
    bench.submit(2);
    assert_eq!(hurried.await.unwrap(), Err(BatchError::OutOfTime));
    bench.handler.room.add_permits(1);
    bench.call_of(&[2]).await.end(Ending::Well);
    assert_eq!(
        bench.submit_on(3, bench.terms(Priority::High, Some(0))).await.unwrap(),
        Err(BatchError::OutOfTime)
    );
    bench.is_clean().await;
}

#[tokio::test]
async fn the_earliest_deadline_leads() {
    let mut bench = Bench::new(one_slot());
    bench.submit(0);
    let first = bench.call_of(&[0]).await;
    for (item, due_in) in [(1, None), (2, Some(9_000)), (3, Some(8_000))] {
        bench.submit_on(item, bench.terms(Priority::Normal, due_in));
    }
    bench.settled().await;
    first.end(Ending::Well);
    bench.call_of(&[3, 2, 1]).await.end(Ending::Well);
}

#[tokio::test]
async fn a_slow_spell_does_not_shut_the_door() {
    let mut bench = Bench::new(one_slot());
    let mut serve = async |took: u64, due_in| {
        let answer = bench.submit_on(1, bench.terms(Priority::Normal, due_in));
        let call = bench.call_of(&[1]).await;
        bench.clock.advance(Duration::from_millis(took));
        call.end(Ending::Well);
        answer.await.unwrap().unwrap();
        bench.batcher.stats().service_time
    };
    for _ in 0..32 {
        assert_eq!(serve(60_000, None).await, Duration::from_secs(60));
    }
    // By the estimate none of these would be in time.
    for _ in 0..23 {
        assert_eq!(serve(100, Some(30_000)).await, Duration::from_secs(60));
    }
    serve(100, Some(30_000)).await;
    assert_eq!(bench.batcher.stats().service_time, Duration::from_millis(100));
}

#[tokio::test]
async fn failing_fast_is_not_being_fast() {
    let mut bench = Bench::new(one_slot());
    for (took, expected) in [(1, 300), (700, 700)] {
        bench.submit(1);
        let call = bench.call_of(&[1]).await;
        bench.clock.advance(Duration::from_millis(took));
        call.end(Ending::Err);
        bench.settled().await;
        assert_eq!(bench.batcher.stats().service_time, Duration::from_millis(expected));
    }
}

#[tokio::test]
async fn with_grace_one_waits_for_a_call_that_has_begun_and_for_no_other() {
    let batcher = Arc::new(Batcher::new(
        Arc::new(Slow(Duration::from_millis(80))),
        BatcherConfig { max_batch_size: 1, typical_call: Duration::from_millis(1), ..one_slot() },
        Arc::new(SystemClock) as Arc<dyn Clock>,
    ));
    let terms = |millis| Terms {
        deadline: Deadline::after(&SystemClock, Duration::from_millis(millis)),
        grace: Duration::from_secs(30),
        ..Terms::default()
    };
    let begun = {
        let batcher = batcher.clone();
        let terms = terms(20);
        tokio::spawn(async move { batcher.submit(1, terms).await })
    };
    while batcher.stats().n_in_flight == 0 {
        tokio::task::yield_now().await;
    }
    // It cannot begin in time, for all its patience.
    assert_eq!(batcher.submit(2, terms(20)).await, Err(BatchError::OutOfTime));
    assert_eq!(begun.await.unwrap().unwrap().value, 1);
}

/// Takes so long for every call.
#[derive(Debug)]
struct Slow(Duration);

#[async_trait::async_trait]
impl BatchHandler<u32, u32> for Slow {
    type Slot = ();
    type Error = ();

    async fn ready(&self, _urgency: Priority) {}

    async fn handle(&self, _slot: (), batch: Vec<Arc<u32>>) -> Result<Vec<Result<u32, ()>>, ()> {
        tokio::time::sleep(self.0).await;
        Ok(batch.iter().map(|n| Ok(**n)).collect())
    }
}
