//! The bound on the disk under steady writes, and what many short lives leave behind.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

/// The bytes that files in a folder take of the disk, and their number.
fn disk_use(folder: &Path) -> (u64, usize) {
    let (mut n_bytes, mut n_files) = (0, 0);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // A file may be gone by now.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            let (bytes, files) = disk_use(&entry.path());
            (n_bytes, n_files) = (n_bytes + bytes, n_files + files);
        } else {
            (n_bytes, n_files) = (n_bytes + metadata.blocks() * 512, n_files + 1);
        }
    }
    (n_bytes, n_files)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_times_the_bound_stay_within_it() {
    const BOUND: u64 = 24 << 20;
    const N_ENTRIES: u64 = 20 * BOUND / 400;
    let folder = tempfile::tempdir().unwrap();
    let tier = open_with(DiskConfig { max_bytes: BOUND, ..config(folder.path()) }, 1, Arc::new(SystemClock));
    let (is_over, most, n_samples) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                most.fetch_max(disk_use(folder.path()).0, Ordering::Relaxed);
                n_samples.fetch_add(1, Ordering::Relaxed);
                std::thread::park_timeout(Duration::from_millis(1));
            }
        });
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                for start in (0..N_ENTRIES).step_by(5_000) {
                    put_many(&tier, start..(start + 5_000).min(N_ENTRIES), 1).await;
                    let recent = start.saturating_sub(7_000);
                    assert_eq!(look_up(&tier, recent).await.unwrap(), Some(1), "a recent entry is gone");
                }
            });
        });
        is_over.store(true, Ordering::Relaxed);
    });
    let (most, n_samples) = (most.into_inner(), n_samples.into_inner());
    let share = most as f64 / BOUND as f64;
    println!(
        "{N_ENTRIES} entries of 400 bytes against {BOUND} bytes: at most {most}, {share:.3} of the bound, in {n_samples} samples"
    );
    assert!(n_samples > 100 && share <= 1.15 && share > 0.5, "{share}");
    let mut n_left = 0;
    for number in (0..N_ENTRIES).step_by(1000) {
        n_left += u64::from(look_up(&tier, number).await.unwrap().is_some());
    }
    let kept = n_left as f64 * 1000.0 * 400.0 / BOUND as f64;
    assert!((0.6..=1.0).contains(&kept), "what is found comes to {kept} of the bound");
    let stats = tier.stats();
    assert!(stats.bytes <= BOUND * 115 / 100 && stats.dropped_writes == 0, "{stats:?}");
}

#[tokio::test]
async fn three_hundred_short_lives_leave_few_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut slowest = Duration::ZERO;
    for life in 0..300 {
        let started = std::time::Instant::now();
        let tier = open(folder.path());
        put(&tier, life, 1).await.unwrap();
        slowest = slowest.max(started.elapsed());
        drop(tier);
    }
    let (n_bytes, n_files) = disk_use(folder.path());
    println!("300 lives of one entry each: {n_files} files, {n_bytes} bytes, slowest start {slowest:?}");
    assert!(n_files <= 40, "{n_files} files are left");
    assert!(n_bytes <= 4 << 20, "{n_bytes} bytes are left");
    let tier = open(folder.path());
    for life in 0..300 {
        assert_eq!(look_up(&tier, life).await.unwrap(), Some(1));
    }
}
