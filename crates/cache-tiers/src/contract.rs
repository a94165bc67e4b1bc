//! The contract of [`CacheTier`] as a suite that any tier can be run against (feature `contract`).
//!
//! ```
//! use std::sync::Arc;
//! use cache_tiers::{MemoryConfig, MemoryTier, contract};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! contract::check_tier(async |clock| {
//!     Arc::new(MemoryTier::new(MemoryConfig::default(), clock).with_weigher(Vec::len)) as contract::Tier
//! })
//! .await;
//! # }
//! ```

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use hp_base::ManualClock;

use crate::{CacheError, CacheTier, Entry, Forget, Key, KeySpace, Probe};

/// A tier under examination, as `make` hands it over.
pub type Tier = Arc<dyn CacheTier<Vec<u8>>>;

/// Longer than the suite takes, so that only the clauses on time see entries expire.
const LONG: Duration = Duration::from_secs(3600);
/// The life of entries that are to expire: more than a store that counts in seconds or hops over a network needs.
const SHORT: Duration = Duration::from_secs(2);

/// Runs every clause of the contract, each against a new tier from `make`, which is to be empty, to have room for
/// 1,000 values of 100 bytes for an hour, and to tell the time by the clock it is given.
///
/// The future is not `Send`: await it in a test of any runtime, without spawning it.
///
/// # Panics
///
/// On the first clause that does not hold, with its name.
pub async fn check_tier(make: impl AsyncFn(Arc<ManualClock>) -> Tier) {
    check_tier_in_time(make, async |clock, span| clock.advance(span)).await;
}

/// [`check_tier`] for tiers that tell the time by a clock of their own, such as a server's: `pass` lets the given
/// time pass for the tier, if need be by waiting.
///
/// # Panics
///
/// On the first clause that does not hold, with its name.
pub async fn check_tier_in_time(
    make: impl AsyncFn(Arc<ManualClock>) -> Tier,
    pass: impl AsyncFn(&ManualClock, Duration),
) {
    let new_tier = async || make(Arc::new(ManualClock::new())).await;
    an_absent_key_is_not_found(&*new_tier().await).await;
    what_is_put_is_found(&*new_tier().await).await;
    the_last_put_counts(&*new_tier().await).await;
    forgetting_a_key_spares_the_others(&*new_tier().await).await;
    forgetting_all_spares_none(&*new_tier().await).await;
    statistics_add_up(&*new_tier().await).await;
    concurrent_use_mixes_nothing_up(new_tier().await).await;

    let clock = Arc::new(ManualClock::new());
    entries_expire(&*make(Arc::clone(&clock)).await, async |span| {
        pass(&clock, span).await;
    })
    .await;
    let clock = Arc::new(ManualClock::new());
    a_new_put_begins_a_new_life(&*make(Arc::clone(&clock)).await, async |span| {
        pass(&clock, span).await;
    })
    .await;
}

async fn an_absent_key_is_not_found(tier: &dyn CacheTier<Vec<u8>>) {
    assert_eq!(look_up(tier, &key(0)).await, None, "an empty tier found something");
    forget(tier, Forget::Key(key(0))).await;
    forget(tier, Forget::All).await;
}

async fn what_is_put_is_found(tier: &dyn CacheTier<Vec<u8>>) {
    let values = [vec![], vec![0], vec![0xff; 100], (0..=99).collect()];
    for (number, value) in (0..).zip(&values) {
        put(tier, key(number), value.clone(), LONG).await;
    }
    for (number, value) in (0..).zip(&values) {
        let found = look_up(tier, &key(number)).await;
        assert_eq!(found.as_ref().map(|entry| &entry.value), Some(value), "what was put was not found");
        let ttl = found.map(|entry| entry.ttl).unwrap_or_default();
        assert!(!ttl.is_zero() && ttl <= LONG, "an entry put for {LONG:?} was found with {ttl:?} left");
        let fetched = must(tier.fetch(&key(number)).await, "fetch");
        assert_eq!(fetched.as_ref().map(|entry| &entry.value), Some(value), "fetch alone did not find it");
    }
    assert_eq!(look_up(tier, &key(99)).await, None, "a key that was never put was found");
}

