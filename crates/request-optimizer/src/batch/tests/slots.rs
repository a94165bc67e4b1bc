//! What goes together, when, and who goes first.

use super::*;
use crate::lanes::LanesConfig;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn one_user_has_one_call_for_each_request_and_no_wait() {
    let mut bench = Bench::new(BatcherConfig { batch_timeout: HOUR, ..BatcherConfig::default() });
    for item in 0..5 {
        let answer = bench.submit(item);
        bench.call_of(&[item]).await.end(Ending::Well);
        let done = Done { value: item * 10, batch_size: 1, waited: Duration::ZERO };
        assert_eq!(answer.await.unwrap(), Ok(done));
    }
    let stats = bench.batcher.stats();
    assert_eq!((stats.n_items, stats.n_batches, stats.n_batched_items), (5, 5, 0));
    bench.is_clean().await;
}

#[tokio::test]
async fn what_arrives_in_the_same_moment_goes_together() {
    let mut bench = Bench::new(BatcherConfig::default());
    let answers = [1, 2, 3].map(|item| bench.submit(item));
    bench.call_of(&[1, 2, 3]).await.end(Ending::Well);
    for (item, answer) in (1..).zip(answers) {
        let done = answer.await.unwrap().unwrap();
        assert_eq!((done.value, done.batch_size), (item * 10, 3));
    }
}

#[tokio::test]
async fn items_gather_while_all_slots_are_taken() {
    let mut bench = Bench::new(BatcherConfig { max_batch_size: 3, ..one_slot() });
    bench.submit(0);
    let first = bench.call_of(&[0]).await;
    let answers: Vec<_> = (1..=5).map(|item| bench.submit(item)).collect();
    bench.no_call().await;
    assert_eq!(bench.batcher.stats().n_waiting.normal, 5);
    bench.clock.advance(Duration::from_millis(7));
    first.end(Ending::Well);
    bench.call_of(&[1, 2, 3]).await.end(Ending::Well);
    bench.call_of(&[4, 5]).await.end(Ending::Well);
    for answer in answers {
        assert_eq!(answer.await.unwrap().unwrap().waited, Duration::from_millis(7));
    }
    assert_eq!(bench.batcher.stats().n_batched_items, 5);
    bench.is_clean().await;
}

#[tokio::test]
async fn the_last_slot_is_kept_for_a_full_batch() {
    let mut bench =
        Bench::new(BatcherConfig { max_batch_size: 3, batch_timeout: HOUR, ..BatcherConfig::default() });
    let mut under_way = Vec::new();
    for item in [1, 2] {
        bench.submit(item);
        under_way.push(bench.call_of(&[item]).await);
    }
    bench.submit(3);
    bench.submit(4);
    bench.no_call().await;
    bench.submit(5);
    under_way.push(bench.call_of(&[3, 4, 5]).await);
    bench.submit(6);
    bench.no_call().await;
    // A slot that is not the last is used at once.
    under_way.drain(..2).for_each(|call| call.end(Ending::Well));
    under_way.push(bench.call_of(&[6]).await);
    under_way.into_iter().for_each(|call| call.end(Ending::Well));
    bench.is_clean().await;
}

#[tokio::test]
async fn the_last_slot_is_for_whoever_has_waited_long_enough() {
    let batch_timeout = Duration::from_millis(2);
    let mut bench = Bench::new(BatcherConfig { max_in_flight: 2, batch_timeout, ..BatcherConfig::default() });
    bench.submit(1);
    let _first = bench.call_of(&[1]).await;
    bench.submit(2);
    bench.submit(3);
    bench.no_call().await;
    bench.clock.advance(batch_timeout);
    let _second = bench.call_of(&[2, 3]).await;
    // None is left, however long one waits.
    bench.submit(4);
    bench.settled().await;
    bench.clock.advance(batch_timeout);
    bench.batcher.set_max_batch_size(10);
    bench.no_call().await;
}

#[tokio::test]
async fn the_last_slot_is_for_who_could_not_wait_and_for_who_shares_with_nobody() {
    let config = BatcherConfig { max_in_flight: 2, batch_timeout: HOUR / 2, ..BatcherConfig::default() };
    let mut bench = Bench::new(config);
    bench.submit(1);
    let _first = bench.call_of(&[1]).await;
    bench.submit_on(2, bench.terms(Priority::Low, Some(3_600_000)));
    bench.no_call().await;
    bench.submit_on(3, bench.terms(Priority::Low, Some(1_700_000)));
    bench.call_of(&[3, 2]).await.end(Ending::Well);
    bench.submit(4);
    bench.no_call().await;
    bench.submit_on(5, Terms { alone: true, ..bench.terms(Priority::High, None) });
    bench.call_of(&[5]).await.end(Ending::Well);
}

#[tokio::test]
async fn a_full_group_need_not_wait_for_another_that_is_not() {
    let config = BatcherConfig {
        max_in_flight: 2,
        max_batch_size: 2,
        batch_timeout: HOUR,
        ..BatcherConfig::default()
    };
    let mut bench = Bench::new(config);
    bench.submit(1);
    let _first = bench.call_of(&[1]).await;
    bench.submit_on(2, Terms { group: 1, ..bench.terms(Priority::High, None) });
    bench.submit_on(3, Terms { group: 2, ..Terms::default() });
    bench.no_call().await;
    bench.submit_on(4, Terms { group: 2, ..Terms::default() });
    let _second = bench.call_of(&[3, 4]).await;
}

