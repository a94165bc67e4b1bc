//! Parameters of the path to a language model.

use std::time::Duration;

use super::{Kind, Parameter, Value, boolean, integer, number};
use crate::config::llm::{EarlyAcceptance, Mode};

const MODES: &[(&str, Mode)] =
    &[("auto", Mode::Auto), ("embedded", Mode::Embedded), ("llm", Mode::Llm), ("cascade", Mode::Cascade)];
const EARLY: &[(&str, EarlyAcceptance)] =
    &[("off", EarlyAcceptance::Off), ("continue", EarlyAcceptance::Continue), ("cut", EarlyAcceptance::Cut)];

/// In the order they are shown.
pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "classifier_mode",
        kind: Kind::Choice(&["auto", "embedded", "llm", "cascade"]),
        about: "Who decides: the embedded classifier, a language model (llm), or the embedded one where it is sure and a \
                language model where it is not (cascade). auto is cascade with an llm_provider and embedded without, so \
                that naming a provider is enough.",
        get: |config| super::chosen(MODES, config.llm.mode),
        set: |config, value| config.llm.mode = super::choice(MODES, &value),
    },
    Parameter {
        name: "confidence_threshold",
        kind: Kind::Number { min: 0.0, max: 1.0 },
        about: "From this confidence on the embedded classifier decides in a cascade. At 0.9 about one question in seven \
                goes to the language model, and with it most of those the embedded classifier would get wrong.",
        get: |config| Value::Number(config.llm.confidence_threshold),
        set: |config, value| config.llm.confidence_threshold = number(&value),
    },
    Parameter {
        name: "category_confidence_thresholds",
        kind: Kind::Thresholds,
        about: "The same for single categories, each as CATEGORY=THRESHOLD; empty for none, since the embedded confidence \
                is calibrated in all of them.",
        get: |config| {
            let thresholds = config.llm.category_thresholds.iter();
            Value::List(thresholds.map(|(name, threshold)| format!("{name}={threshold}")).collect())
        },
        set: |config, value| config.llm.category_thresholds = super::thresholds(value),
    },
    Parameter {
        name: "streaming_enabled",
        kind: Kind::Boolean,
        about: "Whether replies are read while they are written, so that an answer stands before its reason is there. On: \
                it saves about half the time.",
        get: |config| Value::Boolean(config.llm.streaming),
        set: |config, value| config.llm.streaming = boolean(&value),
    },
    Parameter {
        name: "early_acceptance",
        kind: Kind::Choice(&["off", "continue", "cut"]),
        about: "What becomes of the rest of a streamed reply once category and confidence have arrived: it is waited for \
                (off), read in the background (continue), or cut off (cut). continue knows what the call has cost and \
                why the model chose; cut saves the tokens of the reason and books the call at the most it can cost.",
        get: |config| super::chosen(EARLY, config.llm.early),
        set: |config, value| config.llm.early = super::choice(EARLY, &value),
    },
    Parameter {
        name: "enable_prompt_caching",
        kind: Kind::Boolean,
        about: "Whether the provider is asked to keep what it has worked out of the instructions. On: it costs nothing, and \
                helps where the instructions are long enough for the provider, as with a taxonomy of many categories.",
        get: |config| Value::Boolean(config.llm.prompt_caching),
        set: |config, value| config.llm.prompt_caching = boolean(&value),
    },
    Parameter {
        name: "token_optimization_enabled",
        kind: Kind::Boolean,
        about: "Whether questions that the embedded classifier has an idea of are asked with a prompt of fewer tokens. On: \
                the examples of the fuller prompt help where nothing else does.",
        get: |config| Value::Boolean(config.llm.token_optimization),
        set: |config, value| config.llm.token_optimization = boolean(&value),
    },
    Parameter {
        name: "parallel_llm_calls",
        kind: Kind::Integer { min: 1, max: 10_000 },
        about: "Calls to a language model at once at the most; a question that none could answer in time is answered by the \
                embedded classifier. 3 stays below what providers allow the smallest accounts.",
        get: |config| Value::Integer(config.llm.parallel_calls as i64),
        set: |config, value| config.llm.parallel_calls = integer(&value) as usize,
    },
    Parameter {
        name: "max_connections",
        kind: Kind::Integer { min: 1, max: 10_000 },
        about: "Connections to a provider at the most, those kept for later included. 100 never bounds the default of \
                parallel_llm_calls.",
        get: |config| Value::Integer(config.llm.max_connections as i64),
        set: |config, value| config.llm.max_connections = integer(&value) as usize,
    },
    Parameter {
        name: "connection_timeout",
        kind: Kind::Number { min: 0.001, max: 600.0 },
        about: "Seconds that connecting to a provider may take. 2 is all the time there is for an answer.",
        get: |config| Value::Number(config.llm.connection_timeout.as_secs_f64()),
        set: |config, value| config.llm.connection_timeout = Duration::from_secs_f64(number(&value)),
    },
    Parameter {
        name: "llm_call_timeout",
        kind: Kind::Number { min: 0.01, max: 600.0 },
        about: "Seconds a call may take in all. One that is not done when its question must be answered goes on until then, \
                and its answer is there for the next who asks. 5 waits for most of the late ones.",
        get: |config| Value::Number(config.llm.call_timeout.as_secs_f64()),
        set: |config, value| config.llm.call_timeout = Duration::from_secs_f64(number(&value)),
    },
    Parameter {
        name: "llm_retries",
        kind: Kind::Integer { min: 0, max: 10 },
        about: "Second attempts of a call that failed, as far as the time allows. 1, since within 2 seconds there is hardly \
                time for more.",
        get: |config| Value::Integer(i64::from(config.llm.retries)),
        set: |config, value| config.llm.retries = integer(&value) as u32,
    },
    Parameter {
        name: "hedge_share",
        kind: Kind::Number { min: 0.0, max: 1.0 },
        about: "The share of calls for which a second request may be sent when the first takes longer than 95 in 100 do; the \
                first reply counts, and both cost. 0.05 is those 5 in 100; 0 sends none.",
        get: |config| Value::Number(config.llm.hedge_share),
        set: |config, value| config.llm.hedge_share = number(&value),
    },
    Parameter {
        name: "circuit_breaker_failure_rate",
        kind: Kind::Number { min: 0.01, max: 1.0 },
        about: "The share of failed calls within ten seconds at which a model is left alone for a while. At 0.5 a provider \
                that fails every other time is still of use.",
        get: |config| Value::Number(config.llm.breaker_failure_rate),
        set: |config, value| config.llm.breaker_failure_rate = number(&value),
    },
    Parameter {
        name: "circuit_breaker_open_seconds",
        kind: Kind::Number { min: 0.01, max: 600.0 },
        about: "For so long a failing model is left alone before a few calls try it again; each failed trial doubles it, up \
                to thirty times as long. 1 notices a short outage's end at once.",
        get: |config| Value::Number(config.llm.breaker_open.as_secs_f64()),
        set: |config, value| config.llm.breaker_open = Duration::from_secs_f64(number(&value)),
    },
    Parameter {
        name: "daily_budget",
        kind: Kind::Number { min: 0.0, max: 1e9 },
        about: "Dollars that may be spent on language models in a day (UTC), by all replicas that share a Redis; then the \
                embedded classifier answers. 10 is some hundred thousand questions to a small model.",
        get: |config| Value::Number(config.llm.budget.daily),
        set: |config, value| config.llm.budget.daily = number(&value),
    },
    Parameter {
        name: "hourly_budget",
        kind: Kind::Number { min: 0.0, max: 1e9 },
        about: "The same for an hour; 0 for no bound but the day's. 2 keeps a loop gone wild from spending the day's at once.",
        get: |config| Value::Number(config.llm.budget.hourly),
        set: |config, value| config.llm.budget.hourly = number(&value),
    },
    Parameter {
        name: "budget_path",
        kind: Kind::Text { may_be_empty: true },
        about: "The file in which it is written down what was spent, where there is no Redis. Empty for hp-classify/budget \
                in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache); where there is none, nothing is spent.",
        get: |config| super::path_value(config.llm.budget.path.as_deref()),
        set: |config, value| config.llm.budget.path = super::path(value),
    },
    Parameter {
        name: "llm_prices",
        kind: Kind::Text { may_be_empty: true },
        about: "A file of prices (TOML) of models that the built-in table does not have, or has otherwise. Empty for none. A \
                model at an address of this machine costs nothing unless a table says so.",
        get: |config| super::path_value(config.llm.prices.as_deref()),
        set: |config, value| config.llm.prices = super::path(value),
    },
];
