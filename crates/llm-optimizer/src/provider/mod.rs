//! Models at providers, over HTTP.

mod config;

mod anthropic;
mod openai;
mod protocol;

mod connect;
mod dates;
mod dialect;
mod http;
mod quota;
mod sse;
mod transcript;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hp_base::Clock;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Response, Url};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

pub use config::{ProviderConfig, ProviderKind, SchemaSupport, TokenLimitField};

use crate::{
    CallReport, ChatModel, ChatReply, ChatRequest, Finish, LlmError, LlmErrorKind, ReplyFormat, ReplySchema,
};
use connect::Clients;
use dialect::{Dialect, Terms};
use http::Form;
use protocol::Protocol;
use quota::Quota;
use sse::SseParser;
use transcript::{End, Transcript};

/// Bytes of a stream at the most; the text is a small part of them.
const MAX_STREAM_BYTES: usize = 64 << 20;

/// A model at a provider.
struct HttpModel {
    protocol: Protocol,
    model: Arc<str>,
    host: String,
    chat_url: Url,
    models_url: Url,
    call_timeout: Duration,
    max_connections: usize,
    permits: Semaphore,
    clients: Clients,
    dialect: Dialect,
    quota: Quota,
    clock: Arc<dyn Clock>,
}

impl HttpModel {
    fn new(
        config: &ProviderConfig,
        base: &Url,
        clients: Clients,
        dialect: Dialect,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LlmError> {
        let base_text = base.as_str().trim_end_matches('/');
        let (chat, models) = match config.kind {
            ProviderKind::OpenAi => ("/chat/completions".to_owned(), "/models".to_owned()),
            ProviderKind::Anthropic => ("/messages".to_owned(), "/models".to_owned()),
            ProviderKind::Azure => {
                let version = if config.api_version.is_empty() { "2024-10-21" } else { &config.api_version };
                (
                    format!("/openai/deployments/{}/chat/completions?api-version={version}", config.model),
                    format!("/openai/models?api-version={version}"),
                )
            }
        };
        let url = |path| {
            Url::parse(&format!("{base_text}{path}"))
                .map_err(|error| config::invalid("base_url cannot be read").with_source(error))
        };
        Ok(Self {
            protocol: match config.kind {
                ProviderKind::OpenAi | ProviderKind::Azure => Protocol::OpenAi,
                ProviderKind::Anthropic => Protocol::Anthropic,
            },
            model: config.model.as_str().into(),
            host: base.host_str().unwrap_or_default().to_owned(),
            chat_url: url(chat)?,
            models_url: url(models)?,
            call_timeout: config.call_timeout,
            max_connections: config.max_connections,
            permits: Semaphore::new(config.max_connections),
            clients,
            dialect,
            quota: Quota::new(Arc::clone(&clock)),
            clock,
        })
    }

    /// Sends a request until it is answered: anew if the connection was stale, on other terms if these are rejected.
    async fn ask(&self, request: &ChatRequest, started: Instant) -> Result<ChatReply, LlmError> {
        let mut terms = self.dialect.terms();
        let mut may_send_anew = true;
        let mut n_attempts = 0;
        loop {
            n_attempts += 1;
            let body = self.protocol.body(&self.model, request, &terms)?;
            let n_tokens = n_tokens(request, body.len());
            let lease = self.clients.least_busy().ok_or_else(|| config::invalid("there is no client"))?;
            let response = match self.send(&lease, body, request.stream).await {
                Ok(response) => response,
                Err(error) if may_send_anew && lease.may_be_stale() && http::is_closed_unanswered(&error) => {
                    may_send_anew = false;
                    continue;
                }
                Err(error) => return Err(http::not_answered(error)),
            };
            lease.has_served();
            let headers = response.headers();
            if !response.status().is_success() {
                let wait = match response.status().as_u16() {
                    429 => self.quota.rejected(headers, n_tokens),
                    500.. => self.quota.retry_after(headers),
                    _ => None,
                };
                let rejection = http::rejection(response, wait).await;
                let rejected = rejection.rejected.as_deref();
                match rejected.and_then(|rejected| terms.without(rejected, request)) {
                    Some(other) => terms = other,
                    None => return Err(rejection.error),
                }
                continue;
            }
            self.quota.observe(headers, n_tokens);
            self.dialect.learn(terms, self);
            return self.read(response, request, &terms, started, n_attempts).await;
        }
    }

    async fn send(
        &self,
        lease: &connect::Lease<'_>,
        body: Vec<u8>,
        is_streamed: bool,
    ) -> Result<Response, reqwest::Error> {
        let accept = if is_streamed { "text/event-stream" } else { "application/json" };
        let request = lease
            .client()
            .post(self.chat_url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(ACCEPT, HeaderValue::from_static(accept));
        request.body(body).send().await
    }

    async fn read(
        &self,
        response: Response,
        request: &ChatRequest,
        terms: &Terms,
        started: Instant,
        n_attempts: u32,
    ) -> Result<ChatReply, LlmError> {
        let is_by_tool = terms.is_by_tool(request);
        let mut transcript = Transcript::new(request, Arc::clone(&self.clock), started);
        let end = match http::form(&response) {
            Form::Events if request.stream => self.read_events(response, is_by_tool, &mut transcript).await?,
            // Some providers do not stream what they have at once.
            Form::Json => {
                let mut response = response;
                let body = http::whole_body(&mut response).await?;
                self.protocol.whole(&body, is_by_tool, &mut transcript)?
            }
            Form::Events | Form::Other => {
                return Err(protocol::invalid_reply(
                    "the answer is of another content type than was asked for",
                ));
            }
        };
        let end = match transcript.has_enough() {
            true => End { finish: Finish::Enough, usage: None },
            false => end,
        };
        let (text, time_to_first_token) = transcript.into_parts();
        let report = CallReport {
            model: Arc::clone(&self.model),
            n_attempts,
            time_to_first_token,
            schema_support: matches!(request.format, ReplyFormat::Schema(_)).then_some(terms.schema),
            ..CallReport::default()
        };
        Ok(ChatReply { text, finish: end.finish, usage: end.usage, report })
    }

    async fn read_events(
        &self,
        mut response: Response,
        is_by_tool: bool,
        transcript: &mut Transcript,
    ) -> Result<End, LlmError> {
        let mut events = self.protocol.event_reader(is_by_tool);
        let mut parser = SseParser::default();
        let mut n_bytes = 0;
        let mut is_over = false;
        while !is_over {
            let bytes = match response.chunk().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return events.end(transcript),
                // What breaks after the end of the reply does it no harm.
                Err(error) => return events.end(transcript).map_err(|_| http::cut_off(error)),
            };
            n_bytes += bytes.len();
            if n_bytes > MAX_STREAM_BYTES {
                return Err(protocol::invalid_reply("the stream is longer than 64 MiB"));
            }
            parser.read(&bytes, |event| {
                if !is_over {
                    is_over = events.read(&event, transcript)? || transcript.has_enough();
                }
                Ok(())
            })?;
            if transcript.has_enough() {
                // The response goes with this, and the call at the provider with it.
                return Ok(End { finish: Finish::Enough, usage: None });
            }
        }
        http::linger(response);
        events.end(transcript)
    }
}

/// About how many tokens a call takes.
fn n_tokens(request: &ChatRequest, n_bytes: usize) -> u32 {
    let of_bytes = u32::try_from(n_bytes / 4).unwrap_or(u32::MAX);
    request.n_prompt_tokens.unwrap_or(of_bytes).saturating_add(request.max_output_tokens)
}

fn serialize(body: &impl Serialize) -> Result<Vec<u8>, LlmError> {
    serde_json::to_vec(body).map_err(|error| {
        LlmError::new(LlmErrorKind::InvalidRequest, "the request cannot be written as JSON")
            .with_source(error)
    })
}

fn raw_schema(schema: &ReplySchema) -> Result<&RawValue, LlmError> {
    serde_json::from_str(&schema.schema).map_err(|error| {
        LlmError::new(LlmErrorKind::InvalidRequest, "the schema of the reply is no JSON").with_source(error)
    })
}

#[async_trait]
impl ChatModel for HttpModel {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatReply, LlmError> {
        let started = self.clock.now();
        let left = request.deadline.left(&*self.clock).min(self.call_timeout);
        if left.is_zero() {
            return Err(LlmError::new(LlmErrorKind::OutOfTime, "no time is left for a call"));
        }
        self.quota.check()?;
        let now = tokio::time::Instant::now();
        let given_up = now + request.given_up_at().left(&*self.clock).min(self.call_timeout);
        let Ok(Ok(_permit)) = timeout_at(now + left, self.permits.acquire()).await else {
            let message = format!("all of the {} connections are in use", self.max_connections);
            return Err(LlmError::new(LlmErrorKind::Busy, message));
        };
        // Somebody may have been told to wait in the meantime.
        self.quota.check()?;
        match timeout_at(given_up, self.ask(request, started)).await {
            Ok(result) => result,
            Err(_) => Err(LlmError::new(LlmErrorKind::OutOfTime, "the provider has not answered in time")),
        }
    }

    async fn warm(&self) -> Result<(), LlmError> {
        // They end with this future if it is dropped.
        let mut requests = JoinSet::new();
        for lease in self.clients.each() {
            let request = lease.client().get(self.models_url.clone()).timeout(self.call_timeout);
            requests.spawn(async move {
                let mut response = request.send().await?;
                // Read to its end, so that the connection can be used again.
                while response.chunk().await?.is_some() {}
                Ok(())
            });
        }
        while let Some(result) = requests.join_next().await {
            let failed = |error| {
                LlmError::new(LlmErrorKind::Unavailable, "the provider cannot be reached").with_source(error)
            };
            result.map_err(failed)?.map_err(http::not_answered)?;
        }
        self.clients.each().for_each(|lease| lease.has_served());
        Ok(())
    }
}

impl fmt::Display for HttpModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.model, self.host)
    }
}

impl fmt::Debug for HttpModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpModel")
            .field("protocol", &self.protocol)
            .field("model", &self.model)
            .field("chat_url", &self.chat_url.as_str())
            .field("call_timeout", &self.call_timeout)
            .field("max_connections", &self.max_connections)
            .field("terms", &self.dialect.terms())
            .finish_non_exhaustive()
    }
}
