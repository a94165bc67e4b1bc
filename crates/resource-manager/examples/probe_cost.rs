//! What a sample of the machine costs: `cargo run --release -p resource-manager --example probe_cost`.
//!
//! Takes 1,000 samples and prints the processor time and the time of one, and the share of a core that takes at a sample
//! a second.

use std::error::Error;
use std::io::{Write, stdout};
use std::time::Instant;

use resource_manager::{ResourceProbe, SystemProbe};

const N_SAMPLES: u32 = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let probe = SystemProbe::new();
    let sample = probe.sample();
    let (started, used_before) = (Instant::now(), used_nanos()?);
    for _ in 0..N_SAMPLES {
        std::hint::black_box(probe.sample());
    }
    let wall = started.elapsed().as_nanos() as f64 / f64::from(N_SAMPLES);
    let used = (used_nanos()? - used_before) as f64 / f64::from(N_SAMPLES);
    let mut out = stdout().lock();
    writeln!(out, "{sample:#?}")?;
    writeln!(
        out,
        "a sample: {:.0} µs of processor time, {:.0} µs in all; once a second: {:.4} % of a core",
        used / 1e3,
        wall / 1e3,
        used / 1e7
    )?;
    Ok(())
}

/// What this thread, the only one, has used of the processor, in nanoseconds.
fn used_nanos() -> Result<u64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    Ok(text.split_ascii_whitespace().next().unwrap_or_default().parse()?)
}
