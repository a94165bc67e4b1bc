//! A cache for values of one's own, without anything else of this workspace: `cargo run --example own_value`.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cache_tiers::{Entry, KeySpace, MemoryConfig, MemoryTier, SystemClock, normalize};

/// What is dear to work out and worth keeping.
#[derive(Debug)]
struct Report {
    title: String,
    n_primes: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let space = KeySpace::builder("cache-tiers example 2025-01").part("revision", b"1").build();
    let config = MemoryConfig { max_entries: 1_000, max_bytes: 1 << 20, ..MemoryConfig::default() };
    // Values are cloned when read, so a large one is kept behind an `Arc`.
    let cache = MemoryTier::new(config, Arc::new(SystemClock))
        .with_weigher(|report: &Arc<Report>| size_of::<Report>() + report.title.len());

    let mut out = std::io::stdout().lock();
    for question in ["How many primes below 200000?", "Are 2 and 3 prime?", "  how many PRIMES below 200000 "]
    {
        let started = Instant::now();
        let key = space.key([normalize(question).as_bytes()]);
        let (report, origin) = match cache.get(&key) {
            Some(entry) => (entry.value, "cached"),
            None => {
                let report = Arc::new(work_out(question));
                cache.insert(key, Entry { value: Arc::clone(&report), ttl: Duration::from_secs(60) })?;
                (report, "worked out")
            }
        };
        let elapsed = started.elapsed();
        writeln!(out, "{origin:>10} in {elapsed:>11.1?}: {} ({})", report.n_primes, report.title)?;
    }
    writeln!(out, "{:#?}", cache.stats())?;
    Ok(())
}

fn work_out(question: &str) -> Report {
    let below = question.split_whitespace().filter_map(|word| word.trim_matches('?').parse().ok()).max();
    let below: u32 = below.unwrap_or(4);
    let n_primes = (2..below).filter(|n| (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0)).count();
    Report { title: format!("primes below {below}"), n_primes }
}
