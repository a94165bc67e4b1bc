//! What was forgotten is not found again: not in a queue, not by a promotion, not on another replica.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::support::{Below, HOUR, Meddled, ONE, Three, key, memory, three, three_with};
use crate::{
    CacheErrorKind, Entry, Forget, Lookup, ManualClock, Position, Replicas, TieredCache, TieredConfig,
};

#[tokio::test]
async fn a_queued_write_is_cancelled_and_one_under_way_is_followed() {
    for what in [Forget::Key(key(1)), Forget::All] {
        let three = three(TieredConfig::default());
        three.l2.gate.shut();
        three.put(1, 7).await;
        three.l2.gate.is_reached().await;
        three.put(1, 8).await;
        let forgotten = three.cache.forget(what);
        let opened = async {
            tokio::task::yield_now().await;
            assert!(!matches!(three.cache.probe(&ONE), Lookup::Hit(_)), "it is gone for readers at once");
            three.l2.gate.open();
        };
        let (forgotten, ()) = tokio::join!(forgotten, opened);
        forgotten.unwrap();
        three.cache.drain().await;
        assert_eq!(three.l2.store.get(&key(1)), None);
        assert_eq!(three.get(1).await, None);
        three.put(1, 9).await;
        three.cache.drain().await;
        assert_eq!(three.l2.store.get(&key(1)).unwrap().value, [9], "a later write is written");
    }
}

#[tokio::test]
async fn forgetting_one_key_spares_the_writes_of_others() {
    let three = three(TieredConfig::default());
    three.l2.gate.shut();
    for number in 0..3 {
        three.put(number, number).await;
    }
    three.l2.gate.open();
    three.cache.forget(Forget::Key(key(1))).await.unwrap();
    three.cache.drain().await;
    let found = [0, 1, 2].map(|number| three.l2.store.get(&key(number)).is_some());
    assert_eq!(found, [true, false, true]);
}

#[tokio::test]
async fn a_value_read_before_and_promoted_after_is_taken_back() {
    for what in [Forget::Key(key(1)), Forget::All] {
        let three = three(TieredConfig::default());
        three.l3.store.insert(key(1), Entry { value: vec![7], ttl: HOUR }).unwrap();
        three.l3.gate.shut();
        let look = three.cache.get(&ONE);
        let forget = async {
            three.l3.gate.is_reached().await;
            let forgotten = three.cache.forget(what);
            let opened = async { three.l3.gate.open() };
            tokio::join!(forgotten, opened).0.unwrap();
        };
        tokio::join!(look, forget);
        three.cache.drain().await;
        assert_eq!(three.get(1).await, None);
        assert_eq!(three.l2.store.get(&key(1)), None);
    }
}

#[tokio::test]
async fn a_value_forgotten_while_it_is_promoted_is_taken_back() {
    let clock = Arc::new(ManualClock::new());
    let meddled = Arc::new(Meddled { store: memory(clock.clone()), cache: OnceLock::new() });
    let (l2, l3) = (Below::new(clock.clone()), Below::new(clock.clone()));
    l3.store.insert(ONE, Entry { value: vec![7], ttl: HOUR }).unwrap();
    let builder = TieredCache::builder(clock).memory(meddled.clone()).disk(l2.clone()).remote(l3);
    let cache = Arc::new(builder.build());
    meddled.cache.set(Arc::downgrade(&cache)).unwrap();
    assert!(cache.get(&ONE).await.is_some());
    assert_eq!(meddled.store.get(&ONE), None);
    cache.drain().await;
    assert_eq!(l2.store.get(&ONE), None);
    assert_eq!(cache.get(&ONE).await, None);
}

#[tokio::test]
async fn a_value_put_during_a_look_is_not_replaced_by_the_one_found() {
    let three = three(TieredConfig::default());
    three.l3.store.insert(key(1), Entry { value: vec![7], ttl: HOUR }).unwrap();
    three.l3.gate.shut();
    let look = three.cache.get(&ONE);
    let put = async {
        three.l3.gate.is_reached().await;
        three.put(1, 8).await;
        three.l3.gate.open();
    };
    tokio::join!(look, put);
    assert_eq!(three.get(1).await, Some(8));
    three.cache.drain().await;
    three.l1.clear();
    assert_eq!(three.get(1).await, Some(8));
}

#[tokio::test]
async fn a_tier_that_cannot_forget_is_reported_and_the_others_forget() {
    let three = three(TieredConfig::default());
    three.put(1, 7).await;
    three.cache.drain().await;
    three.l3.fails.store(true, Ordering::SeqCst);
    let error = three.cache.forget(Forget::Key(key(1))).await.unwrap_err();
    assert_eq!(error.kind(), CacheErrorKind::Unavailable);
    assert_eq!(three.l1.get(&key(1)), None);
    assert_eq!(three.l2.store.get(&key(1)), None);
}

/// Replicas that say what the test has them say.
#[derive(Debug)]
struct Told {
    sayings: tokio::sync::Mutex<mpsc::UnboundedReceiver<(Vec<Forget>, Position)>>,
    asked: Mutex<Vec<Option<Position>>>,
}

#[async_trait]
impl Replicas for Told {
    async fn forgotten_since(&self, position: Option<Position>) -> (Vec<Forget>, Position) {
        self.asked.lock().unwrap().push(position);
        match self.sayings.lock().await.recv().await {
            Some(said) => said,
            None => std::future::pending().await,
        }
    }
}

#[tokio::test]
async fn what_other_replicas_forget_is_forgotten_above_the_shared_tier() {
    let (say, sayings) = mpsc::unbounded_channel();
    let replicas = Arc::new(Told { sayings: tokio::sync::Mutex::new(sayings), asked: Mutex::default() });
    let notes = Arc::new(Mutex::new(HashMap::from([("replicas.position".to_owned(), b"5-0".to_vec())])));
    let Three { cache, l1, l2, l3, clock: _clock } = three_with(TieredConfig::default(), |builder| {
        builder.replicas(replicas.clone()).notes(notes.clone())
    });
    for number in 0..3 {
        cache.put(key(number), vec![number], crate::Retention::everywhere(HOUR)).await;
    }
    cache.drain().await;
    let found = |number| {
        (
            l1.get(&key(number)).is_some(),
            l2.store.get(&key(number)).is_some(),
            l3.store.get(&key(number)).is_some(),
        )
    };

    let forgetting = |number| cache.forgetting(&key(number));
    assert_eq!((forgetting(1), forgetting(2)), (0, 0), "what is put is not forgotten");
    let at = |place: &str| Position(place.to_owned());
    say.send((vec![Forget::Key(key(1))], at("6-0"))).unwrap();
    while replicas.asked.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(found(1), (false, false, true));
    assert_eq!(found(2), (true, true, true));
    assert_eq!((forgetting(1), forgetting(2)), (1, 0));
    assert_eq!(notes.lock().unwrap()["replicas.position"], b"6-0");

    say.send((vec![Forget::All], at("7-0"))).unwrap();
    while replicas.asked.lock().unwrap().len() < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(found(2), (false, false, true));
    assert_eq!((forgetting(1), forgetting(2)), (2, 1));
    let asked = replicas.asked.lock().unwrap().clone();
    assert_eq!(asked, [Some(at("5-0")), Some(at("6-0")), Some(at("7-0"))]);
}
