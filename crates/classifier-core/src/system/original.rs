//! The names that the original system gave to what is done here, for those who come from it.

use hp_base::Priority;

use super::{CachedAnswer, ClassificationSystem, Outcome};
use crate::classifier::Request;
use crate::config::Config;
use crate::error::Result;
use crate::types::Metadata;

/// The original's name of [`ClassificationSystem`].
pub type HighPerformanceClassificationSystem = ClassificationSystem;

/// The original's name of [`Config`].
pub type HighPerformanceConfig = Config;

impl ClassificationSystem {
    /// [`classify`](Self::classify) under the name and with the arguments it had in the original.
    ///
    /// # Errors
    /// As [`classify`](Self::classify).
    pub async fn classify_query_optimized(
        &self,
        query_text: &str,
        priority: Priority,
    ) -> Result<(CachedAnswer, Metadata)> {
        let request = Request { priority, ..Request::new(query_text) };
        let Outcome { classification, metadata } = self.classify(&request).await?;
        Ok((classification, metadata))
    }
}

/// A system that is built and [started](ClassificationSystem::start).
///
/// # Errors
/// Those of [`SystemBuilder::build`](super::SystemBuilder::build).
pub async fn create_high_performance_system(config: &Config) -> Result<ClassificationSystem> {
    let system = ClassificationSystem::new(config)?;
    system.start().await;
    Ok(system)
}

/// Lends a started system to `body` and shuts it down afterwards, which is what the original's context manager did.
/// Where `body` is dropped before it is done, dropping the system ends its work as well.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), classifier_core::Error> {
/// use classifier_core::{Config, Priority, high_performance_classification_context};
///
/// let mut config = Config::default();
/// config.l2.enabled = false;
/// let category = high_performance_classification_context(&config, async |system| {
///     let (answer, metadata) = system.classify_query_optimized("What is a metabolome?", Priority::High).await?;
///     assert!(metadata.target_met);
///     Ok::<_, classifier_core::Error>(answer.category.clone())
/// })
/// .await??;
/// assert_eq!(category.as_str(), "GENERAL");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of building the system.
pub async fn high_performance_classification_context<T>(
    config: &Config,
    body: impl AsyncFnOnce(&ClassificationSystem) -> T,
) -> Result<T> {
    let system = create_high_performance_system(config).await?;
    let result = body(&system).await;
    system.close().await;
    Ok(result)
}
