//! A classifier that one has already, with caches, coalescing, lanes, a deadline and a stand-in around it.
//!
//! `cargo run --release -p classifier-core --example existing_classifier`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use classifier_core::{
    ClassificationSystem, Classifier, Config, EmbeddedClassifier, Request, Result, Source, Taxonomy, Verdict,
};

/// Stands for whatever is there: it takes its time, and now and then all the time there is.
#[derive(Debug)]
struct Existing {
    inner: EmbeddedClassifier,
}

#[async_trait]
impl Classifier for Existing {
    async fn classify(&self, request: &Request<'_>) -> Result<Verdict> {
        let takes = if request.query.contains("slow") { 60_000 } else { 50 };
        tokio::time::sleep(Duration::from_millis(takes)).await;
        Ok(Verdict::new(self.inner.classify(request.query), Source::Llm))
    }

    fn taxonomy(&self) -> &Taxonomy {
        self.inner.taxonomy()
    }

    /// Part of every cache key: another one for every version that may answer differently.
    fn revision(&self) -> [u8; 16] {
        *b"existing 1.0    "
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config { max_response_time: Duration::from_secs(1), ..Config::default() };
    let system = ClassificationSystem::builder(&config)
        .with_classifier(Arc::new(Existing { inner: EmbeddedClassifier::built_in() }))
        .with_fallback(Arc::new(EmbeddedClassifier::built_in()))
        .build()?;
    let system = Arc::new(system);

    // Five who ask the same at once: one asks the classifier.
    let askers: Vec<_> = (0..5)
        .map(|_| {
            let system = system.clone();
            tokio::spawn(
                async move { system.classify(&Request::new("How does leucine activate mTOR?")).await },
            )
        })
        .collect();
    for asker in askers {
        let metadata = asker.await??.metadata;
        println!("deduplicated: {}, {:?}", metadata.deduplicated, metadata.optimizations_applied);
    }

    // One that does not answer in time: the stand-in does.
    let outcome = system.classify(&Request::new("a slow question on metabolites")).await?;
    println!("degraded: {:?} after {:?}", outcome.metadata.degraded_reason, outcome.metadata.response_time);
    system.close().await;
    Ok(())
}
