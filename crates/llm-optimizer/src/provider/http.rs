//! Reading answers over HTTP: what a status means, what a failure is, how much is read.

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, StatusCode};

use super::protocol::{ProviderError, broken_off, in_brackets, invalid_reply};
use crate::{LlmError, LlmErrorKind};

/// Bytes of an error's body that are read; what comes after is not looked at.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// Bytes of a whole reply at the most.
const MAX_REPLY_BYTES: usize = 4 << 20;
/// How long is waited for the end of a body that has nothing more to say.
const LINGER: Duration = Duration::from_secs(1);

/// How the text of an answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Events,
    Other,
}

/// A status other than success.
pub(super) struct Rejection {
    pub(super) error: LlmError,
    /// What the provider does not take, in its words, in lower case.
    pub(super) rejected: Option<String>,
}

pub(super) fn form(response: &Response) -> Form {
    let value =
        response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match &*media {
        "application/json" => Form::Json,
        "text/event-stream" => Form::Events,
        _ => Form::Other,
    }
}

/// The body of a reply that comes as a whole.
pub(super) async fn whole_body(response: &mut Response) -> Result<Vec<u8>, LlmError> {
    let mut body = Vec::new();
    while let Some(bytes) = response.chunk().await.map_err(cut_off)? {
        if body.len() + bytes.len() > MAX_REPLY_BYTES {
            return Err(invalid_reply("the reply is longer than 4 MiB"));
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body)
}

/// Reads an answer that is no success. `wait` is how long the provider asks to be left alone.
pub(super) async fn rejection(mut response: Response, wait: Option<Duration>) -> Rejection {
    let mut body = Vec::new();
    while let Ok(Some(bytes)) = response.chunk().await
        && body.len() < MAX_ERROR_BYTES
    {
        body.extend_from_slice(&bytes[..bytes.len().min(MAX_ERROR_BYTES - body.len())]);
    }
    let status = response.status();
    let provider_error = ProviderError::in_body(&body);
    let (kind, message) = meaning(status);
    let name = in_brackets(&provider_error.name());
    let mut error = LlmError::new(kind, format!("{message}: status {}{name}", status.as_u16()));
    if let Some(wait) = wait {
        error = error.with_retry_after(wait);
    }
    let is_about_form = matches!(status.as_u16(), 400 | 422);
    Rejection { error, rejected: is_about_form.then(|| provider_error.rejected(&body)) }
}

fn meaning(status: StatusCode) -> (LlmErrorKind, &'static str) {
    match status.as_u16() {
        401..=403 => {
            (LlmErrorKind::Unauthorized, "the provider refuses the key, check api_key and its rights")
        }
        404 | 405 | 410 => {
            (LlmErrorKind::NotFound, "the provider knows no such model, check model and base_url")
        }
        300..400 => (LlmErrorKind::NotFound, "the provider is elsewhere, write its address in base_url"),
        408 | 409 | 425 => (LlmErrorKind::Unavailable, "the provider asks to try again"),
        429 => (LlmErrorKind::RateLimited, "the provider has had too many requests or tokens"),
        400..500 => (LlmErrorKind::InvalidRequest, "the provider does not take the request"),
        500.. => (LlmErrorKind::Unavailable, "the provider fails"),
        _ => (LlmErrorKind::InvalidReply, "the provider answers with what is no reply"),
    }
}

/// Why no answer came to a request.
pub(super) fn not_answered(error: reqwest::Error) -> LlmError {
    let (kind, message) = if error.is_connect() || error.is_timeout() {
        (LlmErrorKind::Unavailable, "the provider cannot be reached, check base_url and the network")
    } else {
        (LlmErrorKind::Disconnected, "the connection broke before the provider had answered")
    };
    LlmError::new(kind, message).with_source(error.without_url())
}

/// Why a body ended before its end.
pub(super) fn cut_off(error: reqwest::Error) -> LlmError {
    broken_off().with_source(error.without_url())
}

/// Whether a connection was closed before anything of an answer had come: what happens when the other side gives up an
/// unused connection at the moment it is used again.
pub(super) fn is_closed_unanswered(error: &reqwest::Error) -> bool {
    if error.is_connect() || error.is_timeout() {
        return false;
    }
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && (error.is_incomplete_message() || error.is_canceled() || error.is_closed())
        {
            return true;
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
            return matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected);
        }
        cause = error.source();
    }
    false
}

/// Waits a little, beside the caller, for the end of a body whose message is over, so that its connection can be used
/// again.
pub(super) fn linger(mut response: Response) {
    tokio::spawn(async move {
        let rest = async { while let Ok(Some(_)) = response.chunk().await {} };
        // OK to ignore: it has ended, or the connection is closed.
        let _ = tokio::time::timeout(LINGER, rest).await;
    });
}
