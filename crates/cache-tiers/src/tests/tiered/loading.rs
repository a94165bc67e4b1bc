//! Working a value out once, whoever asks and whatever becomes of the one who does.

use std::cell::Cell;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;

use super::support::{HOUR, ONE, Value, key, three, three_with};
use crate::{
    CacheError, CacheErrorKind, CacheLevel, Claim, Entry, Key, Lease, Leases, LoadError, Origin, Retention,
    TieredConfig,
};

type Loaded = Result<(Value, Retention), &'static str>;

fn loaded(value: u8) -> Loaded {
    Ok((vec![value], Retention::everywhere(HOUR)))
}

#[tokio::test]
async fn of_a_thousand_one_loads() {
    let three = three(TieredConfig::default());
    let n_loads = AtomicU64::new(0);
    let load = || async {
        n_loads.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        loaded(7)
    };
    let all = join_all((0..1_000).map(|_| three.cache.get_or_load(&ONE, HOUR, load))).await;
    assert!(all.iter().all(|hit| hit.as_ref().is_ok_and(|hit| hit.value == [7])));
    assert_eq!(n_loads.load(Ordering::SeqCst), 1);
    three.cache.drain().await;
    assert!(three.l2.store.get(&key(1)).is_some() && three.l3.store.get(&key(1)).is_some());
    let again = three.cache.get_or_load(&ONE, HOUR, load).await.unwrap();
    assert_eq!((again.origin, n_loads.load(Ordering::SeqCst)), (Origin::Cached(CacheLevel::L1Memory), 1));
    let count = |origin| all.iter().flatten().filter(|loaded| loaded.origin == origin).count();
    assert_eq!((count(Origin::Loaded), count(Origin::Coalesced)), (1, 999));
}

#[tokio::test]
async fn who_misses_and_loads_has_looked_once() {
    let three = three(TieredConfig::default());
    for _ in 0..3 {
        three.cache.get_or_load(&ONE, HOUR, || async { loaded(7) }).await.unwrap();
    }
    let stats = three.cache.stats();
    assert_eq!((stats.l1_cache.hits, stats.l1_cache.misses), (2, 1));
    assert!((stats.l1_cache.hit_rate - 2.0 / 3.0).abs() < 1e-12);
    assert_eq!((stats.overall.total_hits, stats.overall.total_requests), (2, 3));
}

#[tokio::test]
async fn what_came_while_looking_further_down_is_used() {
    let three = three(TieredConfig::default());
    three.l3.gate.shut();
    let asked = three.cache.get_or_load(&ONE, HOUR, || async { loaded(8) });
    let landed = async {
        three.l3.gate.is_reached().await;
        three.put(1, 7).await;
        three.l3.gate.open();
    };
    let (asked, ()) = tokio::join!(asked, landed);
    assert_eq!(asked.map(|loaded| (loaded.value[0], loaded.origin)), Ok((7, Origin::Coalesced)));
}

#[tokio::test]
async fn a_failure_is_not_kept_and_another_takes_over() {
    let three = three(TieredConfig::default());
    let n_loads = AtomicU64::new(0);
    let load = || async {
        let number = n_loads.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        if number < 2 { Err("no") } else { loaded(7) }
    };
    let all = join_all((0..10).map(|_| three.cache.get_or_load(&ONE, HOUR, load))).await;
    let n_failed = all.iter().filter(|result| **result == Err(LoadError::Load("no"))).count();
    assert_eq!((n_failed, n_loads.load(Ordering::SeqCst)), (2, 3));
}

#[tokio::test]
async fn when_the_one_who_loads_is_dropped_another_takes_over() {
    let three = three(TieredConfig::default());
    let leader = three.cache.get_or_load(&ONE, HOUR, pending::<Loaded>);
    let mut leader = Box::pin(leader);
    assert!(futures_util::poll!(&mut leader).is_pending());
    while three.l3.n_fetched.load(Ordering::SeqCst) == 0 {
        assert!(futures_util::poll!(&mut leader).is_pending());
    }
    assert!(futures_util::poll!(&mut leader).is_pending());
    let follower = three.cache.get_or_load(&ONE, HOUR, || async { loaded(8) });
    let mut follower = Box::pin(follower);
    for _ in 0..10 {
        assert!(futures_util::poll!(&mut follower).is_pending(), "it waits for the leader");
        tokio::task::yield_now().await;
    }
    drop(leader);
    assert_eq!(follower.await.unwrap().value, [8]);
}

#[tokio::test]
async fn patience_ends() {
    let three = three(TieredConfig::default());
    let leader = three.cache.get_or_load(&ONE, HOUR, pending::<Loaded>);
    let follower = async {
        tokio::task::yield_now().await;
        three.cache.get_or_load(&ONE, Duration::from_millis(50), || async { loaded(8) }).await
    };
    tokio::select! {
        biased;
        _ = leader => unreachable!("it never ends"),
        result = follower => assert_eq!(result, Err(LoadError::OutOfTime)),
    }
}

/// Somebody else has the lease at first, and has put a value on the shared tier by the time it lets go.
#[derive(Debug)]
struct Elsewhere {
    shared: Arc<super::support::Below>,
    leaves_value: bool,
    is_away: bool,
    n_claims: AtomicU64,
}

#[async_trait]
impl Leases for Elsewhere {
    async fn claim(&self, key: &Key) -> Result<Claim, CacheError> {
        if self.is_away {
            return Err(CacheError::new(CacheErrorKind::Unavailable, "away"));
        }
        if self.n_claims.fetch_add(1, Ordering::SeqCst) > 0 {
            return Ok(Claim::Mine(Lease::new(())));
        }
        let (shared, leaves_value, key) = (self.shared.clone(), self.leaves_value, *key);
        Ok(Claim::Theirs(Box::pin(async move {
            tokio::task::yield_now().await;
            if leaves_value {
                shared.store.insert(key, Entry { value: vec![9], ttl: HOUR }).unwrap();
            }
        })))
    }
}

async fn load_with(leaves_value: bool, is_away: bool) -> (u8, u64, u64) {
    let slot = Cell::new(None);
    let three = three_with(TieredConfig::default(), |builder| {
        let shared = super::support::Below::new(Arc::new(crate::ManualClock::new()));
        let leases = Arc::new(Elsewhere { shared, leaves_value, is_away, n_claims: AtomicU64::new(0) });
        slot.set(Some(leases.clone()));
        builder.remote(leases.shared.clone()).leases(leases)
    });
    let n_loads = AtomicU64::new(0);
    let load = || async {
        n_loads.fetch_add(1, Ordering::SeqCst);
        loaded(7)
    };
    let hit = three.cache.get_or_load(&ONE, HOUR, load).await.unwrap();
    let leases = slot.take().unwrap();
    if !leaves_value && !is_away {
        assert!(leases.shared.store.get(&key(1)).is_some(), "it is on the shared tier before the lease goes");
    }
    (hit.value[0], n_loads.load(Ordering::SeqCst), leases.n_claims.load(Ordering::SeqCst))
}

#[tokio::test]
async fn what_another_process_worked_out_is_used() {
    assert_eq!(load_with(true, false).await, (9, 0, 1));
}

#[tokio::test]
async fn when_another_process_leaves_nothing_this_one_takes_over() {
    assert_eq!(load_with(false, false).await, (7, 1, 2));
}

#[tokio::test]
async fn without_anybody_to_ask_each_process_goes_alone() {
    assert_eq!(load_with(false, true).await, (7, 1, 0));
}
