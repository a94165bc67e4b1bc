//! What an endpoint takes of its protocol, as far as it has let on.

use std::sync::{Mutex, PoisonError};

use reqwest::Url;

use super::{ProviderConfig, ProviderKind, SchemaSupport, TokenLimitField};
use crate::{ChatRequest, ReplyFormat, ReplySchema};

/// The terms on which requests are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// By what means a reply is held to a schema; never [`SchemaSupport::Auto`].
    pub(super) schema: SchemaSupport,
    /// The name of the limit is `max_completion_tokens`, not `max_tokens`.
    pub(super) is_limit_completion: bool,
    /// The name of the limit has been changed, so it is not changed back.
    is_limit_changed: bool,
    pub(super) has_temperature: bool,
    /// `stream_options`, which ask for the usage at the end of a stream.
    pub(super) has_stream_options: bool,
    /// Marks of what recurs.
    pub(super) has_cache_marks: bool,
    /// What only OpenAI itself and Azure know.
    pub(super) is_genuine_openai: bool,
    is_anthropic: bool,
}

/// The terms of an endpoint; requests teach it.
#[derive(Debug)]
pub(super) struct Dialect {
    terms: Mutex<Terms>,
}

impl Dialect {
    pub(super) fn new(config: &ProviderConfig, base: &Url) -> Self {
        let is_openai = base.host_str() == Some("api.openai.com");
        let is_anthropic = config.kind == ProviderKind::Anthropic;
        let is_genuine_openai = is_openai || config.kind == ProviderKind::Azure;
        let schema = match config.schema_support {
            SchemaSupport::Auto if is_anthropic => SchemaSupport::Tool,
            SchemaSupport::Auto => SchemaSupport::JsonSchema,
            chosen => chosen,
        };
        let terms = Terms {
            schema,
            is_limit_completion: match config.token_limit_field {
                TokenLimitField::Auto => is_openai,
                TokenLimitField::MaxTokens => false,
                TokenLimitField::MaxCompletionTokens => true,
            },
            is_limit_changed: false,
            has_temperature: true,
            has_stream_options: true,
            has_cache_marks: config.prompt_cache && (is_anthropic || is_genuine_openai),
            is_genuine_openai,
            is_anthropic,
        };
        Self { terms: Mutex::new(terms) }
    }

    pub(super) fn terms(&self) -> Terms {
        *self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps terms on which a request has gone well, unless another request has taught stricter ones since.
    pub(super) fn learn(&self, terms: Terms, endpoint: &dyn std::fmt::Display) {
        let mut kept = self.terms.lock().unwrap_or_else(PoisonError::into_inner);
        let joined = kept.and(terms);
        if joined != *kept {
            *kept = joined;
            drop(kept);
            tracing::warn!(%endpoint, terms = ?joined, "the endpoint does not take all of a request, so less is sent from now on");
        }
    }
}

impl Terms {
    /// The terms for a request that was rejected on these, if the rejection names something that can be changed.
    pub(super) fn without(mut self, rejected: &str, request: &ChatRequest) -> Option<Self> {
        let names = |words: &[&str]| words.iter().any(|word| rejected.contains(word));
        let is_schema = matches!(request.format, ReplyFormat::Schema(_));
        if is_schema && self.names_schema(rejected) {
            self.schema = self.weaker()?;
        } else if !self.is_anthropic
            && !self.is_limit_changed
            && names(&["max_tokens", "max_completion_tokens"])
        {
            self.is_limit_completion = !self.is_limit_completion;
            self.is_limit_changed = true;
        } else if self.has_temperature && names(&["temperature"]) {
            self.has_temperature = false;
        } else if request.stream && self.has_stream_options && names(&["stream_options"]) {
            self.has_stream_options = false;
        } else if self.has_cache_marks && names(&["prompt_cache_key", "cache_control"]) {
            self.has_cache_marks = false;
        } else {
            return None;
        }
        Some(self)
    }

    fn names_schema(self, rejected: &str) -> bool {
        let words: &[&str] = match self.schema {
            SchemaSupport::JsonSchema => &["response_format", "json_schema", "output_config"],
            SchemaSupport::JsonObject => &["response_format", "json_object"],
            SchemaSupport::Tool => &["tools", "tool_choice", "tool use", "parallel_tool_calls"],
            SchemaSupport::PromptOnly | SchemaSupport::Auto => &[],
        };
        words.iter().any(|word| rejected.contains(word))
    }

    fn weaker(self) -> Option<SchemaSupport> {
        match self.schema {
            SchemaSupport::JsonSchema => Some(SchemaSupport::Tool),
            SchemaSupport::Tool if !self.is_anthropic => Some(SchemaSupport::JsonObject),
            SchemaSupport::Tool | SchemaSupport::JsonObject => Some(SchemaSupport::PromptOnly),
            SchemaSupport::PromptOnly | SchemaSupport::Auto => None,
        }
    }