#[tokio::test]
async fn weight_groups_and_loners_bound_a_batch() {
    let mut bench = Bench::new(BatcherConfig { max_weight: 10, ..one_slot() });
    bench.submit(0);
    let first = bench.call_of(&[0]).await;
    let terms = |weight, group, alone| Terms { weight, group, alone, ..Terms::default() };
    for (item, terms) in (1..).zip([
        terms(4, 1, false),
        terms(1, 2, false),
        terms(6, 1, false),
        terms(1, 1, false),
        terms(1, 1, true),
        terms(99, 2, false),
    ]) {
        bench.submit_on(item, terms);
    }
    bench.settled().await;
    first.end(Ending::Well);
    for items in [&[1, 3][..], &[2], &[4], &[5], &[6]] {
        bench.call_of(items).await.end(Ending::Well);
    }
    bench.is_clean().await;
}

#[tokio::test]
async fn who_is_gone_before_the_call_is_not_in_it() {
    let mut bench = Bench::new(one_slot());
    bench.submit(0);
    let first = bench.call_of(&[0]).await;
    let answers = [1, 2, 3].map(|item| bench.submit(item));
    bench.settled().await;
    answers[1].abort();
    bench.settled().await;
    assert_eq!(bench.batcher.stats().n_cancelled, 1);
    first.end(Ending::Well);
    let second = bench.call_of(&[1, 3]).await;
    // To go during the call changes nothing for the others.
    answers[0].abort();
    second.end(Ending::Well);
    let [_, _, third] = answers;
    assert_eq!(third.await.unwrap().unwrap().value, 30);
    assert_eq!(bench.batcher.stats().n_cancelled, 1);
    bench.is_clean().await;
}

#[tokio::test]
async fn the_urgent_go_first_and_who_becomes_urgent_moves() {
    let mut bench = Bench::new(BatcherConfig { max_batch_size: 1, ..one_slot() });
    bench.submit(0);
    let first = bench.call_of(&[0]).await;
    bench.submit_on(1, bench.terms(Priority::Normal, None));
    let rising = bench.terms(Priority::Low, None);
    bench.submit_on(2, rising.clone());
    bench.submit_on(3, bench.terms(Priority::High, None));
    bench.settled().await;
    first.end(Ending::Well);
    let second = bench.call_of(&[3]).await;
    rising.urgency.raise(Priority::Normal);
    bench.settled().await;
    assert_eq!(bench.batcher.stats().n_waiting, PerLane { high: 0, normal: 2, low: 0 });
    rising.urgency.raise(Priority::High);
    bench.settled().await;
    second.end(Ending::Well);
    bench.call_of(&[2]).await.end(Ending::Well);
    bench.call_of(&[1]).await.end(Ending::Well);
}

#[tokio::test]
async fn a_slot_is_asked_for_anew_by_whoever_is_more_urgent() {
    let mut bench = Bench::with_room(BatcherConfig::default(), 0);
    let low = bench.submit_on(1, bench.terms(Priority::Low, None));
    assert_eq!(bench.asked.recv().await, Some(Priority::Low));
    bench.submit_on(2, bench.terms(Priority::Low, None));
    bench.settled().await;
    assert!(bench.asked.try_recv().is_err());
    bench.submit_on(3, bench.terms(Priority::High, None));
    assert_eq!(bench.asked.recv().await, Some(Priority::High));
    low.abort();
    bench.handler.room.add_permits(1);
    bench.call_of(&[3, 2]).await.end(Ending::Well);
    // Nobody waits for a slot any more.
    bench.settled().await;
    assert!(bench.asked.try_recv().is_err());
    bench.is_clean().await;
}

#[tokio::test]
async fn full_lanes_refuse_and_displace() {
    let lanes = LanesConfig { max_waiting: 2, ..LanesConfig::default() };
    let mut bench = Bench::new(BatcherConfig { lanes, ..one_slot() });
    bench.submit(0);
    let first = bench.call_of(&[0]).await;
    let low = [1, 2].map(|item| bench.submit_on(item, bench.terms(Priority::Low, None)));
    bench.settled().await;
    let retry_after = Duration::from_millis(300);
    assert_eq!(
        bench.submit_on(3, bench.terms(Priority::Low, None)).await.unwrap(),
        Err(BatchError::Full { retry_after })
    );
    bench.submit(4);
    let [_, displaced] = low;
    assert_eq!(displaced.await.unwrap(), Err(BatchError::Full { retry_after }));
    first.end(Ending::Well);
    bench.call_of(&[4, 1]).await.end(Ending::Well);
    let stats = bench.batcher.stats();
    assert_eq!((stats.n_refused_full, stats.n_displaced, stats.n_items), (1, 1, 4));
    bench.is_clean().await;
}

#[tokio::test]
async fn more_and_fewer_calls_at_once_are_a_matter_of_run_time() {
    let mut bench = Bench::new(BatcherConfig { max_batch_size: 1, ..one_slot() });
    let _answers: Vec<_> = (0..6).map(|item| bench.submit(item)).collect();
    let first = bench.call_of(&[0]).await;
    bench.no_call().await;
    bench.batcher.set_max_in_flight(3);
    let others = [bench.call().await, bench.call().await];
    bench.no_call().await;
    bench.batcher.set_max_in_flight(1);
    first.end(Ending::Well);
    bench.no_call().await;
    bench.batcher.set_max_batch_size(8);
    others.into_iter().for_each(|call| call.end(Ending::Well));
    bench.call_of(&[3, 4, 5]).await.end(Ending::Well);
    bench.is_clean().await;
}
