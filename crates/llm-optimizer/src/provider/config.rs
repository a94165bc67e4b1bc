//! What a provider is configured with, and how that becomes a model.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hp_base::{Clock, Secret};
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::HttpModel;
use super::connect::Clients;
use super::dialect::Dialect;
use crate::{ChatModel, LlmError, LlmErrorKind};

const DAY: Duration = Duration::from_secs(86_400);

/// Which protocol a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProviderKind {
    /// OpenAI's chat completions, which most others speak as well: Ollama, vLLM, llama.cpp, OpenRouter, Together, and
    /// Gemini at its compatible address.
    OpenAi,
    /// The same as deployments on Azure.
    Azure,
    /// Anthropic's messages.
    Anthropic,
}

/// By what means a reply is held to a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SchemaSupport {
    /// The schema itself for OpenAI and what is compatible, a tool for Anthropic.
    #[default]
    Auto,
    /// The schema itself: the provider lets the model write nothing else.
    JsonSchema,
    /// A tool which the model must call, and whose arguments are the reply.
    Tool,
    /// Some JSON object; the schema is put to the model in words. Anthropic has no such thing.
    JsonObject,
    /// Nothing: the schema is put to the model in words.
    PromptOnly,
}

/// By what name the provider is told how long a reply may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum TokenLimitField {
    /// `max_completion_tokens` for `api.openai.com`, `max_tokens` for all others.
    #[default]
    Auto,
    /// `max_tokens`.
    MaxTokens,
    /// `max_completion_tokens`.
    MaxCompletionTokens,
}

/// A model at a provider: where it is, who asks, and in what manner.
///
/// ```
/// use std::sync::Arc;
/// use hp_base::{Secret, SystemClock};
/// use llm_optimizer::{ProviderConfig, ProviderKind};
///
/// let mut config = ProviderConfig::new(ProviderKind::OpenAi, "llama3.2");
/// config.base_url = "http://127.0.0.1:11434/v1".to_owned();
/// let model = config.build(Arc::new(SystemClock))?;
/// assert_eq!(model.to_string(), "llama3.2 at 127.0.0.1");
///
/// config.api_key = Secret::new("sk-1\n");
/// let error = config.build(Arc::new(SystemClock)).unwrap_err();
/// assert_eq!(error.to_string(), "api_key holds what no header can: a line break or a character beyond ASCII");
/// # Ok::<(), llm_optimizer::LlmError>(())
/// ```
///
/// A proxy that the environment names (`HTTPS_PROXY`, `NO_PROXY`) is used.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderConfig {
    /// Which protocol it speaks.
    pub kind: ProviderKind,
    /// The name of the model; on Azure that of the deployment.
    pub model: String,
    /// Where the provider is, up to and including the version, as `http://127.0.0.1:11434/v1`; on Azure the resource,
    /// as `https://name.openai.azure.com`. Empty for the provider's own. Default: empty.
    pub base_url: String,
    /// The key; empty for none. Default: empty.
    pub api_key: Secret,
    /// The version of the protocol; empty for `2024-10-21` on Azure and `2023-06-01` at Anthropic. OpenAI has none.
    /// Default: empty.
    pub api_version: String,
    /// Further headers, name and value, sent with every request. Default: none.
    pub headers: Vec<(String, Secret)>,
    /// By what means a reply is held to a schema. If the provider rejects it, the next weaker one is used from then on.
    /// Default: [`SchemaSupport::Auto`].
    pub schema_support: SchemaSupport,
    /// Whether what recurs is marked, so that the provider keeps it: by `cache_control` at Anthropic, by
    /// `prompt_cache_key` at `api.openai.com` and on Azure, not at all elsewhere. Default: true.
    pub prompt_cache: bool,
    /// By what name the provider is told how long a reply may be. If it rejects one, the other is used from then on.
    /// Default: [`TokenLimitField::Auto`].
    pub token_limit_field: TokenLimitField,
    /// The longest it may take to connect, names resolved and TLS included. Default: 2 s.
    pub connect_timeout: Duration,
    /// Requests under way at the most; others wait for one of them to end, until their deadline. Default: 100.
    pub max_connections: usize,
    /// Over how many clients the requests are spread, the least busy first: all requests of a client share one HTTP/2
    /// connection, and providers cap what one may carry. From 1 to 64. Default: 4.
    pub n_clients: usize,
    /// Whether HTTP/2 is spoken without asking, as servers within a cluster may want it; without it, TLS settles the
    /// version. Default: false.
    pub http2_prior_knowledge: bool,
    /// How long a connection is kept that nobody uses. Default: 90 s.
    pub keep_alive: Duration,
    /// A PEM file with authorities to be trusted as well as the system's. Default: none.
    pub ca_file: Option<PathBuf>,
    /// The longest a call may take, whatever its deadline; a day at the most. Default: 10 s.
    pub call_timeout: Duration,
}

impl ProviderConfig {
    /// A model at a provider of a kind, everything else as by default.
    #[must_use]
    pub fn new(kind: ProviderKind, model: impl Into<String>) -> Self {
        Self {
            kind,
            model: model.into(),
            base_url: String::new(),
            api_key: Secret::default(),
            api_version: String::new(),
            headers: Vec::new(),
            schema_support: SchemaSupport::Auto,
            prompt_cache: true,
            token_limit_field: TokenLimitField::Auto,
            connect_timeout: Duration::from_secs(2),
            max_connections: 100,
            n_clients: 4,
            http2_prior_knowledge: false,
            keep_alive: Duration::from_secs(90),
            ca_file: None,
            call_timeout: Duration::from_secs(10),
        }
    }

