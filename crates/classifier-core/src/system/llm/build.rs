//! From a configuration to the path: providers, what is around each, the budget they share, and the cascade.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hp_base::Clock;
use llm_optimizer::decorate::{
    Breaker, BreakerConfig, Concurrency, ConcurrencyConfig, DeadlineConfig, Fallback, FallbackConfig, Hedge,
    HedgeConfig, Retry, RetryConfig, WithDeadline,
};
use llm_optimizer::{
    BudgetLimits, Budgeted, ChatModel, Ledger, LlmError, LocalLedger, LocalLedgerConfig, Meter, MicroDollars,
    Price, PriceTable, ProviderConfig, ProviderKind, SchemaSupport, TokenCounter,
};

use super::path::{LlmPath, ModelPath};
use crate::config::{Config, EndpointConfig, LlmConfig, Mode, Provider, ReplyForm, secret};
use crate::embedded::EmbeddedClassifier;
use crate::error::{Error, ErrorKind, Result};
use crate::llm::{Cascade, LlmClassifier, LlmOptions, Thresholds};

/// How long a call takes at least; with less time none is begun.
const LEAST_TIME: Duration = Duration::from_millis(50);
/// What putting aside may wait for, be it a file or a server; that long is a tenth of the time there is.
const LEDGER_TIMEOUT: Duration = Duration::from_millis(200);

/// Builds the path; to be called inside of the runtime in which it is to work.
pub(super) fn build(
    config: &Config,
    embedded: Arc<EmbeddedClassifier>,
    clock: &Arc<dyn Clock>,
) -> Result<LlmPath> {
    let llm = &config.llm;
    let first = &llm.endpoint;
    if first.provider == Provider::None {
        return Err(invalid(
            "classifier_mode asks for a language model, and there is none; set llm_provider",
        ));
    }
    let mut endpoints = vec![first.clone()];
    endpoints.extend(
        llm.fallback_models.iter().map(|model| EndpointConfig { model: model.clone(), ..first.clone() }),
    );
    if llm.fallback.provider != Provider::None {
        endpoints.push(llm.fallback.clone());
    }
    if endpoints.iter().take(1 + llm.fallback_models.len()).any(|endpoint| endpoint.model.is_empty()) {
        return Err(invalid("there is a provider and no model; set llm_model"));
    }
    if endpoints.iter().any(|endpoint| endpoint.model.is_empty()) {
        return Err(invalid(
            "there is a provider to fall back on and no model of it; set llm_fallback_model",
        ));
    }
    let prices = Arc::new(prices(llm, &endpoints)?);
    let ledger = open_ledger(config, clock)?;
    let counter = Arc::new(TokenCounter::for_model(&first.model));
    let (mut models, mut stacks) = (Vec::new(), Vec::new());
    for endpoint in &endpoints {
        let (model, stack) = model_path(config, endpoint, &prices, &ledger, clock)?;
        models.push(model);
        stacks.push(stack);
    }
    let mut chain = stacks.into_iter();
    let first_stack = chain.next().ok_or_else(|| invalid("there is no language model; set llm_provider"))?;
    let stack: Arc<dyn ChatModel> = if chain.len() == 0 {
        first_stack
    } else {
        let fallback = Fallback::new(first_stack, FallbackConfig::default(), clock.clone());
        Arc::new(chain.fold(fallback, Fallback::then))
    };
    let deadline = DeadlineConfig { call_timeout: Some(llm.call_timeout), least: LEAST_TIME };
    let stack = Arc::new(WithDeadline::new(stack, deadline, clock.clone()));
    let identity: Vec<String> =
        endpoints.iter().map(|endpoint| format!("{}@{}", endpoint.model, endpoint.base_url)).collect();
    let breakers: Vec<(String, Arc<Breaker>)> =
        models.iter().map(|model| (model.name.clone(), model.breaker.clone())).collect();
    let classifier = LlmClassifier::new(stack, identity.join(" "), embedded, clock.clone())?
        .with_options(options(config))
        .with_counter(counter.clone())
        .with_bad_reply_heard(Arc::new(move |model: &str| {
            let breaker = breakers.iter().find(|(name, _)| name == model).or(breakers.first());
            if let Some((_, breaker)) = breaker {
                breaker.report_bad_reply();
            }
        }));
    let thresholds = (llm.mode != Mode::Llm).then(|| Thresholds {
        general: llm.confidence_threshold,
        by_category: llm.category_thresholds.clone(),
    });
    check_thresholds(llm, &classifier)?;
    let cascade = Arc::new(Cascade::new(Arc::new(classifier), thresholds));
    Ok(LlmPath { cascade, models, ledger, counter, prices })
}

