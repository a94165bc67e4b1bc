//! The disk tier at full size: `cargo run --release --example disk_endurance --features disk -- [entries] [MiB] [folder]`.
//!
//! Writes ten million values of 400 bytes against a bound of 1000 MiB, unless told otherwise, and measures meanwhile
//! what the folder takes of the disk and how long a hit takes; then how long the full database takes to open, after a
//! clean end and after a kill.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cache_tiers::{
    CacheError, CacheTier, Codec, DiskConfig, DiskTier, Entry, Key, Probe, SystemClock, TierState,
};

const LONG: Duration = Duration::from_secs(24 * 3600);
const TOGETHER: u64 = 256;

/// Values are bytes already.
#[derive(Debug)]
struct Raw;

impl Codec<Vec<u8>> for Raw {
    fn version(&self) -> u16 {
        1
    }

    fn encode(&self, value: &Vec<u8>, out: &mut Vec<u8>) -> Result<(), CacheError> {
        out.extend(value);
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, CacheError> {
        Ok(bytes.to_vec())
    }
}

type Tier = DiskTier<Vec<u8>>;

fn open(folder: &Path, max_bytes: u64) -> Tier {
    // Long enough never to be late, so that slow reads are measured and not cut off.
    let patience = Duration::from_secs(60);
    let config = DiskConfig {
        max_bytes,
        ttl: LONG,
        open_wait: patience,
        read_timeout: patience,
        write_timeout: patience,
        ..DiskConfig::new(folder)
    };
    DiskTier::new(config, Arc::new(Raw), Arc::new(SystemClock))
}

/// An even hash of the number, as keys are.
fn key(number: u64) -> Key {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mix(number).to_le_bytes());
    bytes[8..].copy_from_slice(&mix(!number).to_le_bytes());
    Key::from_bytes(bytes)
}

/// 400 bytes that cannot be compressed and say whose they are.
fn value(number: u64) -> Vec<u8> {
    (0..50).flat_map(|word| mix(number ^ (word << 48)).to_le_bytes()).collect()
}

/// The finaliser of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let n_entries: u64 = arguments.next().map_or(Ok(10_000_000), |text| text.parse())?;
    let max_bytes = arguments.next().map_or(Ok(1000), |text| text.parse::<u64>())? << 20;
    let folder = arguments.next().map_or_else(|| std::env::temp_dir().join("disk_endurance"), PathBuf::from);
    if arguments.next().as_deref() == Some("until-killed") {
        return write_until_killed(&folder, max_bytes, n_entries).await;
    }
    fs::remove_dir_all(&folder).ok();
    let mut out = std::io::stdout();

    let tier = Arc::new(open(&folder, max_bytes));
    let n_written = Arc::new(AtomicU64::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let sampler = std::thread::spawn({
        let (folder, is_over) = (folder.clone(), Arc::clone(&is_over));
        move || {
            let mut most = 0;
            while !is_over.load(Ordering::Relaxed) {
                most = disk_use(&folder).max(most);
                std::thread::park_timeout(Duration::from_millis(5));
            }
            most
        }
    });
    // On a thread of its own, so that what is measured is the tier and not the queue of tasks before it.
    let reader = std::thread::spawn({
        let read = read(Arc::clone(&tier), Arc::clone(&n_written), Arc::clone(&is_over));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        move || runtime.block_on(read)
    });
    let started = Instant::now();
    for start in (0..n_entries).step_by(TOGETHER as usize) {
        write(&tier, start..(start + TOGETHER).min(n_entries)).await?;
        n_written.store(start, Ordering::Relaxed);
        if start % (TOGETHER * 4096) == 0 {
            writeln!(
                out,
                "{start:>9} written, {:.0} a second",
                start as f64 / started.elapsed().as_secs_f64()
            )?;
        }
    }
    let elapsed = started.elapsed().as_secs_f64();
    is_over.store(true, Ordering::Relaxed);
    let (probed, fetched, n_misses) = reader.join().map_err(|_| "the reader ended early")?;
    let most = sampler.join().map_err(|_| "the sampler ended early")?;
    writeln!(
        out,
        "{n_entries} entries of 400 bytes in {elapsed:.0} s, {:.0} a second",
        n_entries as f64 / elapsed
    )?;
    writeln!(
        out,
        "disk use: at most {most} bytes, {:.3} of the bound of {max_bytes}",
        most as f64 / max_bytes as f64
    )?;
    writeln!(out, "concurrent hits: {}", percentiles([&probed[..], &fetched[..]].concat()))?;
    writeln!(out, "  found in memory: {}", percentiles(probed))?;
    writeln!(out, "  found on disk: {}", percentiles(fetched))?;
    writeln!(out, "  misses: {n_misses}")?;
    writeln!(out, "{:?}", tier.stats())?;
    writeln!(out, "resident memory: {}", resident().unwrap_or_default())?;
    tier.close().await;
    drop(tier);

    let opened = time_to_open(&folder, max_bytes).await;
    writeln!(out, "open after a clean end: {opened:?}")?;
    for _ in 0..3 {
        kill_a_writer(&folder, max_bytes, n_entries)?;
        let opened = time_to_open(&folder, max_bytes).await;
        writeln!(out, "open after a kill: {opened:?}")?;
    }
    fs::remove_dir_all(&folder)?;
    Ok(())
}

