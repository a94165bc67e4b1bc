//! A chat request, from its bytes to its response.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};

use super::body::ReplyBody;
use super::delivery;
use super::headers::{self, write_limits};
use super::link::Link;
use super::route::admits;
use crate::answer;
use crate::journal::{Generation, Record};
use crate::state::{Settings, State};
use crate::wire::{Call, Rejection};
use crate::{Fault, Provider};

/// A page as proxies and logins send it.
const PAGE: &str = "<!DOCTYPE html>\n<html><head><title>llm-sim</title></head><body><h1>This is not JSON</h1></body></html>\n";

/// Answers a chat request.
pub(crate) async fn chat(
    state: &Arc<State>,
    link: &Arc<Link>,
    mut record: Record,
    parts: &Parts,
    body: Result<Bytes, Rejection>,
) -> Response<ReplyBody> {
    let settings = state.settings();
    let provider = record.entry.provider;
    let call = match body.and_then(|body| read(state, provider, parts, &body)) {
        Ok(call) => call,
        Err(rejection) => return rejected(record, &settings, &rejection),
    };
    record.entry.model.clone_from(&call.model);
    record.entry.streamed = call.is_streamed;
    let question = answer::question(state, &call);
    record.entry.queries = question.queries();
    let fault = state.fault(&settings, record.entry.seq).filter(|fault| applies(*fault, &call, &question));
    record.entry.fault = fault;
    record.publish();
    match fault {
        Some(Fault::HangBeforeHeaders) => return std::future::pending().await,
        Some(Fault::ResetBeforeHeaders) => {
            record.finish();
            link.reset();
            // The connection goes, and this with it.
            return std::future::pending().await;
        }
        Some(fault) => {
            if let Some(failed) = failure(fault, &settings) {
                return match failed {
                    Failure::Rejection(rejection) => rejected(record, &settings, &rejection),
                    Failure::Page(status) => page(record, status),
                };
            }
        }
        None => {}
    }
    let prompt = answer::Prompt::new(state, &call);
    if let Err(rejection) = admit(&settings, &mut record, prompt.n_tokens()).await {
        return rejected(record, &settings, &rejection);
    }
    let usage = prompt.usage(state, provider, &call);
    record.entry.prompt_tokens = usage.prompt;
    record.entry.cached_tokens = usage.cached;
    record.entry.cache_write_tokens = usage.written;
    record.publish();
    let (reply, categories) = answer::reply(state, &settings, &call, &question, usage, &record.entry);
    let first_token = settings.latency.sample(state.seed, record.entry.seq);
    let n_tokens = reply.usage.completion;
    if call.is_streamed {
        wait(first_token).await;
    } else {
        let per_token = settings.per_token;
        record.generation = Some(Generation { began: Instant::now(), first_token, per_token, n_tokens });
        let is_slow = fault != Some(Fault::EnormousReply);
        wait(first_token + if is_slow { per_token * n_tokens } else { Duration::ZERO }).await;
        record.generation = None;
        record.entry.completion_tokens = n_tokens;
    }
    record.entry.categories = categories;
    record.entry.status = Some(200);
    let seq = record.entry.seq;
    record.publish();
    let mut response = Response::new(delivery::body(&settings, provider, &call, &reply, fault, record, link));
    let content_type = if call.is_streamed { "text/event-stream; charset=utf-8" } else { "application/json" };
    response.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
    identify(&mut response, provider, seq);
    write_limits(response.headers_mut(), provider, &settings);
    response
}

/// What is asked, of somebody who may ask.
fn read(state: &State, provider: Provider, parts: &Parts, body: &[u8]) -> Result<Call, Rejection> {
    admits(state, provider, &parts.headers)?;
    let query = parts.uri.query().unwrap_or_default();
    if provider == Provider::Azure && !query.split('&').any(|pair| pair.starts_with("api-version=")) {
        return Err(Rejection::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "the parameter api-version is missing",
        ));
    }
    if provider == Provider::Anthropic && !parts.headers.contains_key("anthropic-version") {
        return Err(Rejection::invalid("the header anthropic-version is missing"));
    }
    let call = provider.parse(parts.uri.path(), body)?;
    if !state.models.is_empty() && !state.models.contains(&call.model) {
        let message = format!("the model {:.60} does not exist", call.model);
        return Err(Rejection::new(StatusCode::NOT_FOUND, "model", message));
    }
    Ok(call)
}

