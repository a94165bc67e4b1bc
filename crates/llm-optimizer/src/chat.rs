//! What is asked of a model, and what it replies.

use std::sync::Arc;
use std::time::Duration;

use hp_base::Deadline;

use crate::{MicroDollars, ReplyReaders, SchemaSupport};

/// What is asked of a model.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    /// The conversation so far, the model's instructions first.
    pub messages: Vec<Message>,
    /// Tokens of the reply at the most; a reply that is cut there has [`Finish::Length`].
    pub max_output_tokens: u32,
    /// How much chance there is in the reply, in [0, 2]; 0 for as little as the provider can.
    pub temperature: f32,
    /// What form the reply must have.
    pub format: ReplyFormat,
    /// Whether the reply is sent as it is written, so that a [reader](Self::readers) has it early.
    pub stream: bool,
    /// When the answer must be there; a call that cannot make it is not begun.
    pub deadline: Deadline,
    /// How much longer than that a call may take that has been sent: its reply is still of use, though not to the one
    /// who asked. Nothing is begun within it.
    pub grace: Duration,
    /// Who reads along while the reply arrives, an attempt at a time.
    pub readers: Option<Arc<dyn ReplyReaders>>,
    /// How many tokens the prompt has, if somebody has counted; budgets reserve by it.
    pub n_prompt_tokens: Option<u32>,
}

impl ChatRequest {
    /// A request for free text, of 256 tokens at the most, streamed, without a deadline.
    #[must_use]
    pub fn new(messages: Vec<Message>) -> Self {
        Self {
            messages,
            max_output_tokens: 256,
            temperature: 0.0,
            format: ReplyFormat::Text,
            stream: true,
            deadline: Deadline::never(),
            grace: Duration::ZERO,
            readers: None,
            n_prompt_tokens: None,
        }
    }

    /// When a call that has been sent is given up.
    #[must_use]
    pub fn given_up_at(&self) -> Deadline {
        self.deadline.later_by(self.grace)
    }
}

/// A part of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub text: Arc<str>,
    /// Whether the conversation up to and including this message recurs, so that the provider should keep what it has
    /// worked out of it. Providers that need no mark ignore it.
    pub ends_cacheable_prefix: bool,
}

impl Message {
    /// A message.
    #[must_use]
    pub fn new(role: Role, text: impl Into<Arc<str>>) -> Self {
        Self { role, text: text.into(), ends_cacheable_prefix: false }
    }

    /// The message, as the end of what recurs.
    #[must_use]
    pub fn ending_cacheable_prefix(mut self) -> Self {
        self.ends_cacheable_prefix = true;
        self
    }
}

/// Who speaks in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The one who says what the model is to do.
    System,
    /// The one who asks; a stranger's words belong here and nowhere else.
    User,
    /// The model.
    Assistant,
}

/// What form a reply must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyFormat {
    /// Any.
    Text,
    /// JSON of a schema. Providers that cannot hold a model to it are asked in the nearest way they have, so the reply
    /// is to be checked all the same.
    Schema(Arc<ReplySchema>),
}

/// A JSON Schema with the name and the description that providers want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplySchema {
    /// A name of letters, digits, `_` and `-`, 64 at the most.
    pub name: String,
    /// What the reply is, in a sentence.
    pub description: String,
    /// The schema, as JSON text, since the order of properties is the order they are to come in: of an object, all of
    /// whose properties are required, none other allowed.
    pub schema: String,
}

/// What a model has replied.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatReply {
    /// The text, as far as it was read.
    pub text: String,
    /// Why it ends where it ends.
    pub finish: Finish,
    /// What the provider says it took. None where it did not say, as when a reader had enough.
    pub usage: Option<Usage>,
    /// How the reply came about.
    pub report: CallReport,
}

/// Why a reply ends where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Finish {
    /// The model was done.
    Stop,
    /// The reply has as many tokens as were allowed; what it should have said is not all there.
    Length,
    /// The provider has withheld it.
    Filtered,
    /// The reader had enough.
    Enough,
}

/// Tokens, as the provider counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt, those read from the provider's cache and written to it included.
    pub input_tokens: u32,
    /// Of those, the ones read from the provider's cache, which are cheaper.
    pub cached_input_tokens: u32,
    /// Of those, the ones written to the provider's cache, which may be dearer.
    pub cache_write_tokens: u32,
    /// Of the reply, thoughts that are not shown included.
    pub output_tokens: u32,
}

/// How a reply came about; decorators add what they know.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CallReport {
    /// The name of the model that has replied.
    pub model: Arc<str>,
    /// How many requests were sent for it, those in vain included.
    pub n_attempts: u32,
    /// Whether a second request was sent while the first was under way.
    pub is_hedged: bool,
    /// Whether the model asked first could not answer.
    pub is_fallback: bool,
    /// From the request to the first piece of text.
    pub time_to_first_token: Duration,
    /// By what means the reply was held to its schema, if it was; never [`SchemaSupport::Auto`].
    pub schema_support: Option<SchemaSupport>,
    /// What it costs, if anybody reckons. Requests in vain are not in it.
    pub cost: Option<MicroDollars>,
}
