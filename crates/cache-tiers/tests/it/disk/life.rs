//! What a tier keeps, for how long, and what of it a restart finds.

use cache_tiers::{Forget, ManualClock, Notes, contract};

use super::*;

#[tokio::test]
async fn it_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let n_tiers = std::cell::Cell::new(0);
    contract::check_tier(async |clock| {
        n_tiers.set(n_tiers.get() + 1);
        let path = folder.path().join(n_tiers.get().to_string());
        Arc::new(open_with(DiskConfig { ttl_jitter: 0.1, ..config(&path) }, 1, clock)) as contract::Tier
    })
    .await;
}

#[tokio::test]
async fn values_notes_and_what_was_forgotten_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let tier = open(folder.path());
    put_many(&tier, 0..10, 1).await;
    tier.forget(Forget::All).await.unwrap();
    put_many(&tier, 5..20, 2).await;
    tier.forget(Forget::Key(key(7))).await.unwrap();
    tier.write_note("position", b"abc".to_vec()).await.unwrap();
    tier.write_note("position", b"def".to_vec()).await.unwrap();
    drop(tier);

    for _ in 0..2 {
        let tier = open(folder.path());
        for number in 0..20 {
            let expected = (number >= 5 && number != 7).then_some(2);
            assert_eq!(look_up(&tier, number).await.unwrap(), expected, "{number}");
        }
        assert_eq!(tier.read_note("position").await.unwrap().as_deref(), Some(&b"def"[..]));
        assert_eq!(tier.read_note("other").await.unwrap(), None);
        tier.close().await;
    }
}

#[tokio::test]
async fn the_time_left_survives_a_restart_and_ends_on_time() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new());
    let second = Duration::from_secs(1);
    let tier = open_with(DiskConfig { ttl: 100 * second, ..config(folder.path()) }, 1, clock.clone());
    put(&tier, 1, 1).await.unwrap();
    tier.put(key(2), Entry { value: value(2, 1), ttl: 50 * second }).await.unwrap();
    tier.put(key(1), Entry { value: value(1, 2), ttl: LONG }).await.unwrap();
    drop(tier);

    clock.advance(40 * second);
    let tier = open_with(config(folder.path()), 1, clock.clone());
    let left = async |number| tier.fetch(&key(number)).await.unwrap().map(|entry| entry.ttl);
    assert_eq!((left(1).await, left(2).await), (Some(60 * second), Some(10 * second)));
    let stored = tier.inspect(&key(2)).await.unwrap().unwrap();
    assert_eq!(stored.ttl, 10 * second);
    assert!((400..1000).contains(&stored.bytes), "{stored:?}");

    clock.advance(10 * second);
    assert_eq!((left(1).await, left(2).await), (Some(50 * second), None));
    assert_eq!(tier.inspect(&key(2)).await.unwrap(), None);
    assert_eq!(tier.stats().expired, 1);
}

#[tokio::test]
async fn an_entry_without_time_only_drops_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let tier = open(folder.path());
    put(&tier, 1, 1).await.unwrap();
    tier.put(key(1), Entry { value: value(1, 2), ttl: Duration::ZERO }).await.unwrap();
    assert_eq!(look_up(&tier, 1).await.unwrap(), None);
}

#[tokio::test]
async fn values_of_another_codec_version_are_misses() {
    let folder = tempfile::tempdir().unwrap();
    drop({
        let tier = open(folder.path());
        put(&tier, 1, 1).await.unwrap();
        tier
    });
    let tier = open_with(config(folder.path()), 2, Arc::new(SystemClock));
    assert_eq!(look_up(&tier, 1).await.unwrap(), None);
    put(&tier, 2, 1).await.unwrap();
    assert_eq!(look_up(&tier, 2).await.unwrap(), Some(1));
    let stats = tier.stats();
    assert_eq!((stats.hits, stats.misses, stats.errors), (1, 1, 0));
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let tier = open(folder.path());
    put(&tier, 1, 1).await.unwrap();
    let large = tier.put(key(1), Entry { value: vec![0xff; 4 << 20], ttl: LONG }).await;
    check_kind(large, CacheErrorKind::TooLarge);
    assert_eq!(look_up(&tier, 1).await.unwrap(), None);
    assert_eq!(tier.stats().rejected, 1);
}

#[tokio::test]
async fn entries_lose_a_share_of_their_time_by_lot() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new());
    let tier = open_with(DiskConfig { ttl_jitter: 0.5, ..config(folder.path()) }, 1, clock);
    put_many(&tier, 0..50, 1).await;
    let mut left = Vec::new();
    for number in 0..50 {
        left.push(tier.fetch(&key(number)).await.unwrap().unwrap().ttl);
    }
    assert!(left.iter().all(|&ttl| ttl >= LONG / 2 && ttl <= LONG), "{left:?}");
    assert!(left.iter().any(|&ttl| ttl < LONG * 6 / 10) && left.iter().any(|&ttl| ttl > LONG * 9 / 10));
}

#[tokio::test]
async fn what_was_not_read_lately_is_read_from_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    drop({
        let tier = open(folder.path());
        put_many(&tier, 0..6000, 1).await;
        tier
    });
    let tier = open(folder.path());
    until_state(&tier, TierState::Ready).await;
    assert!(matches!(tier.probe(&key(10)), Probe::Pending));
    assert_eq!(tier.stats().hits + tier.stats().misses, 0);
    assert_eq!(look_up(&tier, 10).await.unwrap(), Some(1));
    assert!(matches!(tier.probe(&key(10)), Probe::Hit(_)));
    assert!(matches!(tier.probe(&key(999_999)), Probe::Miss), "a filter should have known");
    let stats = tier.stats();
    assert_eq!((stats.hits, stats.misses, stats.size > 5900), (2, 1, true), "{stats:?}");
    assert!(stats.bytes > 6000 * 400 && stats.bytes < stats.max_bytes, "{stats:?}");
}

#[tokio::test]
async fn a_closed_tier_is_out_of_service_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let tier = open(folder.path());
    put(&tier, 1, 1).await.unwrap();
    tier.close().await;
    tier.close().await;
    check_kind(put(&tier, 2, 1).await, CacheErrorKind::Unavailable);
    check_kind(tier.fetch(&key(1)).await, CacheErrorKind::Unavailable);
    assert!(matches!(tier.probe(&key(1)), Probe::Miss));
    let stats = tier.stats();
    assert_eq!((stats.state, stats.bypassed, stats.misses), (TierState::Unavailable, 3, 2));
}
