//! What the buffer pool gains over plain allocation: `cargo run --release -p resource-manager --example buffer_pool`.
//!
//! Takes a buffer, writes to it and drops it, from the pool and from the allocator in turn, so that both meet the same
//! machine; one at a time, as an allocator likes it best, and 16 that are held at once, as requests in flight hold
//! them. Prints nanoseconds for a buffer, the mean and the 99th percentile, and how many allocations the pool made.

use std::hint::black_box;
use std::io::{self, Write};
use std::sync::Barrier;
use std::time::Instant;

use resource_manager::BufferPool;

const SIZES: [usize; 4] = [256, 4 * 1024, 64 * 1024, 1024 * 1024];
const N_ROUNDS: usize = 60;
/// Buffers that are timed together, since one is too quick for the clock.
const N_TOGETHER: usize = 16;

/// Nanoseconds a buffer.
struct Figures {
    mean: f64,
    p99: f64,
}

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "| buffer | held, written | threads | plain mean | pool mean | plain p99 | pool p99 | pool allocations |"
    )?;
    writeln!(out, "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |")?;
    for n_threads in [1, 4] {
        for size in SIZES {
            for how in [Use::Touched, Use::Written, Use::Held] {
                let (plain, pooled, allocations) = compare(size, n_threads, how);
                let (n_allocated, n_taken) = allocations;
                writeln!(
                    out,
                    "| {size} B | {} | {n_threads} | {:.0} ns | {:.0} ns | {:.0} ns | {:.0} ns | {n_allocated} of {n_taken} |",
                    how.name(),
                    plain.mean,
                    pooled.mean,
                    plain.p99,
                    pooled.p99,
                )?;
            }
        }
    }
    Ok(())
}

/// What is done with buffers.
#[derive(Clone, Copy)]
enum Use {
    /// One at a time, and one byte of it is written.
    Touched,
    /// One at a time, and all of it is written.
    Written,
    /// Many at once, and all of each is written.
    Held,
}

impl Use {
    fn name(self) -> &'static str {
        match self {
            Self::Touched => "1, one byte",
            Self::Written => "1, all",
            Self::Held => "16, all",
        }
    }

    /// Nanoseconds a buffer takes.
    fn time<B: AsMut<Vec<u8>>>(self, size: usize, take: impl Fn() -> B) -> f64 {
        let n_bytes = match self {
            Self::Touched => 1,
            Self::Written | Self::Held => size,
        };
        let mut held = Vec::with_capacity(N_TOGETHER);
        let started = Instant::now();
        for _ in 0..N_TOGETHER {
            let mut buffer = black_box(take());
            buffer.as_mut().resize(n_bytes, 7);
            black_box(buffer.as_mut());
            if let Self::Held = self {
                held.push(buffer);
            }
        }
        held.clear();
        started.elapsed().as_nanos() as f64 / N_TOGETHER as f64
    }
}

/// A buffer of the allocator's.
struct Plain(Vec<u8>);

impl AsMut<Vec<u8>> for Plain {
    fn as_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

fn compare(size: usize, n_threads: usize, how: Use) -> (Figures, Figures, (u64, u64)) {
    let pool = BufferPool::new(128 * 1024 * 1024);
    let start = Barrier::new(n_threads);
    // About the same time for each size.
    let n_samples = (256 * 1024 / size).clamp(4, 256);
    let threads: Vec<(Vec<f64>, Vec<f64>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads)
            .map(|_| {
                scope.spawn(|| {
                    let (mut plain, mut pooled) = (Vec::new(), Vec::new());
                    for _ in 0..N_ROUNDS {
                        start.wait();
                        let take = || Plain(Vec::with_capacity(size));
                        plain.extend((0..n_samples).map(|_| how.time(size, take)));
                        start.wait();
                        pooled.extend((0..n_samples).map(|_| how.time(size, || pool.take(size))));
                    }
                    (plain, pooled)
                })
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let (plain, pooled): (Vec<_>, Vec<_>) = threads.into_iter().unzip();
    let stats = pool.stats();
    let allocations = (stats.n_allocated, stats.n_allocated + stats.n_reused);
    (figures(plain.concat()), figures(pooled.concat()), allocations)
}

fn figures(mut samples: Vec<f64>) -> Figures {
    samples.sort_by(f64::total_cmp);
    let mean = samples.iter().sum::<f64>() / samples.len() as f64;
    Figures { mean, p99: samples[samples.len() * 99 / 100] }
}
