//! What a provider's protocol is to the rest: how a request is written, and how what comes back is read.

use serde::Deserialize;

use super::dialect::Terms;
use super::sse::SseEvent;
use super::transcript::{End, Transcript};
use super::{anthropic, openai};
use crate::{ChatRequest, LlmError, LlmErrorKind};

/// One of the protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    OpenAi,
    Anthropic,
}

/// Reads the events of one stream.
pub(super) trait EventReader: Send {
    /// Reads an event. The stream is over when this is true.
    fn read(&mut self, event: &SseEvent, transcript: &mut Transcript) -> Result<bool, LlmError>;

    /// How the reply ended, once the stream is over or has broken off.
    ///
    /// # Errors
    /// [`LlmErrorKind::Disconnected`] if it had not ended.
    fn end(&mut self, transcript: &mut Transcript) -> Result<End, LlmError>;
}

impl Protocol {
    /// The body of a request.
    pub(super) fn body(self, model: &str, request: &ChatRequest, terms: &Terms) -> Result<Vec<u8>, LlmError> {
        match self {
            Self::OpenAi => openai::body(model, request, terms),
            Self::Anthropic => anthropic::body(model, request, terms),
        }
    }

    /// A reader for a stream; the reply is the arguments of a tool, or text.
    pub(super) fn event_reader(self, is_by_tool: bool) -> Box<dyn EventReader> {
        match self {
            Self::OpenAi => Box::new(openai::Events::new(is_by_tool)),
            Self::Anthropic => Box::new(anthropic::Events::new(is_by_tool)),
        }
    }

    /// Reads a reply that has come as a whole.
    pub(super) fn whole(self, body: &[u8], is_by_tool: bool, to: &mut Transcript) -> Result<End, LlmError> {
        match self {
            Self::OpenAi => openai::whole(body, is_by_tool, to),
            Self::Anthropic => anthropic::whole(body, is_by_tool, to),
        }
    }
}

/// An error as providers report it: in a body of its own, or within a reply.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ProviderError {
    #[serde(rename = "type")]
    kind: serde_json::Value,
    code: serde_json::Value,
    param: serde_json::Value,
    message: serde_json::Value,
}

impl ProviderError {
    /// The error in the body of an answer, in whichever of the usual places it is.
    pub(super) fn in_body(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Envelope {
            error: ProviderError,
        }
        let enveloped = serde_json::from_slice::<Envelope>(body).map(|envelope| envelope.error);
        enveloped.or_else(|_| serde_json::from_slice(body)).unwrap_or_default()
    }

    /// Its code and type, which may be shown; its message may repeat the prompt.
    pub(super) fn name(&self) -> String {
        let mut name = String::new();
        for value in [&self.kind, &self.code] {
            let text = match value {
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Number(number) => number.to_string(),
                _ => continue,
            };
            if text != name {
                let gap = if name.is_empty() || text.is_empty() { "" } else { ", " };
                name.extend(gap.chars().chain(text.chars().filter(char::is_ascii_graphic)));
            }
        }
        name.truncate(80);
        name
    }

    /// What was rejected: the parameter's name if it is given, else all that is said.
    pub(super) fn rejected(&self, body: &[u8]) -> String {
        match (&self.param, &self.message) {
            (serde_json::Value::String(param), _) if !param.is_empty() => param.clone(),
            (_, serde_json::Value::String(message)) if !message.is_empty() => message.to_lowercase(),
            _ => String::from_utf8_lossy(body).to_lowercase(),
        }
    }

    /// The error, as the end of a reply that had begun well.
    pub(super) fn within_reply(&self) -> LlmError {
        let name = self.name();
        let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
        let status = self.code.as_u64().filter(|code| (400..600).contains(code));
        let kind = if has(&["rate_limit", "quota"]) || status == Some(429) {
            LlmErrorKind::RateLimited
        } else if has(&["authentication", "permission", "api_key"]) || matches!(status, Some(401..=403)) {
            LlmErrorKind::Unauthorized
        } else if has(&["not_found"]) || status == Some(404) {
            LlmErrorKind::NotFound
        } else if has(&["invalid_request"]) || matches!(status, Some(400 | 413 | 422)) {
            LlmErrorKind::InvalidRequest
        } else {
            LlmErrorKind::Unavailable
        };
        LlmError::new(kind, format!("the provider broke its reply off{}", in_brackets(&name)))
    }
}

/// ` (name)`, or nothing.
pub(super) fn in_brackets(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" ({name})") }
}

pub(super) fn invalid_reply(message: &str) -> LlmError {
    LlmError::new(LlmErrorKind::InvalidReply, message)
}

/// The reply ended before it was said to have.
pub(super) fn broken_off() -> LlmError {
    LlmError::new(LlmErrorKind::Disconnected, "the reply broke off before its end")
}

/// Parses a message of the protocol.
pub(super) fn parse<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, LlmError> {
    // Not the source: its message can hold parts of the text.
    serde_json::from_slice(text).map_err(|error| {
        invalid_reply(&format!("the reply is not of the provider's form (column {})", error.column()))
    })
}

/// A number of tokens.
pub(super) fn n_tokens(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
