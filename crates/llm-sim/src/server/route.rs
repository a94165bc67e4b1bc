//! Which request is for whom.

use std::convert::Infallible;
use std::sync::Arc;

use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::body::ReplyBody;
use super::link::Link;
use super::{chat, control};
use crate::Provider;
use crate::state::State;
use crate::wire::{Rejection, anthropic, openai};

/// Requests are not longer than this.
const MAX_REQUEST_BYTES: usize = 16 << 20;

/// Answers a request.
pub(crate) async fn route(
    state: Arc<State>,
    link: Arc<Link>,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Infallible> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    if path == "/sim" || path.starts_with("/sim/") {
        link.exempt();
        return Ok(match read(body).await {
            Ok(body) => control::control(&state, &parts.method, path, &body).await,
            Err(rejection) => control::refusal(rejection.status, &rejection.message),
        });
    }
    let provider = provider(path, &parts.headers);
    if parts.method == Method::GET && path.ends_with("/models") {
        return Ok(models(&state, provider.unwrap_or(Provider::OpenAi), &parts.headers));
    }
    let is_chat = path.ends_with("/chat/completions") || path.ends_with("/messages");
    let Some(provider) = provider.filter(|_| is_chat) else {
        let provider = provider.unwrap_or(Provider::OpenAi);
        let message = "there is nothing at this address, try POST /v1/chat/completions or /v1/messages";
        let rejection = Rejection::new(StatusCode::NOT_FOUND, "not_found", message);
        return Ok(plain(rejection.status, provider.error(&rejection, 0)));
    };
    if parts.method != Method::POST {
        let rejection = Rejection::new(StatusCode::METHOD_NOT_ALLOWED, "method", "only POST is allowed here");
        return Ok(plain(rejection.status, provider.error(&rejection, 0)));
    }
    let record = state.journal.begin(path, provider);
    let body = read(body).await;
    Ok(chat::chat(&state, &link, record, &parts, body).await)
}

/// Whose address this is.
fn provider(path: &str, headers: &HeaderMap) -> Option<Provider> {
    if path.contains("/openai/deployments/") {
        Some(Provider::Azure)
    } else if path.ends_with("/messages") {
        Some(Provider::Anthropic)
    } else if path.ends_with("/chat/completions") {
        Some(Provider::OpenAi)
    } else if path.ends_with("/models") {
        // Both have it at the same address.
        let is_anthropic = headers.contains_key("anthropic-version");
        Some(if is_anthropic { Provider::Anthropic } else { Provider::OpenAi })
    } else {
        None
    }
}

/// The key that a request shows, where its provider has it.
pub(crate) fn admits(state: &State, provider: Provider, headers: &HeaderMap) -> Result<(), Rejection> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = || header("authorization")?.strip_prefix("Bearer ");
    let (key, message) = match provider {
        Provider::OpenAi => (bearer(), "the API key is missing or not known"),
        Provider::Azure => {
            (header("api-key").or_else(bearer), "the subscription key is missing or not known")
        }
        Provider::Anthropic => (header("x-api-key"), "x-api-key is missing or not known"),
    };
    if state.api_keys.admit(key) {
        return Ok(());
    }
    Err(Rejection::new(StatusCode::UNAUTHORIZED, "unauthorized", message))
}

fn models(state: &State, provider: Provider, headers: &HeaderMap) -> Response<ReplyBody> {
    if let Err(rejection) = admits(state, provider, headers) {
        return plain(rejection.status, provider.error(&rejection, 0));
    }
    let body = match provider {
        Provider::Anthropic => anthropic::models(&state.models),
        Provider::OpenAi | Provider::Azure => openai::models(&state.models),
    };
    plain(StatusCode::OK, body)
}

async fn read(body: Incoming) -> Result<bytes::Bytes, Rejection> {
    match Limited::new(body, MAX_REQUEST_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(_) => {
            let message = format!("the request is longer than {MAX_REQUEST_BYTES} bytes, or broke off");
            Err(Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message))
        }
    }
}

/// JSON that no record goes with.
pub(crate) fn plain(status: StatusCode, body: Vec<u8>) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::whole(body, None));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}
