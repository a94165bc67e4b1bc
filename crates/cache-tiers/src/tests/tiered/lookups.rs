//! Where a value is found, and where it is kept afterwards.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::support::{Below, HOUR, key, memory, three};
use crate::contract::{Tier, check_tier};
use crate::{CacheLevel, Entry, Hit, Lookup, Retention, TieredCache, TieredConfig};

#[tokio::test]
async fn a_tiered_cache_keeps_the_contract_of_a_tier() {
    check_tier(async |clock| {
        let cache = TieredCache::builder(clock.clone()).memory(memory(clock.clone()));
        Arc::new(cache.disk(Below::new(clock.clone())).remote(Below::new(clock)).build()) as Tier
    })
    .await;
}

#[tokio::test]
async fn memory_alone_keeps_it_too() {
    check_tier(async |clock| {
        Arc::new(TieredCache::builder(clock.clone()).memory(memory(clock)).build()) as Tier
    })
    .await;
}

#[tokio::test]
async fn what_a_lower_tier_holds_is_put_above_it_for_the_time_left() {
    let three = three(TieredConfig::default());
    three.l3.store.insert(key(1), Entry { value: vec![7], ttl: HOUR }).unwrap();
    three.clock.advance(HOUR / 4);
    let hit = three.cache.get(&key(1)).await.unwrap();
    let left = HOUR * 3 / 4;
    assert_eq!(hit, Hit { value: vec![7], ttl: left, level: CacheLevel::L3Distributed, is_stale: false });

    three.cache.drain().await;
    assert_eq!(three.l2.store.get(&key(1)).unwrap().ttl, left);
    three.clock.advance(HOUR / 4);
    let hit = three.cache.get(&key(1)).await.unwrap();
    assert_eq!((hit.level, hit.ttl), (CacheLevel::L1Memory, HOUR / 2));

    three.l1.clear();
    let hit = three.cache.get(&key(1)).await.unwrap();
    assert_eq!((hit.level, hit.ttl), (CacheLevel::L2Persistent, HOUR / 2));
    three.clock.advance(HOUR / 2);
    assert_eq!(three.cache.get(&key(1)).await, None);
}

#[tokio::test]
async fn a_look_asks_no_further_than_it_must() {
    let three = three(TieredConfig::default());
    three.put(1, 7).await;
    assert!(matches!(three.cache.probe(&key(1)), Lookup::Hit(_)));
    three.cache.drain().await;
    three.l1.clear();
    assert_eq!(three.get(1).await, Some(7));
    assert_eq!(three.l2.n_fetched.load(Ordering::SeqCst), 1);
    assert_eq!(three.l3.n_fetched.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_tier_that_fails_is_passed_over() {
    let three = three(TieredConfig::default());
    three.l3.store.insert(key(1), Entry { value: vec![7], ttl: HOUR }).unwrap();
    three.l2.fails.store(true, Ordering::SeqCst);
    assert_eq!(three.get(1).await, Some(7));
    three.l3.fails.store(true, Ordering::SeqCst);
    assert_eq!(three.get(2).await, None);
    three.put(2, 8).await;
    three.cache.drain().await;
    assert_eq!(three.get(2).await, Some(8), "memory still works");
    let stats = three.cache.stats();
    assert_eq!((stats.l2_cache.dropped_writes, stats.l3_cache.dropped_writes), (2, 1));
}

#[tokio::test]
async fn each_tier_keeps_a_value_for_its_own_time() {
    let three = three(TieredConfig::default());
    let [l1, l2, l3] = [1, 2, 3].map(Duration::from_secs);
    three.cache.put(key(1), vec![7], Retention { l1, l2, l3 }).await;
    three.cache.put(key(2), vec![8], Retention::memory_only(l1)).await;
    three.cache.drain().await;
    assert_eq!(three.l1.get(&key(1)).unwrap().ttl, l1);
    assert_eq!(three.l2.store.get(&key(1)).unwrap().ttl, l2);
    assert_eq!(three.l3.store.get(&key(1)).unwrap().ttl, l3);
    assert!(three.l1.get(&key(2)).is_some());
    assert_eq!((three.l2.store.get(&key(2)), three.l3.store.get(&key(2))), (None, None));
}

#[tokio::test]
async fn a_value_for_memory_alone_leaves_what_is_below() {
    let three = three(TieredConfig::default());
    three.put(1, 7).await;
    three.cache.drain().await;
    three.cache.put(key(1), vec![8], Retention::memory_only(Duration::from_secs(1))).await;
    assert_eq!(three.get(1).await, Some(8));
    three.clock.advance(Duration::from_secs(1));
    assert_eq!(three.get(1).await, Some(7), "the value that was worth keeping is still there");
}

#[tokio::test]
async fn a_look_counts_once_however_many_tiers_it_asks() {
    let three = three(TieredConfig::default());
    for number in 0..4 {
        three.get(number).await;
    }
    three.put(0, 7).await;
    three.get(0).await;
    three.cache.drain().await;
    three.l1.clear();
    three.get(0).await;
    let stats = three.cache.stats();
    assert_eq!((stats.overall.total_requests, stats.overall.total_hits), (6, 2));
    assert!((stats.overall.hit_rate - 1.0 / 3.0).abs() < 1e-9);
    assert_eq!((stats.l2_cache.hits, stats.l2_cache.misses), (1, 4));
    assert_eq!((stats.l3_cache.hits, stats.l3_cache.misses), (0, 4));
}

#[tokio::test]
async fn a_peek_finds_what_a_look_would_and_is_no_request() {
    let three = three(TieredConfig::default());
    assert_eq!(three.cache.peek(&key(1)).await, None);
    three.l3.store.insert(key(1), Entry { value: vec![7], ttl: HOUR }).unwrap();
    let level = async || three.cache.peek(&key(1)).await.map(|hit| hit.level);
    assert_eq!(level().await, Some(CacheLevel::L3Distributed));
    assert_eq!(level().await, Some(CacheLevel::L1Memory));
    let overall = three.cache.stats().overall;
    assert_eq!((overall.total_requests, overall.total_hits), (0, 0));
}

#[tokio::test]
async fn a_stale_value_is_served_while_one_caller_renews_it() {
    let stale = Duration::from_secs(60);
    let three = three(TieredConfig { stale_while_revalidate: stale, ..TieredConfig::default() });
    three.put(1, 7).await;
    three.cache.drain().await;
    let fresh = three.cache.get(&key(1)).await.unwrap();
    assert_eq!((fresh.is_stale, fresh.ttl), (false, HOUR));
    three.clock.advance(HOUR);
    let hit = three.cache.get(&key(1)).await.unwrap();
    assert_eq!((hit.is_stale, hit.ttl), (true, Duration::ZERO));

    let claim = three.cache.claim_refresh(&key(1)).unwrap();
    assert!(three.cache.claim_refresh(&key(1)).is_none(), "one is enough");
    assert!(three.cache.claim_refresh(&key(2)).is_some());
    assert_eq!(three.cache.revalidate(&claim).await, None, "what is below is as stale");
    three.l3.store.insert(key(1), Entry { value: vec![8], ttl: HOUR }).unwrap();
    three.l2.store.clear();
    let renewed = three.cache.revalidate(&claim).await.unwrap();
    assert_eq!((renewed.value[0], renewed.is_stale), (8, false));
    drop(claim);
    assert!(three.cache.claim_refresh(&key(1)).is_some());
    assert_eq!(three.get(1).await, Some(8));

    three.clock.advance(HOUR);
    assert_eq!(three.get(1).await, None, "in the end it is gone");
}
