//! Parameters of where language models are.

use hp_base::Secret;

use super::{Kind, Parameter, Value, list, path, path_value, text};
use crate::config::llm::{Provider, ReplyForm};
use crate::config::redacted;

const PROVIDERS: &[(&str, Provider)] = &[
    ("none", Provider::None),
    ("openai", Provider::OpenAi),
    ("azure", Provider::Azure),
    ("anthropic", Provider::Anthropic),
];
const FORMS: &[(&str, ReplyForm)] = &[
    ("auto", ReplyForm::Auto),
    ("json_schema", ReplyForm::JsonSchema),
    ("tool", ReplyForm::Tool),
    ("json_object", ReplyForm::JsonObject),
    ("prompt", ReplyForm::Prompt),
];

/// In the order they are shown.
pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "llm_provider",
        kind: Kind::Choice(&["none", "openai", "azure", "anthropic"]),
        about: "What the language model's provider speaks: openai (OpenAI, and whatever is compatible: Ollama, vLLM, \
                llama.cpp, OpenRouter, Together, Gemini), azure, or anthropic. none needs no key and no network.",
        get: |config| super::chosen(PROVIDERS, config.llm.endpoint.provider),
        set: |config, value| config.llm.endpoint.provider = super::choice(PROVIDERS, &value),
    },
    Parameter {
        name: "llm_model",
        kind: Kind::Text { may_be_empty: true },
        about: "The name of the model, at Azure that of the deployment. Empty for none: which model is worth its price is \
                yours to say.",
        get: |config| Value::Text(config.llm.endpoint.model.clone()),
        set: |config, value| config.llm.endpoint.model = text(value),
    },
    Parameter {
        name: "llm_base_url",
        kind: Kind::Text { may_be_empty: true },
        about: "The address before /chat/completions or /messages, such as http://localhost:11434/v1. Empty for that of \
                OpenAI or Anthropic.",
        get: |config| Value::Text(redacted::url(&config.llm.endpoint.base_url)),
        set: |config, value| config.llm.endpoint.base_url = text(value),
    },
    Parameter {
        name: "llm_api_key",
        kind: Kind::Secret,
        about: "The provider's key; empty for none, as most servers of one's own need none. It is never shown, but other \
                users of the machine may see flags and variables: llm_api_key_file is safer.",
        get: |config| Value::Secret(redacted::whole(&config.llm.endpoint.api_key)),
        set: |config, value| config.llm.endpoint.api_key = Secret::new(text(value)),
    },
    Parameter {
        name: "llm_api_key_file",
        kind: Kind::Text { may_be_empty: true },
        about: "A file with that key, without the line's end; it wins over llm_api_key. Empty for none.",
        get: |config| path_value(config.llm.endpoint.api_key_file.as_deref()),
        set: |config, value| config.llm.endpoint.api_key_file = path(value),
    },
    Parameter {
        name: "llm_api_version",
        kind: Kind::Text { may_be_empty: true },
        about: "The version of the interface that Azure or Anthropic is asked for. Empty for one that is known to work.",
        get: |config| Value::Text(config.llm.endpoint.api_version.clone()),
        set: |config, value| config.llm.endpoint.api_version = text(value),
    },
    Parameter {
        name: "llm_reply_form",
        kind: Kind::Choice(&["auto", "json_schema", "tool", "json_object", "prompt"]),
        about: "How replies are held to their form: by a JSON schema, as a tool's arguments, as any JSON object, or by the \
                prompt alone. auto begins with the provider's best and steps down once where the server refuses it.",
        get: |config| super::chosen(FORMS, config.llm.endpoint.reply_form),
        set: |config, value| config.llm.endpoint.reply_form = super::choice(FORMS, &value),
    },
    Parameter {
        name: "llm_ca_file",
        kind: Kind::Text { may_be_empty: true },
        about: "A file of certificates (PEM) that vouch for the provider's server besides those the machine trusts. Empty for \
                none.",
        get: |config| path_value(config.llm.endpoint.ca_file.as_deref()),
        set: |config, value| config.llm.endpoint.ca_file = path(value),
    },
    Parameter {
        name: "llm_fallback_models",
        kind: Kind::List,
        about: "Further models of the same provider, asked in turn when the one before cannot answer. Empty for none: the \
                embedded classifier always can.",
        get: |config| Value::List(config.llm.fallback_models.clone()),
        set: |config, value| config.llm.fallback_models = list(value),
    },
    Parameter {
        name: "llm_fallback_provider",
        kind: Kind::Choice(&["none", "openai", "azure", "anthropic"]),
        about: "What another provider speaks, asked when no model of the first can answer. none, since it is a second \
                account.",
        get: |config| super::chosen(PROVIDERS, config.llm.fallback.provider),
        set: |config, value| config.llm.fallback.provider = super::choice(PROVIDERS, &value),
    },
    Parameter {
        name: "llm_fallback_model",
        kind: Kind::Text { may_be_empty: true },
        about: "The name of the model there. Empty for none.",
        get: |config| Value::Text(config.llm.fallback.model.clone()),
        set: |config, value| config.llm.fallback.model = text(value),
    },
    Parameter {
        name: "llm_fallback_base_url",
        kind: Kind::Text { may_be_empty: true },
        about: "The address there, as llm_base_url. Empty for that of OpenAI or Anthropic.",
        get: |config| Value::Text(redacted::url(&config.llm.fallback.base_url)),
        set: |config, value| config.llm.fallback.base_url = text(value),
    },
    Parameter {
        name: "llm_fallback_api_key",
        kind: Kind::Secret,
        about: "The key there, as llm_api_key. Empty for none.",
        get: |config| Value::Secret(redacted::whole(&config.llm.fallback.api_key)),
        set: |config, value| config.llm.fallback.api_key = Secret::new(text(value)),
    },
    Parameter {
        name: "llm_fallback_api_key_file",
        kind: Kind::Text { may_be_empty: true },
        about: "A file with that key, without the line's end; it wins over llm_fallback_api_key. Empty for none.",
        get: |config| path_value(config.llm.fallback.api_key_file.as_deref()),
        set: |config, value| config.llm.fallback.api_key_file = path(value),
    },
];
