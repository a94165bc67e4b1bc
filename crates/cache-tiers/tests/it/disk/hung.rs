//! Disks that do not answer: nobody is held up, and what was out of service comes back.

use std::fs;
use std::io::Write;
use std::process::Command;

use cache_tiers::BreakerState;

use super::places::{Mount, run};
use super::*;

/// Far less than a test would be stopped for, far more than a loaded machine needs.
const AT_MOST: Duration = Duration::from_secs(30);

fn hasty(path: &Path) -> DiskConfig {
    let moment = Duration::from_millis(50);
    DiskConfig { open_wait: moment, read_timeout: moment, write_timeout: moment, ..config(path) }
}

async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    let Ok(done) = tokio::time::timeout(AT_MOST, work).await else { panic!("{what} was held up") };
    done
}

#[tokio::test]
async fn an_opening_that_hangs_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let current = folder.path().join("store/CURRENT");
    fs::create_dir(folder.path().join("store")).unwrap();
    run(Command::new("mkfifo").arg(&current));

    // Reading the pipe hangs until somebody writes to it.
    let tier = open_with(hasty(folder.path()), 1, Arc::new(SystemClock));
    for number in 0..3 {
        assert!(matches!(tier.probe(&key(number)), Probe::Pending));
        check_kind(in_time("fetch", tier.fetch(&key(number))).await, CacheErrorKind::Unavailable);
        check_kind(in_time("put", put(&tier, number, 1)).await, CacheErrorKind::Timeout);
    }
    assert_eq!(tier.stats().state, TierState::Starting);

    // Opened both ways the pipe does not hang, and whoever reads it gets that far and no further.
    until("the tier is at work", || {
        let pipe = fs::File::options().read(true).write(true).open(&current);
        let _ = pipe.and_then(|mut pipe| pipe.write_all(b"no name of a manifest"));
        tier.stats().state == TierState::Ready
    })
    .await;
    until_written(&tier, 1, 2).await;
    assert_eq!(look_up(&tier, 1).await.unwrap(), Some(2));
}

/// A frozen file system takes no writes, and does not say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_hang_hold_nobody_up() {
    let Some(mount) = Mount::of_device(64) else { return };
    let tier = open_with(hasty(&mount.path.join("cache")), 1, Arc::new(SystemClock));
    until_written(&tier, 1, 1).await;

    let frozen = mount.freeze();
    let mut kinds = Vec::new();
    for _ in 0..100 {
        if let Err(error) = in_time("put", put(&tier, 1, 2)).await {
            kinds.push(error.kind());
        }
    }
    assert!(kinds.contains(&CacheErrorKind::Timeout), "{kinds:?}");
    // The breaker has opened by now, so that most were not even tried.
    let n_tried = kinds.iter().filter(|&&kind| kind == CacheErrorKind::Timeout).count();
    assert!(n_tried < 50, "{n_tried} of 100 writes waited for a disk that hangs");
    assert_eq!(in_time("look-up", look_up(&tier, 1)).await.unwrap(), None, "what is out of date was found");
    drop(frozen);

    until_written(&tier, 1, 3).await;
    assert_eq!(look_up(&tier, 1).await.unwrap(), Some(3));
    until("nothing waits", || tier.stats().queue_depth == 0).await;
}

/// No disk answers in no time.
#[tokio::test]
async fn reads_that_take_too_long_open_the_breaker() {
    let folder = tempfile::tempdir().unwrap();
    drop({
        let tier = open(folder.path());
        put_many(&tier, 0..6000, 1).await;
        tier
    });
    let tier = open_with(
        DiskConfig { read_timeout: Duration::ZERO, ..config(folder.path()) },
        1,
        Arc::new(SystemClock),
    );
    until_state(&tier, TierState::Ready).await;
    let (mut n_timeouts, mut n_bypassed, mut n_hits) = (0, 0, 0);
    while n_bypassed < 10 {
        match tier.fetch(&key(10)).await.map_err(|error| error.kind()) {
            Err(CacheErrorKind::Timeout) => n_timeouts += 1,
            Err(CacheErrorKind::Unavailable) => n_bypassed += 1,
            // The memory of the machine may be there before the time is looked at.
            Ok(_) => n_hits += 1,
            Err(other) => panic!("{other:?}"),
        }
        assert!(n_timeouts < 1000 && n_hits < 1000, "the breaker never opens");
    }
    let stats = tier.stats();
    assert_eq!((stats.timeouts, stats.bypassed, stats.hits), (n_timeouts, n_bypassed, n_hits));
    assert_eq!(stats.misses, n_timeouts + n_bypassed);
    assert_ne!(stats.breaker, Some(BreakerState::Closed));
}