async fn write(tier: &Tier, numbers: std::ops::Range<u64>) -> Result<(), CacheError> {
    let put = |number| tier.put(key(number), Entry { value: value(number), ttl: LONG });
    futures_util::future::try_join_all(numbers.map(put)).await?;
    Ok(())
}

/// Looks up what has been written, half of it lately and half of it long ago, until it is told to stop.
///
/// Returns how long hits took, those found by a probe and those that had to be fetched, and how many were none.
async fn read(
    tier: Arc<Tier>,
    n_written: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
) -> (Vec<Duration>, Vec<Duration>, u64) {
    let (mut probed, mut fetched, mut n_misses, mut lot) = (Vec::new(), Vec::new(), 0, 1_u64);
    // Entries beyond this may have made room by now.
    let still_there = 1_500_000;
    while !is_over.load(Ordering::Relaxed) {
        lot = mix(lot.wrapping_add(0x9e37_79b9_7f4a_7c15));
        let written = n_written.load(Ordering::Relaxed);
        let back = if lot & 1 == 0 { 20_000 } else { still_there };
        let number = written.saturating_sub(1 + (lot >> 1) % back);
        let key = key(number);
        let started = Instant::now();
        let (found, hits) = match tier.probe(&key) {
            Probe::Hit(entry) => (Some(entry), &mut probed),
            Probe::Miss => (None, &mut probed),
            Probe::Pending => (tier.fetch(&key).await.unwrap_or(None), &mut fetched),
        };
        let elapsed = started.elapsed();
        match found {
            Some(entry) if entry.value == value(number) => hits.push(elapsed),
            _ => n_misses += 1,
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (probed, fetched, n_misses)
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
    format!("{}, p50 {:?}, p99 {:?}, p99.9 {:?}", times.len(), at(0.5), at(0.99), at(0.999))
}

async fn time_to_open(folder: &Path, max_bytes: u64) -> Duration {
    let started = Instant::now();
    let tier = open(folder, max_bytes);
    while tier.stats().state != TierState::Ready && started.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let opened = started.elapsed();
    tier.close().await;
    opened
}

/// Lets a process write for a while, and kills it: its last writes are in the log alone.
fn kill_a_writer(folder: &Path, max_bytes: u64, n_entries: u64) -> Result<(), Box<dyn Error>> {
    let mut child = Command::new(std::env::current_exe()?)
        .args([n_entries.to_string(), (max_bytes >> 20).to_string()])
        .arg(folder)
        .arg("until-killed")
        .spawn()?;
    std::thread::park_timeout(Duration::from_secs(8));
    child.kill()?;
    child.wait()?;
    Ok(())
}

async fn write_until_killed(folder: &Path, max_bytes: u64, first: u64) -> Result<(), Box<dyn Error>> {
    let tier = open(folder, max_bytes);
    for start in (first..).step_by(TOGETHER as usize) {
        write(&tier, start..start + TOGETHER).await?;
    }
    Ok(())
}

/// What the files in a folder and in those below it take of the disk.
fn disk_use(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_use(&entry.path()),
        Ok(metadata) => allocated(&metadata),
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}

fn allocated(metadata: &fs::Metadata) -> u64 {
    #[cfg(unix)]
    let bytes = std::os::unix::fs::MetadataExt::blocks(metadata) * 512;
    #[cfg(not(unix))]
    let bytes = metadata.len();
    bytes
}

fn resident() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS"))?;
    Some(line.trim_start_matches("VmRSS:").trim().to_owned())
}
