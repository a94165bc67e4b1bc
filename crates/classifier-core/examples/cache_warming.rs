//! Filling the caches before anybody asks.
//!
//! `cargo run --release -p classifier-core --example cache_warming`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::future::pending;

use classifier_core::config::WarmingConfig;
use classifier_core::{ClassificationSystem, Config, Request};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let system = ClassificationSystem::new(&Config::default())?;
    let queries = ["What is metabolomics?", "LC-MS analysis methods", "Statistical analysis approaches"];
    // Each question, and the two likeliest of its variations.
    let options = WarmingConfig { depth: 2, ..WarmingConfig::default() };
    let report = system.warm(queries.map(str::to_owned), &options, |_| {}, pending()).await;
    println!("{} worked out, {} known already, {} failed", report.warmed, report.skipped, report.failed);

    let outcome = system.classify(&Request::new("what is Metabolomics")).await?;
    println!("cache hit: {} after {:?}", outcome.metadata.cache_hit, outcome.metadata.response_time);
    system.close().await;
    Ok(())
}
