//! The part of the configuration that says which language model is asked, when, how, and for how much money.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use hp_base::Secret;

use super::caches::in_cache_folder;
use super::redacted;

/// Which language model is asked, when, how, and for how much money; in builds with the feature `llm`.
#[derive(Debug, Clone, PartialEq)]
pub struct LlmConfig {
    /// Who decides. Default: the cascade if there is a provider, else the embedded classifier.
    pub mode: Mode,
    /// From which confidence on the embedded classifier decides in a cascade; in [0, 1]. Default: 0.9.
    pub confidence_threshold: f64,
    /// The same for single categories, by name. Default: none.
    pub category_thresholds: Vec<(String, f64)>,
    /// Where the model is. Default: nowhere.
    pub endpoint: EndpointConfig,
    /// Further models of the same provider, asked in turn when the one before cannot answer. Default: none.
    pub fallback_models: Vec<String>,
    /// A model somewhere else, asked when none of the others can answer. Default: nowhere.
    pub fallback: EndpointConfig,
    /// Whether replies are read while they are written. Default: yes.
    pub streaming: bool,
    /// What becomes of the rest of a reply once its answer stands. Default: it is read.
    pub early: EarlyAcceptance,
    /// Whether providers are asked to keep what they have worked out of the instructions. Default: yes.
    pub prompt_caching: bool,
    /// Whether a prompt of fewer tokens is used where that is enough. Default: yes.
    pub token_optimization: bool,
    /// Calls at once at the most. Default: 3.
    pub parallel_calls: usize,
    /// Connections to a provider at the most. Default: 100.
    pub max_connections: usize,
    /// How long connecting may take. Default: 2 s.
    pub connection_timeout: Duration,
    /// How long a call may take whose answer is late already. Default: 5 s.
    pub call_timeout: Duration,
    /// Second attempts of a call that failed. Default: 1.
    pub retries: u32,
    /// The share of calls for which a second request may be sent when the first is late; in [0, 1]. Default: 0.05.
    pub hedge_share: f64,
    /// The share of failed calls at which a model is left alone for a while; in (0, 1]. Default: 0.5.
    pub breaker_failure_rate: f64,
    /// For how long it is left alone at first. Default: 1 s.
    pub breaker_open: Duration,
    /// What may be spent.
    pub budget: BudgetConfig,
    /// A file of prices that are not in the built-in table, or others there. Default: none.
    pub prices: Option<PathBuf>,
}

/// Who decides where a question goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// The cascade if there is a provider, else the embedded classifier.
    #[default]
    Auto,
    /// The embedded classifier.
    Embedded,
    /// A language model; the embedded classifier where that cannot.
    Llm,
    /// The embedded classifier where it is sure, else a language model.
    Cascade,
}

/// What a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Provider {
    /// There is none.
    #[default]
    None,
    /// OpenAI's chat completions, which most servers of models speak.
    OpenAi,
    /// The same at Azure, whose paths and header differ.
    Azure,
    /// Anthropic's messages.
    Anthropic,
}

/// How a reply is held to its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ReplyForm {
    /// As the provider does it best.
    #[default]
    Auto,
    /// By a JSON schema.
    JsonSchema,
    /// As the arguments of a tool the model must use.
    Tool,
    /// As any JSON object.
    JsonObject,
    /// By the instructions alone.
    Prompt,
}

/// What becomes of the rest of a reply once category and confidence have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EarlyAcceptance {
    /// The reply is waited for.
    Off,
    /// The answer is given, and the rest is read in the background: for the reason, and for what it has cost.
    #[default]
    Continue,
    /// The answer is given, and the call is cut: its tokens are saved, its exact cost is not known.
    Cut,
}

/// Where a model is. Its `Debug` shows neither the key nor a password in the address.
#[derive(Clone, PartialEq, Default)]
pub struct EndpointConfig {
    /// What is spoken there. Default: nothing.
    pub provider: Provider,
    /// The name of the model, at Azure that of the deployment. Default: none.
    pub model: String,
    /// The address before `/chat/completions` or `/messages`; empty for the provider's own. Default: empty.
    pub base_url: String,
    /// The key. Default: none.
    pub api_key: Secret,
    /// A file with the key, which wins over `api_key`. Default: none.
    pub api_key_file: Option<PathBuf>,
    /// The version of the interface, which Azure wants; empty for one that is known to work. Default: empty.
    pub api_version: String,
    /// How a reply is held to its form. Default: as the provider does it best.
    pub reply_form: ReplyForm,
    /// A file of certificates that vouch for the server. Default: those the machine trusts.
    pub ca_file: Option<PathBuf>,
}

/// What may be spent on language models.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetConfig {
    /// In a day (UTC), in dollars. Default: 10.
    pub daily: f64,
    /// In an hour, in dollars; zero for no bound but the day's. Default: 2.
    pub hourly: f64,
    /// The file that knows what was spent, without a Redis. Default: the one that [`file`](Self::file) finds.
    pub path: Option<PathBuf>,
}

impl LlmConfig {
    /// Whether a language model is to be asked at all.
    #[must_use]
    pub fn is_asked_for(&self) -> bool {
        match self.mode {
            Mode::Embedded => false,
            Mode::Auto => self.endpoint.provider != Provider::None,
            Mode::Llm | Mode::Cascade => true,
        }
    }
}

impl fmt::Debug for EndpointConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { provider, model, base_url, api_key, api_key_file, api_version, reply_form, ca_file } =
            self;
        f.debug_struct("EndpointConfig")
            .field("provider", provider)
            .field("model", model)
            .field("base_url", &redacted::url(base_url))
            .field("api_key", api_key)
            .field("api_key_file", api_key_file)
            .field("api_version", api_version)
            .field("reply_form", reply_form)
            .field("ca_file", ca_file)
            .finish()
    }
}

impl BudgetConfig {
    /// Where it is written down what was spent: `path`, or `hp-classify/budget` in the user's cache folder; `None` where there is
    /// neither.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        self.path.clone().or_else(|| in_cache_folder("budget"))
    }
}

impl Default for LlmConfig {
    fn default() -> Self {
        Self {
            mode: Mode::Auto,
            confidence_threshold: 0.9,
            category_thresholds: Vec::new(),
            endpoint: EndpointConfig::default(),
            fallback_models: Vec::new(),
            fallback: EndpointConfig::default(),
            streaming: true,
            early: EarlyAcceptance::Continue,
            prompt_caching: true,
            token_optimization: true,
            parallel_calls: 3,
            max_connections: 100,
            connection_timeout: Duration::from_secs(2),
            call_timeout: Duration::from_secs(5),
            retries: 1,
            hedge_share: 0.05,
            breaker_failure_rate: 0.5,
            breaker_open: Duration::from_secs(1),
            budget: BudgetConfig::default(),
            prices: None,
        }
    }
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self { daily: 10.0, hourly: 2.0, path: None }
    }
}