    /// The model. Nothing is sent yet; for `https`, the authorities the system trusts are read, once per process.
    ///
    /// # Errors
    /// [`LlmErrorKind::InvalidConfig`] if something cannot be used, in words that contain no secret.
    pub fn build(&self, clock: Arc<dyn Clock>) -> Result<Arc<dyn ChatModel>, LlmError> {
        self.validate()?;
        let base = self.base()?;
        let headers = self.header_map()?;
        let clients = Clients::new(self, &base, &headers)?;
        let dialect = Dialect::new(self, &base);
        Ok(Arc::new(HttpModel::new(self, &base, clients, dialect, clock)?))
    }

    fn validate(&self) -> Result<(), LlmError> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_anthropic = self.kind == ProviderKind::Anthropic;
        let rules = [
            (!self.model.trim().is_empty(), "model is empty, name one"),
            (
                self.kind != ProviderKind::Azure || self.model.chars().all(is_name),
                "model holds what the name of a deployment cannot, write letters, digits, - _ and .",
            ),
            (
                self.api_version.chars().all(is_name),
                "api_version holds what a version cannot, write one such as 2024-10-21",
            ),
            (
                self.api_version.is_empty() || self.kind != ProviderKind::OpenAi,
                "api_version is for Azure and Anthropic, drop it",
            ),
            (
                !is_anthropic || self.schema_support != SchemaSupport::JsonObject,
                "schema_support is a JSON object, which Anthropic does not have, choose another",
            ),
            (
                !is_anthropic || self.token_limit_field != TokenLimitField::MaxCompletionTokens,
                "token_limit_field is max_completion_tokens, which Anthropic does not have, drop it",
            ),
            (!self.connect_timeout.is_zero(), "connect_timeout is 0, write a time such as 2 s"),
            (
                !self.call_timeout.is_zero() && self.call_timeout <= DAY,
                "call_timeout is not above 0 and up to a day, write a time such as 10 s",
            ),
            ((1..=100_000).contains(&self.max_connections), "max_connections is not between 1 and 100000"),
            ((1..=64).contains(&self.n_clients), "n_clients is not between 1 and 64"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, message)) => Err(invalid(*message)),
            None => Ok(()),
        }
    }

    /// Where the provider is, without a slash at the end.
    fn base(&self) -> Result<Url, LlmError> {
        let text = match (self.base_url.trim(), self.kind) {
            ("", ProviderKind::OpenAi) => "https://api.openai.com/v1",
            ("", ProviderKind::Anthropic) => "https://api.anthropic.com/v1",
            ("", ProviderKind::Azure) => {
                return Err(invalid("base_url is empty, write one such as https://name.openai.azure.com"));
            }
            (text, _) => text,
        };
        let url = Url::parse(text.trim_end_matches('/')).map_err(|error| {
            invalid("base_url cannot be read, write one such as https://host/v1").with_source(error)
        })?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(invalid("base_url begins with neither http:// nor https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("base_url holds a user or a password, give them as api_key or in headers"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("base_url goes on after its path, end it before ? and #"));
        }
        if self.ca_file.is_some() && url.scheme() == "http" {
            return Err(invalid("ca_file is for TLS, write https:// in base_url or drop it"));
        }
        Ok(url)
    }

    fn header_map(&self) -> Result<HeaderMap, LlmError> {
        let mut headers = HeaderMap::new();
        if !self.api_key.is_empty() {
            let key = self.api_key.expose();
            let (name, value) = match self.kind {
                ProviderKind::OpenAi => (AUTHORIZATION, format!("Bearer {key}")),
                ProviderKind::Azure => (HeaderName::from_static("api-key"), key.to_owned()),
                ProviderKind::Anthropic => (HeaderName::from_static("x-api-key"), key.to_owned()),
            };
            headers.insert(name, secret_value(&value, "api_key")?);
        }
        if self.kind == ProviderKind::Anthropic {
            let version = if self.api_version.is_empty() { "2023-06-01" } else { &self.api_version };
            headers.insert("anthropic-version", secret_value(version, "api_version")?);
        }
        for (name, value) in &self.headers {
            let taken =
                ["host", "connection", "content-length", "content-type", "transfer-encoding", "accept"];
            let parsed = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| invalid(format!("headers hold {name:?}, which is no name of a header")))?;
            if taken.contains(&parsed.as_str()) {
                return Err(invalid(format!("headers hold {name:?}, which is not yours to set, drop it")));
            }
            headers.insert(parsed, secret_value(value.expose(), &format!("the header {name:?}"))?);
        }
        Ok(headers)
    }
}

fn secret_value(text: &str, name: &str) -> Result<HeaderValue, LlmError> {
    let is_sendable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let value = HeaderValue::from_str(text).ok().filter(|_| is_sendable);
    let mut value = value.ok_or_else(|| {
        invalid(format!("{name} holds what no header can: a line break or a character beyond ASCII"))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

pub(super) fn invalid(message: impl Into<String>) -> LlmError {
    LlmError::new(LlmErrorKind::InvalidConfig, message)
}