fn options(config: &Config) -> LlmOptions {
    let llm = &config.llm;
    LlmOptions {
        streaming: llm.streaming,
        early: llm.early,
        prompt_caching: llm.prompt_caching,
        token_optimization: llm.token_optimization,
        few_shot_below: config.embedded.low_confidence_threshold,
        grace: llm.call_timeout.saturating_sub(config.max_response_time),
    }
}

fn check_thresholds(llm: &LlmConfig, classifier: &LlmClassifier) -> Result<()> {
    use crate::classifier::Classifier as _;

    let taxonomy = classifier.taxonomy();
    match llm.category_thresholds.iter().find(|(name, _)| taxonomy.index_of(name).is_none()) {
        None => Ok(()),
        Some((name, _)) => {
            let labels: Vec<&str> =
                taxonomy.categories().iter().map(|category| category.id.as_str()).collect();
            let labels = labels.join(", ");
            Err(invalid(&format!(
                "category_confidence_thresholds names the category `{name}`, which does not exist; there are {labels}"
            )))
        }
    }
}

/// A model, from the inside out; `llm_optimizer`'s decorators say why in this order.
fn model_path(
    config: &Config,
    endpoint: &EndpointConfig,
    prices: &Arc<PriceTable>,
    ledger: &Arc<dyn Ledger>,
    clock: &Arc<dyn Clock>,
) -> Result<(ModelPath, Arc<dyn ChatModel>)> {
    let llm = &config.llm;
    let name = endpoint.model.clone();
    let provider = provider(llm, endpoint)?.build(clock.clone()).map_err(llm_error)?;
    let price = prices.require(&name).map_err(llm_error)?;
    let meter = Arc::new(Meter::new(provider, name.as_str(), prices.clone(), clock.clone()));
    let budgeted = Arc::new(Budgeted::new(meter.clone(), ledger.clone(), price));
    let breaker_config = BreakerConfig {
        // Of the default of 2 s that is what suits chat models; who gives a slow model more time wants its answers.
        slow_call: config.max_response_time.saturating_mul(3) / 4,
        failure_rate: llm.breaker_failure_rate,
        open_for: llm.breaker_open,
        open_for_most: llm.breaker_open.saturating_mul(30),
        ..Breaker::config()
    };
    let breaker = Arc::new(Breaker::new(budgeted, breaker_config, clock.clone()));
    let concurrency = ConcurrencyConfig { limit: llm.parallel_calls, ..ConcurrencyConfig::default() };
    let concurrency = Arc::new(Concurrency::new(breaker.clone(), concurrency, clock.clone()));
    let retry = RetryConfig { max_retries: llm.retries, ..RetryConfig::default() };
    let retry = Arc::new(Retry::new(concurrency.clone(), retry, clock.clone()));
    let hedge = (llm.hedge_share > 0.0).then(|| {
        let hedge = HedgeConfig { share: llm.hedge_share, ..HedgeConfig::default() };
        Arc::new(Hedge::new(retry.clone(), hedge, clock.clone()))
    });
    let stack: Arc<dyn ChatModel> = match &hedge {
        Some(hedge) => hedge.clone(),
        None => retry.clone(),
    };
    Ok((ModelPath { name, meter, breaker, concurrency, retry, hedge }, stack))
}

/// What a provider is told.
fn provider(llm: &LlmConfig, endpoint: &EndpointConfig) -> Result<ProviderConfig> {
    let kind = match endpoint.provider {
        Provider::OpenAi | Provider::None => ProviderKind::OpenAi,
        Provider::Azure => ProviderKind::Azure,
        Provider::Anthropic => ProviderKind::Anthropic,
    };
    Ok(ProviderConfig {
        base_url: endpoint.base_url.clone(),
        api_key: secret(
            "the key of the language model",
            endpoint.api_key_file.as_deref(),
            &endpoint.api_key,
        )?,
        api_version: endpoint.api_version.clone(),
        schema_support: match endpoint.reply_form {
            ReplyForm::Auto => SchemaSupport::Auto,
            ReplyForm::JsonSchema => SchemaSupport::JsonSchema,
            ReplyForm::Tool => SchemaSupport::Tool,
            ReplyForm::JsonObject => SchemaSupport::JsonObject,
            ReplyForm::Prompt => SchemaSupport::PromptOnly,
        },
        prompt_cache: llm.prompt_caching,
        connect_timeout: llm.connection_timeout,
        max_connections: llm.max_connections,
        ca_file: endpoint.ca_file.clone(),
        call_timeout: llm.call_timeout,
        ..ProviderConfig::new(kind, endpoint.model.clone())
    })
}

