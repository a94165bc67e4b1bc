//! The disk tier, over real folders.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "in tests a panic is how a failure is reported, and figures are for whoever reads the output"
)]

mod bounds;
mod crash;
mod damage;
mod hung;
mod life;
mod model;
mod places;

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cache_tiers::{
    CacheError, CacheErrorKind, CacheTier, Clock, Codec, DiskConfig, DiskTier, Entry, Key, KeySpace, Probe,
    SystemClock, TierState,
};

type Disk = DiskTier<Vec<u8>>;

const LONG: Duration = Duration::from_secs(3600);
/// How long a condition is waited for that is sure to come: no test measures how fast.
const PATIENCE: Duration = Duration::from_secs(60);

/// A small tier that never gives up for want of time, and looks at troubles often.
fn config(path: &Path) -> DiskConfig {
    DiskConfig {
        max_bytes: 16 << 20,
        ttl_jitter: 0.0,
        open_wait: PATIENCE,
        read_timeout: PATIENCE,
        write_timeout: PATIENCE,
        retry_first: Duration::from_millis(5),
        retry_longest: Duration::from_millis(50),
        ..DiskConfig::new(path)
    }
}

fn open(path: &Path) -> Disk {
    open_with(config(path), 1, Arc::new(SystemClock))
}

fn open_with(config: DiskConfig, codec_version: u16, clock: Arc<dyn Clock>) -> Disk {
    DiskTier::new(config, Arc::new(Raw(codec_version)), clock)
}

/// Values are bytes already.
#[derive(Debug)]
struct Raw(u16);

impl Codec<Vec<u8>> for Raw {
    fn version(&self) -> u16 {
        self.0
    }

    fn encode(&self, value: &Vec<u8>, out: &mut Vec<u8>) -> Result<(), CacheError> {
        out.extend(value);
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, CacheError> {
        Ok(bytes.to_vec())
    }
}

fn key(number: u64) -> Key {
    KeySpace::builder("cache-tiers tests 2026-01").build().key([number.to_le_bytes().as_slice()])
}

/// A value that says whose it is and of which generation, and cannot be compressed.
fn value(number: u64, generation: u64) -> Vec<u8> {
    let mut bytes = [number.to_le_bytes(), generation.to_le_bytes()].concat();
    let mut state = number ^ generation.rotate_left(32);
    while bytes.len() < 400 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.push((state >> 56) as u8);
    }
    bytes
}

/// The generation of a value that is all right.
#[track_caller]
fn generation(number: u64, bytes: &[u8]) -> u64 {
    let generation = u64::from_le_bytes(bytes[8..16].try_into().unwrap());
    assert_eq!(bytes, value(number, generation), "the value under key {number} is wrong");
    generation
}

async fn put(tier: &Disk, number: u64, generation: u64) -> Result<(), CacheError> {
    tier.put(key(number), Entry { value: value(number, generation), ttl: LONG }).await
}

async fn put_many(tier: &Disk, numbers: std::ops::Range<u64>, generation: u64) {
    let numbers: Vec<u64> = numbers.collect();
    for group in numbers.chunks(256) {
        let puts = group.iter().map(|&number| put(tier, number, generation));
        for done in futures_util::future::join_all(puts).await {
            done.unwrap();
        }
    }
}

/// A look-up as callers make it.
async fn look_up(tier: &Disk, number: u64) -> Result<Option<u64>, CacheError> {
    let entry = match tier.probe(&key(number)) {
        Probe::Hit(entry) => Some(entry),
        Probe::Miss => None,
        Probe::Pending => tier.fetch(&key(number)).await?,
    };
    Ok(entry.map(|entry| generation(number, &entry.value)))
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "waited in vain until {what}");
}

async fn until_state(tier: &Disk, state: TierState) {
    until(&format!("the state is {state:?}"), || tier.stats().state == state).await;
}

/// Writes go well again, which may take a moment after the state says so: the breaker has to close too.
async fn until_written(tier: &Disk, number: u64, generation: u64) {
    let wait = async {
        while put(tier, number, generation).await.is_err() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "no write went well, {:?}", tier.stats());
}

#[track_caller]
fn check_kind<T: Debug>(result: Result<T, CacheError>, kind: CacheErrorKind) {
    assert_eq!(result.unwrap_err().kind(), kind);
}
