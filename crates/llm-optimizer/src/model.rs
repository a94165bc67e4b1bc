//! The trait of everything that can be asked, and a model that cannot.

use std::fmt::{self, Debug, Display};

use async_trait::async_trait;

use crate::{ChatReply, ChatRequest, LlmError, LlmErrorKind};

/// A large language model that can be asked, directly or through decorators.
///
/// Its `Display` names the model, and what is around it, outermost first.
#[async_trait]
pub trait ChatModel: Debug + Display + Send + Sync + 'static {
    /// Asks once and waits for the reply. Dropping the future ends the call, at the provider too.
    ///
    /// # Errors
    /// Those of [`LlmErrorKind`]. A reply that is empty, or was cut at its length, is a reply.
    async fn chat(&self, request: &ChatRequest) -> Result<ChatReply, LlmError>;

    /// Does ahead what the first call would otherwise wait for: names resolved, connections opened. Never spends money.
    ///
    /// # Errors
    /// When the model cannot be reached.
    async fn warm(&self) -> Result<(), LlmError>;
}

const _: Option<&dyn ChatModel> = None;

/// No model: every call fails at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoModel;

impl Display for NoModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no model")
    }
}

#[async_trait]
impl ChatModel for NoModel {
    async fn chat(&self, _request: &ChatRequest) -> Result<ChatReply, LlmError> {
        Err(LlmError::new(LlmErrorKind::Unavailable, "there is no model"))
    }

    async fn warm(&self) -> Result<(), LlmError> {
        Ok(())
    }
}
