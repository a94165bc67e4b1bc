//! The path to a language model, as far as this build has one.

#[cfg(feature = "llm")]
mod build;
#[cfg(feature = "llm")]
mod path;

#[cfg(feature = "llm")]
pub use path::{Estimate, LlmPath, ModelStats};
#[cfg(feature = "llm")]
pub use present::ledger;
pub(super) use present::{LlmPart, build};

#[cfg(feature = "llm")]
mod present {
    //! There is one if the configuration asks for it.

    use std::sync::Arc;

    use hp_base::Clock;
    use llm_optimizer::Ledger;

    use super::path::LlmPath;
    use crate::classifier::BatchClassifier;
    use crate::config::Config;
    use crate::embedded::EmbeddedClassifier;
    use crate::error::Result;

    /// The path to a language model that a system has.
    #[derive(Debug, Default)]
    pub(in crate::system) struct LlmPart(Option<Arc<LlmPath>>);

    impl LlmPart {
        pub(in crate::system) fn path(&self) -> Option<&LlmPath> {
            self.0.as_deref()
        }

        pub(in crate::system) async fn close(&self) {
            if let Some(path) = &self.0 {
                path.close().await;
            }
        }

        /// Does ahead what the first question would otherwise wait for.
        pub(in crate::system) fn warming(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
            let path = self.0.clone()?;
            Some(async move { path.warm().await })
        }
    }

    /// Who decides, and the path; to be called inside of the runtime in which it is to work.
    pub(in crate::system) fn build(
        config: &Config,
        embedded: Arc<EmbeddedClassifier>,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Arc<dyn BatchClassifier>, LlmPart)> {
        let path = super::build::build(config, embedded, clock)?;
        Ok((path.cascade().clone(), LlmPart(Some(Arc::new(path)))))
    }

    /// The ledger of what language models may cost, as a configuration says: on Redis where it names one, else in a
    /// file. To be called inside of a tokio runtime.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig) when it cannot be kept there.
    pub fn ledger(config: &Config, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Ledger>> {
        super::build::open_ledger(config, clock)
    }
}

#[cfg(not(feature = "llm"))]
mod present {
    //! There is none in this build.

    use std::future::{Ready, ready};
    use std::sync::Arc;

    use hp_base::Clock;

    use crate::classifier::BatchClassifier;
    use crate::config::Config;
    use crate::embedded::EmbeddedClassifier;
    use crate::error::{Error, ErrorKind, Result};

    /// No path.
    #[derive(Debug, Default)]
    pub(in crate::system) struct LlmPart;

    impl LlmPart {
        pub(in crate::system) fn close(&self) -> Ready<()> {
            ready(())
        }

        pub(in crate::system) fn warming(&self) -> Option<Ready<()>> {
            None
        }
    }

    pub(in crate::system) fn build(
        _config: &Config,
        _embedded: Arc<EmbeddedClassifier>,
        _clock: &Arc<dyn Clock>,
    ) -> Result<(Arc<dyn BatchClassifier>, LlmPart)> {
        let message = "this build cannot ask a language model; build with the feature `llm`, or set classifier_mode = \
                       \"embedded\"";
        Err(Error::new(ErrorKind::InvalidConfig, message))
    }
}