async fn the_last_put_counts(tier: &dyn CacheTier<Vec<u8>>) {
    for value in 0..3 {
        put(tier, key(0), vec![value], LONG).await;
        let found = look_up(tier, &key(0)).await;
        assert_eq!(
            found.map(|entry| entry.value),
            Some(vec![value]),
            "a later put did not replace the earlier"
        );
    }
}

async fn forgetting_a_key_spares_the_others(tier: &dyn CacheTier<Vec<u8>>) {
    put(tier, key(0), vec![0], LONG).await;
    put(tier, key(1), vec![1], LONG).await;
    forget(tier, Forget::Key(key(0))).await;
    assert_eq!(look_up(tier, &key(0)).await, None, "a forgotten key was found");
    assert!(look_up(tier, &key(1)).await.is_some(), "forgetting one key dropped another");
    put(tier, key(0), vec![2], LONG).await;
    let found = look_up(tier, &key(0)).await;
    assert_eq!(found.map(|entry| entry.value), Some(vec![2]), "a forgotten key could not be put again");
}

async fn forgetting_all_spares_none(tier: &dyn CacheTier<Vec<u8>>) {
    for number in 0..100 {
        put(tier, key(number), vec![1], LONG).await;
    }
    forget(tier, Forget::All).await;
    for number in 0..100 {
        assert_eq!(look_up(tier, &key(number)).await, None, "an entry was found after all were forgotten");
    }
    put(tier, key(0), vec![2], LONG).await;
    assert!(look_up(tier, &key(0)).await.is_some(), "nothing could be put after all were forgotten");
}

async fn statistics_add_up(tier: &dyn CacheTier<Vec<u8>>) {
    assert!(tier.stats().enabled, "a tier that keeps entries says that it is not enabled");
    for number in 0..10 {
        put(tier, key(number), vec![1], LONG).await;
    }
    for number in 0..40 {
        look_up(tier, &key(number)).await;
    }
    let stats = tier.stats();
    let counted = (stats.hits, stats.misses);
    assert_eq!(counted, (10, 30), "10 look-ups that hit and 30 that missed were counted as {counted:?}");
    assert!((stats.hit_rate - 0.25).abs() < 1e-9, "10 hits in 40 make a hit_rate of {}", stats.hit_rate);
    assert!(stats.max_size == 0 || stats.size <= stats.max_size, "size above max_size");
    assert!(stats.max_bytes == 0 || stats.bytes <= stats.max_bytes, "bytes above max_bytes");
}

async fn entries_expire(tier: &dyn CacheTier<Vec<u8>>, pass: impl AsyncFn(Duration)) {
    put(tier, key(0), vec![0], SHORT).await;
    put(tier, key(1), vec![1], LONG).await;
    let left = look_up(tier, &key(0)).await.map(|entry| entry.ttl);
    assert!(left.is_some_and(|ttl| ttl <= SHORT), "an entry put for {SHORT:?} was found with {left:?} left");
    pass(SHORT / 4).await;
    let later = look_up(tier, &key(0)).await.map(|entry| entry.ttl);
    assert!(later < left, "an entry had {left:?} left, and later {later:?}");
    pass(SHORT).await;
    assert_eq!(look_up(tier, &key(0)).await, None, "an entry was found after its ttl");
    assert_eq!(must(tier.fetch(&key(0)).await, "fetch"), None, "an entry was fetched after its ttl");
    assert!(look_up(tier, &key(1)).await.is_some(), "an entry was gone long before its ttl");
}

