//! The wire formats of providers: what requests say, and how replies and errors are written.

pub(crate) mod anthropic;
pub(crate) mod openai;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::json::Json;
use crate::tokens::Piece;

/// Whose wire format a request is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// `POST …/chat/completions`.
    #[serde(rename = "openai")]
    OpenAi,
    /// `POST …/openai/deployments/<name>/chat/completions?api-version=…`, the same with another key header.
    Azure,
    /// `POST …/messages`.
    Anthropic,
}

/// A request, whosever its format.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) model: String,
    /// What is read, in the order in which it is read.
    pub(crate) prompt: Vec<Part>,
    /// The last message of the user.
    pub(crate) asked: String,
    pub(crate) form: Form,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) is_streamed: bool,
    /// Whether a stream says what it took; OpenAI's does when asked.
    pub(crate) reports_usage: bool,
}

/// A part of a prompt.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) text: Arc<str>,
    /// Whether the prompt up to its end is marked as worth keeping.
    pub(crate) is_marked: bool,
    /// Tokens besides those of the text, for who speaks.
    pub(crate) overhead: u32,
}

/// The form that a reply must have.
#[derive(Debug)]
pub(crate) enum Form {
    Text,
    Schema(Json),
    /// The arguments of a tool that must be called.
    Tool {
        name: String,
        schema: Json,
    },
}

impl Form {
    pub(crate) fn schema(&self) -> Option<&Json> {
        match self {
            Self::Text => None,
            Self::Schema(schema) | Self::Tool { schema, .. } => Some(schema),
        }
    }

    fn tool(&self) -> Option<&str> {
        if let Self::Tool { name, .. } = self { Some(name) } else { None }
    }
}

/// Tokens of a prompt and of a reply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Of the prompt, all of them.
    pub(crate) prompt: u32,
    /// Of those, the ones known from an earlier prompt.
    pub(crate) cached: u32,
    /// Of those, the ones that are marked and now kept.
    pub(crate) written: u32,
    pub(crate) completion: u32,
}

/// What the model says, before it is written in a provider's format.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The number of the request, for identifiers.
    pub(crate) seq: u64,
    pub(crate) pieces: Vec<Piece>,
    /// Whether it was cut at its length limit.
    pub(crate) is_cut: bool,
    pub(crate) usage: Usage,
    /// Whether the usage is left out.
    pub(crate) hides_usage: bool,
}

impl Reply {
    fn text(&self) -> String {
        self.pieces.iter().map(|piece| piece.text.as_str()).collect()
    }
}

/// A server-sent event.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) bytes: Bytes,
    /// Tokens of text in it; 0 for events about the reply.
    pub(crate) n_tokens: u32,
}

/// A request that is not served.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) status: StatusCode,
    /// A word for programs.
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) retry_after: Option<Duration>,
}

impl Rejection {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }
}

impl Provider {
    /// The request that the body holds.
    pub(crate) fn parse(self, path: &str, body: &[u8]) -> Result<Call, Rejection> {
        match self {
            Self::OpenAi => openai::parse(body, None),
            Self::Azure => openai::parse(body, openai::deployment(path)),
            Self::Anthropic => anthropic::parse(body),
        }
    }

    /// The reply in one piece.
    pub(crate) fn whole(self, call: &Call, reply: &Reply) -> Vec<u8> {
        match self {
            Self::OpenAi | Self::Azure => openai::whole(call, reply),
            Self::Anthropic => anthropic::whole(call, reply),
        }
    }

    /// The reply as a stream.
    pub(crate) fn events(self, call: &Call, reply: &Reply) -> Vec<Event> {
        match self {
            Self::OpenAi | Self::Azure => openai::events(call, reply),
            Self::Anthropic => anthropic::events(call, reply),
        }
    }

    /// The body of an error.
    pub(crate) fn error(self, rejection: &Rejection, seq: u64) -> Vec<u8> {
        match self {
            Self::OpenAi => openai::error(rejection),
            Self::Azure => openai::azure_error(rejection),
            Self::Anthropic => anthropic::error(rejection, seq),
        }
    }
}

/// JSON of a value that can always be written.
fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    // OK to default: our own structs are always written.
    serde_json::to_vec(value).unwrap_or_default()
}

/// The text of a message: a string, or the texts of an array of parts.
fn parts(content: &Json) -> Vec<(&str, bool)> {
    match content {
        Json::String(text) => vec![(text, false)],
        Json::Array(parts) => parts.iter().filter_map(part).collect(),
        _ => Vec::new(),
    }
}

/// The text of a part, and whether its end is marked as worth keeping.
fn part(part: &Json) -> Option<(&str, bool)> {
    let is_marked = part.get("cache_control").is_some_and(|mark| *mark != Json::Null);
    Some((part.get("text")?.as_str()?, is_marked))
}
