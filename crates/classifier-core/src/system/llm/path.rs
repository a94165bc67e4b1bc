//! The path to a language model, and what can be seen of it.

use std::fmt;
use std::sync::Arc;

use llm_optimizer::decorate::{
    Breaker, BreakerStats, Concurrency, ConcurrencyStats, Hedge, HedgeStats, Retry, RetryStats,
};
use llm_optimizer::{
    BudgetState, ChatRequest, Ledger, LlmError, Meter, MeterSnapshot, PriceTable, TokenCounter,
};
use serde::Serialize;

use crate::classifier::{Classifier as _, Request, Verdict};
use crate::error::Result;
use crate::llm::{Cascade, LlmStats};

/// The way to a language model, with everything on it.
pub struct LlmPath {
    pub(super) cascade: Arc<Cascade>,
    pub(super) models: Vec<ModelPath>,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) counter: Arc<TokenCounter>,
    pub(super) prices: Arc<PriceTable>,
}

/// One model with what is around it.
pub(super) struct ModelPath {
    pub(super) name: String,
    pub(super) meter: Arc<Meter>,
    pub(super) breaker: Arc<Breaker>,
    pub(super) concurrency: Arc<Concurrency>,
    pub(super) retry: Arc<Retry>,
    pub(super) hedge: Option<Arc<Hedge>>,
}

/// What has gone on at one model.
#[derive(Debug, Clone)]
pub struct ModelStats {
    /// Its name.
    pub name: String,
    /// Calls, tokens, money, times.
    pub meter: MeterSnapshot,
    /// Whether it is left alone, and how often it was.
    pub breaker: BreakerStats,
    /// Calls under way and waiting.
    pub concurrency: ConcurrencyStats,
    /// Second attempts.
    pub retry: RetryStats,
    /// Second requests, if any may be sent.
    pub hedge: Option<HedgeStats>,
}

/// What a question would cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Whether they are counted exactly, and not estimated.
    pub is_exact: bool,
    /// Tokens of the reply at the most.
    pub max_output_tokens: u32,
    /// Millionths of a dollar at the most, where the price of the model is known.
    pub most_cost_micros: Option<u64>,
}

impl LlmPath {
    /// The classifier that decides who decides.
    #[must_use]
    pub fn cascade(&self) -> &Arc<Cascade> {
        &self.cascade
    }

    /// What has become of the questions.
    #[must_use]
    pub fn stats(&self) -> LlmStats {
        self.cascade.stats()
    }

    /// What has gone on at the models, in the order they are asked.
    #[must_use]
    pub fn models(&self) -> Vec<ModelStats> {
        let stats = |model: &ModelPath| ModelStats {
            name: model.name.clone(),
            meter: model.meter.snapshot(),
            breaker: model.breaker.stats(),
            concurrency: model.concurrency.stats(),
            retry: model.retry.stats(),
            hedge: model.hedge.as_ref().map(|hedge| hedge.stats()),
        };
        self.models.iter().map(stats).collect()
    }

    /// What a request would take at the model asked first.
    #[must_use]
    pub fn estimate(&self, request: &ChatRequest) -> Estimate {
        let prompt_tokens = self.counter.count_request(request);
        let price = self.models.first().and_then(|model| self.prices.price(&model.name));
        Estimate {
            prompt_tokens,
            is_exact: self.counter.is_exact(),
            max_output_tokens: request.max_output_tokens,
            most_cost_micros: price.map(|price| price.most(prompt_tokens, request.max_output_tokens).0),
        }
    }

    /// What was spent and what is left.
    ///
    /// # Errors
    /// `BudgetUnknown` when nobody can say.
    pub async fn budget(&self) -> std::result::Result<BudgetState, LlmError> {
        self.ledger.state().await
    }

    /// Asks the model one question, whatever the embedded classifier thinks of it, and waits for as long as a call may
    /// take; no cache is asked, and none is told.
    ///
    /// # Errors
    /// [`Llm`](crate::ErrorKind::Llm) with what the model has failed with.
    pub async fn ask(&self, request: &Request<'_>) -> Result<Verdict> {
        self.cascade.llm().classify(request).await
    }

    /// Does ahead what the first question would otherwise wait for.
    pub(in crate::system) async fn warm(&self) {
        let counter = self.counter.clone();
        // OK to ignore: what is not loaded now is loaded by the first who counts.
        let _ = tokio::task::spawn_blocking(move || counter.load()).await;
        if let Err(error) = self.cascade.llm().model().warm().await {
            tracing::warn!(%error, "the language model cannot be reached yet");
        }
    }

    /// Waits until what was spent is on record.
    pub(in crate::system) async fn close(&self) {
        if let Err(error) = self.ledger.flush().await {
            tracing::warn!(%error, "what was settled of the budget is not on record, and stays put aside");
        }
    }
}

impl fmt::Debug for LlmPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlmPath")
            .field("model", &self.cascade.llm().model().to_string())
            .finish_non_exhaustive()
    }
}