/// The built-in prices, those of the user, and nothing for models on this machine.
fn prices(llm: &LlmConfig, endpoints: &[EndpointConfig]) -> Result<PriceTable> {
    let mut prices = PriceTable::built_in();
    if let Some(path) = &llm.prices {
        prices = prices.with_file(path).map_err(llm_error)?;
    }
    for endpoint in endpoints {
        if prices.price(&endpoint.model).is_none() && is_on_this_machine(&endpoint.base_url) {
            let free = Price::per_million(0.0, 0.0).map_err(llm_error)?;
            prices = prices.with_price(endpoint.model.clone(), free);
        }
    }
    Ok(prices)
}

fn is_on_this_machine(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => host.split(':').next().unwrap_or(host),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The ledger of the budget, in Redis where there is one, else in a file. To be called inside of the runtime in which it
/// is to work.
pub(super) fn open_ledger(config: &Config, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Ledger>> {
    let budget = &config.llm.budget;
    let limit = |dollars: f64| MicroDollars::from_dollars(dollars);
    let limits = BudgetLimits {
        daily: Some(limit(budget.daily)),
        hourly: (budget.hourly > 0.0).then(|| limit(budget.hourly)),
        ..BudgetLimits::default()
    };
    if config.l3.is_asked_for()
        && let Some(ledger) = remote::ledger(config, limits, clock)?
    {
        return Ok(ledger);
    }
    let Some(path) = budget.file() else {
        return Err(invalid(
            "there is nowhere to write down what language models have cost: neither XDG_CACHE_HOME nor HOME is set; set \
             budget_path",
        ));
    };
    local(&path, limits, clock)
}

fn local(path: &Path, limits: BudgetLimits, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Ledger>> {
    let file = LocalLedgerConfig { timeout: LEDGER_TIMEOUT, ..LocalLedgerConfig::new(path) };
    Ok(Arc::new(LocalLedger::open(file, limits, clock.clone()).map_err(llm_error)?))
}

#[cfg(feature = "remote")]
mod remote {
    //! The budget on the Redis that the caches use.

    use llm_optimizer::{RemoteLedger, RemoteLedgerConfig};

    use super::{Arc, BudgetLimits, Clock, Config, LEDGER_TIMEOUT, Ledger, Result, llm_error};

    pub(super) fn ledger(
        config: &Config,
        limits: BudgetLimits,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<Arc<dyn Ledger>>> {
        let l3 = &config.l3;
        let config = RemoteLedgerConfig {
            username: l3.username.clone(),
            password: l3.password()?,
            ca_file: l3.ca_file.clone(),
            prefix: l3.prefix.clone(),
            operation_timeout: l3.timeout.max(LEDGER_TIMEOUT / 4),
            url: l3.url.clone(),
            ..RemoteLedgerConfig::default()
        };
        Ok(Some(Arc::new(RemoteLedger::new(&config, limits, clock.clone()).map_err(llm_error)?)))
    }
}

#[cfg(not(feature = "remote"))]
mod remote {
    //! No Redis; the caches have said so already.

    use super::{Arc, BudgetLimits, Clock, Config, Ledger, Result};

    pub(super) fn ledger(
        _config: &Config,
        _limits: BudgetLimits,
        _clock: &Arc<dyn Clock>,
    ) -> Result<Option<Arc<dyn Ledger>>> {
        Ok(None)
    }
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}

fn llm_error(error: LlmError) -> Error {
    Error::new(ErrorKind::InvalidConfig, format!("language model: {error}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_free() {
        for url in
            ["http://localhost:11434/v1", "http://127.0.0.1/v1", "http://[::1]:8080", "http://u:p@localhost/"]
        {
            assert!(is_on_this_machine(url), "{url}");
        }
        for url in ["", "https://api.openai.com/v1", "http://localhost.evil.example/v1", "http://10.0.0.1/v1"]
        {
            assert!(!is_on_this_machine(url), "{url}");
        }
    }
}
