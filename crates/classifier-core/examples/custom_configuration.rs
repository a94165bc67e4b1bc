//! A configuration of one's own: in code, and from the same file, variables and flags that the command line reads.
//!
//! `cargo run --release -p classifier-core --example custom_configuration`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use classifier_core::config::Layers;
use classifier_core::{ClassificationSystem, Config, Priority, Request};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    // In code: a plain struct.
    let mut config = Config { target_response_time: Duration::from_millis(1200), ..Config::default() };
    config.l1.max_entries = 20_000;
    config.traffic.max_batch_size = 20;
    config.llm.budget.daily = 10.0;

    // By name, as in a file or a flag; what is wrong is told with the nearest right name.
    let flags = vec![("target_response_time_ms".to_owned(), "1200".to_owned())];
    let resolved = Layers { flags, ..Layers::default() }.resolve()?;
    assert_eq!(resolved.config.target_response_time, config.target_response_time);
    let misspelt = vec![("max_batchsize".to_owned(), "20".to_owned())];
    if let Err(error) = (Layers { flags: misspelt, ..Layers::default() }).resolve() {
        println!("{error}");
    }

    let system = ClassificationSystem::new(&config)?;
    let request =
        Request { priority: Priority::High, ..Request::new("LC-MS analysis for biomarker identification") };
    let outcome = system.classify(&request).await?;
    println!("{} in {:?}", outcome.classification.category, outcome.metadata.response_time);

    let stats = system.stats();
    println!("average response time: {:.3} ms", stats.response_times.avg_ms);
    println!("cache hit rate: {:.1} %", 100.0 * stats.cache.overall.hit_rate);
    for recommendation in system.recommendations() {
        println!("{:?}: {}", recommendation.priority, recommendation.issue);
    }
    system.close().await;
    Ok(())
}
