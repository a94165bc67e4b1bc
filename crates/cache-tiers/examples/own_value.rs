//! A cache for values of one's own, without anything else of this workspace: `cargo run --example own_value`, and with
//! `--features disk` a second run finds what the first has worked out.

use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cache_tiers::{KeySpace, MemoryConfig, MemoryTier, Retention, SystemClock, TieredCache, normalize};
use serde::{Deserialize, Serialize};

/// What is dear to work out and worth keeping.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Report {
    title: String,
    n_primes: usize,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock = Arc::new(SystemClock);
    let config = MemoryConfig { max_entries: 1_000, max_bytes: 1 << 20, ..MemoryConfig::default() };
    let memory = MemoryTier::new(config, clock.clone())
        .with_weigher(|report: &Report| size_of::<Report>() + report.title.len());
    let builder = TieredCache::builder(clock.clone()).memory(Arc::new(memory));
    #[cfg(feature = "disk")]
    let builder = {
        use cache_tiers::{DiskConfig, DiskTier, MessagePack};
        let config = DiskConfig::new(std::env::temp_dir().join("cache-tiers-example"));
        builder.disk(Arc::new(DiskTier::new(config, Arc::new(MessagePack::version(1)), clock)))
    };
    let cache = builder.build();

    // Whatever may change a value goes into its key: here the revision of the program that works it out.
    let space = KeySpace::builder("cache-tiers example 2025-01").part("revision", b"1").build();
    let hour = Duration::from_secs(3600);
    let mut out = std::io::stdout().lock();
    for question in ["How many primes below 200000?", "Are 2 and 3 prime?", "  how many PRIMES below 200000 "]
    {
        let started = Instant::now();
        let key = space.key([normalize(question).as_bytes()]);
        // Of many who ask at once, one works the value out.
        let load = || async { Ok::<_, Infallible>((work_out(question), Retention::everywhere(hour))) };
        let loaded = cache.get_or_load(&key, hour, load).await?;
        let Report { title, n_primes } = loaded.value;
        writeln!(out, "{:>11.1?} {:?}: {n_primes} ({title})", started.elapsed(), loaded.origin)?;
    }
    cache.close().await;
    writeln!(out, "{:#?}", cache.stats().overall)?;
    Ok(())
}

fn work_out(question: &str) -> Report {
    let below = question.split_whitespace().filter_map(|word| word.trim_matches('?').parse().ok()).max();
    let below: u32 = below.unwrap_or(4);
    let n_primes = (2..below).filter(|n| (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0)).count();
    Report { title: format!("primes below {below}"), n_primes }
}
