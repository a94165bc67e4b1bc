//! Writes to lower tiers: in the background, bounded, and readable meanwhile.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::support::{key, three};
use crate::TieredConfig;

#[tokio::test]
async fn what_waits_can_be_read() {
    let three = three(TieredConfig::default());
    three.l2.gate.shut();
    three.l3.gate.shut();
    three.put(1, 7).await;
    three.l2.gate.is_reached().await;
    three.put(1, 8).await;
    three.put(2, 9).await;
    three.l1.clear();
    assert_eq!(three.get(1).await, Some(8), "the later of two writes, one of them under way");
    assert_eq!(three.get(2).await, Some(9));
    three.l2.gate.open();
    three.l3.gate.open();
    three.cache.drain().await;
    assert_eq!(three.l2.store.get(&key(1)).unwrap().value, [8]);
    assert_eq!(three.l3.store.get(&key(2)).unwrap().value, [9]);
}

#[tokio::test]
async fn the_oldest_write_makes_room_and_is_counted() {
    let three = three(TieredConfig { max_queued: 3, ..TieredConfig::default() });
    three.l2.gate.shut();
    three.put(0, 0).await;
    three.l2.gate.is_reached().await;
    for number in 1..=5 {
        three.put(number, number).await;
    }
    three.put(5, 50).await;
    let stats = three.cache.stats().l2_cache;
    assert_eq!((stats.queue_depth, stats.dropped_writes), (4, 2), "three wait, one is under way");
    three.l2.gate.open();
    three.cache.drain().await;
    let written = three.l2.written.lock().unwrap().clone();
    assert_eq!(written, [0, 3, 4, 5].map(key));
    assert_eq!(
        three.l2.store.get(&key(5)).unwrap().value,
        [50],
        "a second write takes the place of the first"
    );
    assert_eq!(three.cache.stats().l2_cache.queue_depth, 0);
}

#[tokio::test]
async fn time_that_passes_in_the_queue_is_not_given_back() {
    let three = three(TieredConfig::default());
    three.l2.gate.shut();
    three.put(0, 0).await;
    three.l2.gate.is_reached().await;
    three.cache.put(key(1), vec![1], crate::Retention::everywhere(Duration::from_secs(10))).await;
    three.cache.put(key(2), vec![2], crate::Retention::everywhere(Duration::from_secs(1))).await;
    three.clock.advance(Duration::from_secs(4));
    three.l2.gate.open();
    three.cache.drain().await;
    assert_eq!(three.l2.store.get(&key(1)).unwrap().ttl, Duration::from_secs(6));
    assert_eq!(three.l2.store.get(&key(2)), None, "it expired before it was written");
}

#[tokio::test]
async fn closing_writes_what_is_queued_but_not_for_ever() {
    let three = three(TieredConfig::default());
    three.put(1, 7).await;
    assert!(three.cache.close().await);
    assert!(three.l2.store.get(&key(1)).is_some());
    three.put(2, 8).await;
    assert_eq!(three.cache.stats().l2_cache.dropped_writes, 1, "nothing is taken any more");

    let stuck = super::support::three(TieredConfig {
        close_within: Duration::from_millis(10),
        ..TieredConfig::default()
    });
    stuck.l3.gate.shut();
    stuck.put(1, 7).await;
    assert!(!stuck.cache.close().await);
}

#[tokio::test]
async fn dropping_the_cache_loses_nothing_that_was_queued() {
    let three = three(TieredConfig::default());
    three.put(1, 7).await;
    drop(three.cache);
    while three.l3.written.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(three.l3.n_fetched.load(Ordering::SeqCst), 0);
}
