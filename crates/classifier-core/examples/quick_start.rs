//! The quick start: a question, where it goes, and how that came about. Needs nothing.
//!
//! `cargo run --release -p classifier-core --example quick_start`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use classifier_core::{Config, Priority, create_high_performance_system};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let system = create_high_performance_system(&Config::default()).await?;
    let query = "What is metabolomics analysis in clinical research?";
    for _ in 0..2 {
        let (answer, metadata) = system.classify_query_optimized(query, Priority::Normal).await?;
        println!("category:      {} -> {}", answer.category, answer.route);
        println!("confidence:    {:.3}", answer.confidence);
        println!("response time: {:?}", metadata.response_time);
        println!("target met:    {}", metadata.target_met);
        println!("cache hit:     {}", metadata.cache_hit);
        println!("by means of:   {:?}\n", metadata.optimizations_applied);
    }
    let report = system.shutdown(std::time::Duration::from_secs(2)).await;
    println!("everything is written down: {}", report.all_written);
    Ok(())
}