/// Whether the fault can happen to this request.
fn applies(fault: Fault, call: &Call, question: &answer::Question) -> bool {
    match fault {
        Fault::DuplicatedEvents | Fault::ReorderedEvents => call.is_streamed,
        Fault::WrongItems => question.is_batch(),
        Fault::ConnectionRefused => false,
        _ => true,
    }
}

enum Failure {
    Rejection(Rejection),
    Page(StatusCode),
}

/// What is sent in place of a reply.
fn failure(fault: Fault, settings: &Settings) -> Option<Failure> {
    let rejection = |status, code, message: &str, retry_after| {
        Failure::Rejection(Rejection { status, code, message: message.to_owned(), retry_after })
    };
    match fault {
        Fault::ServerError => Some(rejection(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            "the server had an error",
            None,
        )),
        Fault::RateLimited => {
            Some(rejection(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too many requests", None))
        }
        Fault::RateLimitedRetryAfter => Some(rejection(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "too many requests",
            Some(settings.retry_after),
        )),
        Fault::BadGatewayHtml => Some(Failure::Page(StatusCode::BAD_GATEWAY)),
        Fault::WrongContentType => Some(Failure::Page(StatusCode::OK)),
        _ => None,
    }
}

/// Lets a request in, waits until it may come in, or turns it away.
async fn admit(settings: &Settings, record: &mut Record, n_tokens: u32) -> Result<(), Rejection> {
    let too_many = |message: &str, retry_after| Rejection {
        status: StatusCode::TOO_MANY_REQUESTS,
        code: "rate_limited",
        message: message.to_owned(),
        retry_after,
    };
    let now = Instant::now();
    for (quota, n, message) in [
        (&settings.requests, 1, "the limit of requests a minute is reached"),
        (&settings.tokens, n_tokens, "the limit of tokens a minute is reached"),
    ] {
        let Some(quota) = quota else { continue };
        let taken = quota.lock().unwrap_or_else(PoisonError::into_inner).take(n, now);
        taken.map_err(|wait| too_many(message, Some(wait)))?;
    }
    if let Some(slots) = &settings.slots {
        let slots = Arc::clone(slots);
        record.permit = if settings.limits.queue {
            slots.acquire_owned().await.ok()
        } else {
            let permit = slots.try_acquire_owned();
            Some(permit.map_err(|_| too_many("too many requests are under way", None))?)
        };
    }
    Ok(())
}

fn rejected(mut record: Record, settings: &Settings, rejection: &Rejection) -> Response<ReplyBody> {
    let (provider, seq) = (record.entry.provider, record.entry.seq);
    record.entry.status = Some(rejection.status.as_u16());
    let mut response = Response::new(ReplyBody::whole(provider.error(rejection, seq), Some(record)));
    *response.status_mut() = rejection.status;
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    if let Some(wait) = rejection.retry_after {
        // Whole seconds, and not too early.
        headers::write(headers, "retry-after", wait.as_millis().div_ceil(1000));
        if provider != Provider::Anthropic {
            headers::write(headers, "retry-after-ms", wait.as_millis());
        }
    }
    write_limits(headers, provider, settings);
    identify(&mut response, provider, seq);
    response
}

fn page(mut record: Record, status: StatusCode) -> Response<ReplyBody> {
    record.entry.status = Some(status.as_u16());
    let mut response = Response::new(ReplyBody::whole(PAGE, Some(record)));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

fn identify(response: &mut Response<ReplyBody>, provider: Provider, seq: u64) {
    let name = if provider == Provider::Anthropic { "request-id" } else { "x-request-id" };
    headers::write(response.headers_mut(), name, format!("req_sim{seq:08}"));
}

async fn wait(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}