    fn and(self, other: Self) -> Self {
        let strength = |schema| match schema {
            SchemaSupport::Auto | SchemaSupport::JsonSchema => 3,
            SchemaSupport::Tool => 2,
            SchemaSupport::JsonObject => 1,
            SchemaSupport::PromptOnly => 0,
        };
        let limit = if self.is_limit_changed { self } else { other };
        Self {
            schema: if strength(self.schema) <= strength(other.schema) { self.schema } else { other.schema },
            is_limit_completion: limit.is_limit_completion,
            is_limit_changed: limit.is_limit_changed,
            has_temperature: self.has_temperature && other.has_temperature,
            has_stream_options: self.has_stream_options && other.has_stream_options,
            has_cache_marks: self.has_cache_marks && other.has_cache_marks,
            ..self
        }
    }

    /// The schema, where these terms put it to the model in words.
    pub(super) fn schema_in_words<'a>(&self, request: &'a ChatRequest) -> Option<&'a ReplySchema> {
        match &request.format {
            ReplyFormat::Schema(schema)
                if matches!(self.schema, SchemaSupport::JsonObject | SchemaSupport::PromptOnly) =>
            {
                Some(schema)
            }
            _ => None,
        }
    }

    /// Whether a tool's arguments are the reply.
    pub(super) fn is_by_tool(&self, request: &ChatRequest) -> bool {
        self.schema == SchemaSupport::Tool && matches!(request.format, ReplyFormat::Schema(_))
    }
}

/// The schema as a model is told of it.
pub(super) fn in_words(schema: &ReplySchema) -> String {
    format!(
        "Reply with one JSON object and nothing else, its members in the order of this JSON Schema, no code fence \
         around it.\n{}",
        schema.schema
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn request() -> ChatRequest {
        let mut request = ChatRequest::new(Vec::new());
        request.format = ReplyFormat::Schema(Arc::new(ReplySchema {
            name: "reply".to_owned(),
            description: String::new(),
            schema: "{}".to_owned(),
        }));
        request
    }

    fn dialect(kind: ProviderKind, base: &str) -> Dialect {
        Dialect::new(&ProviderConfig::new(kind, "m"), &Url::parse(base).unwrap())
    }

    #[test]
    fn the_schema_is_asked_for_in_ever_weaker_ways() {
        let mut terms = dialect(ProviderKind::OpenAi, "http://host/v1").terms();
        let mut seen = vec![terms.schema];
        for rejected in ["response_format", "this model has no tools", "json_object is unknown"] {
            terms = terms.without(rejected, &request()).unwrap();
            seen.push(terms.schema);
        }
        use SchemaSupport::{JsonObject, JsonSchema, PromptOnly, Tool};
        assert_eq!(seen, [JsonSchema, Tool, JsonObject, PromptOnly]);
        assert_eq!(terms.without("response_format tools", &request()), None);

        let anthropic = dialect(ProviderKind::Anthropic, "http://host/v1").terms();
        assert_eq!(anthropic.schema, Tool);
        assert_eq!(anthropic.without("tools", &request()).unwrap().schema, PromptOnly);
    }

    #[test]
    fn what_was_not_sent_is_not_taken_out() {
        let terms = dialect(ProviderKind::OpenAi, "http://host/v1").terms();
        let mut plain = ChatRequest::new(Vec::new());
        plain.stream = false;
        for rejected in ["response_format", "stream_options", "prompt_cache_key", "messages", ""] {
            assert_eq!(terms.without(rejected, &plain), None, "{rejected}");
        }
    }

    #[test]
    fn the_name_of_the_limit_changes_once() {
        let terms = dialect(ProviderKind::OpenAi, "https://api.openai.com/v1").terms();
        assert!(terms.is_limit_completion);
        let changed = terms.without("max_completion_tokens", &request()).unwrap();
        assert!(!changed.is_limit_completion);
        assert_eq!(changed.without("max_tokens", &request()), None);
    }

    #[test]
    fn what_two_requests_learn_at_once_is_kept_of_both() {
        let dialect = dialect(ProviderKind::OpenAi, "https://api.openai.com/v1");
        let terms = dialect.terms();
        dialect.learn(terms.without("temperature", &request()).unwrap(), &"test");
        dialect.learn(terms.without("max_tokens", &request()).unwrap(), &"test");
        dialect.learn(terms.without("response_format", &request()).unwrap(), &"test");
        dialect.learn(terms, &"test");
        let kept = dialect.terms();
        assert_eq!(
            (kept.has_temperature, kept.is_limit_completion, kept.schema),
            (false, false, SchemaSupport::Tool)
        );
    }
}
