//! The text of a reply as it comes in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hp_base::Clock;

use crate::{ChatRequest, Finish, Flow, LlmError, LlmErrorKind, ReplyReader, Usage};

/// Bytes of text at the most, however many tokens are allowed.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// Bytes of a token at the most, as far as providers have any; a run of spaces is the longest.
const MAX_TOKEN_BYTES: usize = 128;

/// Gathers the text and lets the reader read along.
pub(super) struct Transcript {
    text: String,
    /// What may become the reply if there is no other.
    aside: String,
    reader: Option<Box<dyn ReplyReader>>,
    clock: Arc<dyn Clock>,
    started: Instant,
    first_text: Option<Duration>,
    has_enough: bool,
    max_bytes: usize,
}

/// How a reply has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) finish: Finish,
    pub(super) usage: Option<Usage>,
}

impl Transcript {
    /// With a reader of its own, if the request has any.
    pub(super) fn new(request: &ChatRequest, clock: Arc<dyn Clock>, started: Instant) -> Self {
        let reader = request.readers.as_ref().map(|readers| readers.reader());
        Self {
            text: String::new(),
            aside: String::new(),
            reader,
            clock,
            started,
            first_text: None,
            has_enough: false,
            max_bytes: MAX_TEXT_BYTES.min(request.max_output_tokens as usize * MAX_TOKEN_BYTES),
        }
    }

    /// The next piece. Nothing is taken any more once the reader has enough.
    pub(super) fn push(&mut self, piece: &str) -> Result<(), LlmError> {
        if piece.is_empty() || self.has_enough {
            return Ok(());
        }
        if self.text.len() + piece.len() > self.max_bytes {
            let message = "the reply is longer than the tokens that were allowed can be";
            return Err(LlmError::new(LlmErrorKind::InvalidReply, message));
        }
        if self.first_text.is_none() {
            self.first_text = Some(self.elapsed());
        }
        self.text.push_str(piece);
        self.has_enough = self.reader.as_mut().is_some_and(|reader| reader.read(piece) == Flow::Enough);
        Ok(())
    }

    /// The next piece of what a model says that should call a tool instead.
    pub(super) fn push_aside(&mut self, piece: &str) {
        // Cut short, it is still no reply to be taken for a whole one: it is longer than one may be.
        if self.aside.len() <= self.max_bytes {
            self.aside.push_str(piece);
        }
    }

    /// Takes what was said aside for the reply, if there is no other.
    pub(super) fn settle(&mut self) -> Result<(), LlmError> {
        let aside = std::mem::take(&mut self.aside);
        if self.text.is_empty() { self.push(&aside) } else { Ok(()) }
    }

    pub(super) fn has_enough(&self) -> bool {
        self.has_enough
    }

    /// The text, and the time to its first piece; the whole time if there is no text.
    pub(super) fn into_parts(self) -> (String, Duration) {
        let time = self.first_text.unwrap_or_else(|| self.elapsed());
        (self.text, time)
    }

    fn elapsed(&self) -> Duration {
        self.clock.now().saturating_duration_since(self.started)
    }
}