async fn a_new_put_begins_a_new_life(tier: &dyn CacheTier<Vec<u8>>, pass: impl AsyncFn(Duration)) {
    put(tier, key(0), vec![0], SHORT).await;
    put(tier, key(0), vec![1], LONG).await;
    put(tier, key(1), vec![0], LONG).await;
    put(tier, key(1), vec![1], SHORT).await;
    pass(SHORT + SHORT / 4).await;
    assert!(look_up(tier, &key(0)).await.is_some(), "an entry expired at the time of the one it replaced");
    assert_eq!(look_up(tier, &key(1)).await, None, "an entry was kept for the time of the one it replaced");
    put(tier, key(1), vec![2], LONG).await;
    assert!(look_up(tier, &key(1)).await.is_some(), "an expired key could not be put again");
}

/// Threads probe, which needs no runtime, while tasks put, fetch and forget; each value says whose it is.
async fn concurrent_use_mixes_nothing_up(tier: Tier) {
    const N_KEYS: u8 = 16;
    let is_over = Arc::new(AtomicBool::new(false));
    let threads = [0, 1].map(|_| {
        let (tier, is_over) = (Arc::clone(&tier), Arc::clone(&is_over));
        thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                for number in 0..N_KEYS {
                    if let Probe::Hit(entry) = tier.probe(&key(number)) {
                        assert_owned(&entry.value, number);
                    }
                }
                thread::yield_now();
            }
        })
    });
    let tasks = (0..N_KEYS).map(|number| {
        let tier = &*tier;
        Box::pin(async move {
            for turn in 0..50 {
                put(tier, key(number), vec![number; 1 + usize::from(turn)], LONG).await;
                if let Some(entry) = look_up(tier, &key((number + turn) % N_KEYS)).await {
                    assert_owned(&entry.value, (number + turn) % N_KEYS);
                }
                yield_now().await;
                if turn % 8 == 7 {
                    forget(tier, Forget::Key(key(number))).await;
                }
            }
        }) as Pin<Box<dyn Future<Output = ()> + Send + '_>>
    });
    all(tasks.collect()).await;
    is_over.store(true, Ordering::Relaxed);
    for thread in threads {
        assert!(thread.join().is_ok(), "a probe on another thread failed");
    }
    for number in 0..N_KEYS {
        let found = look_up(&*tier, &key(number)).await.map(|entry| entry.value);
        assert_eq!(found, Some(vec![number; 50]), "the last of many concurrent puts was not found");
    }
}

#[track_caller]
fn assert_owned(value: &[u8], number: u8) {
    assert!(value.iter().all(|&byte| byte == number), "the value of another key was found");
}

/// A look-up as callers make it.
async fn look_up(tier: &dyn CacheTier<Vec<u8>>, key: &Key) -> Option<Entry<Vec<u8>>> {
    match tier.probe(key) {
        Probe::Hit(entry) => Some(entry),
        Probe::Miss => None,
        Probe::Pending => must(tier.fetch(key).await, "fetch"),
    }
}

async fn put(tier: &dyn CacheTier<Vec<u8>>, key: Key, value: Vec<u8>, ttl: Duration) {
    must(tier.put(key, Entry { value, ttl }).await, "put");
}

async fn forget(tier: &dyn CacheTier<Vec<u8>>, what: Forget) {
    must(tier.forget(what).await, "forget");
}

fn key(number: u8) -> Key {
    KeySpace::builder("cache-tiers contract 2025-01").build().key([[number].as_slice()])
}

#[expect(clippy::panic, reason = "the suite is for tests, where a panic is how a failure is reported")]
fn must<T>(result: Result<T, CacheError>, operation: &str) -> T {
    result.unwrap_or_else(|error| panic!("{operation} failed: {error}"))
}

/// Runs the tasks in turns until all are done.
async fn all(mut tasks: Vec<Pin<Box<dyn Future<Output = ()> + Send + '_>>>) {
    poll_fn(|context| {
        tasks.retain_mut(|task| task.as_mut().poll(context).is_pending());
        if tasks.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Lets the other tasks go on.
async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
