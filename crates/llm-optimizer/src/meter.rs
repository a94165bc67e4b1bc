//! A decorator that counts: calls and how they end, tokens, money and times, of each model.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use hp_base::Clock;

use crate::{
    ChatModel, ChatReply, ChatRequest, Finish, LlmError, LlmErrorKind, MicroDollars, Price, PriceTable,
};

mod snapshot;

pub use snapshot::{MeterSnapshot, ModelMeter, Times};

use snapshot::Tally;

/// Names of models that are told apart; more, as a provider might make them up, are counted together.
const N_NAMES: usize = 64;

/// Counts the calls of the model it is around, and tells what each has cost.
///
/// A reply is counted under the name the report gives, a call without a reply under the name of the model that was
/// asked. The cost of a reply is that in its report, or else reckoned by the price of its model from what the provider
/// says it took, and put into the report; where the provider has said nothing or there is no price it stays unknown and
/// is [counted as such](ModelMeter::n_unpriced).
pub struct Meter {
    inner: Arc<dyn ChatModel>,
    model: Arc<str>,
    prices: Arc<PriceTable>,
    clock: Arc<dyn Clock>,
    /// A call takes it twice, each time for less than a microsecond.
    tallies: Mutex<BTreeMap<Arc<str>, Tally>>,
}

impl Meter {
    /// A meter around the model of that name.
    #[must_use]
    pub fn new(
        inner: Arc<dyn ChatModel>,
        model: impl Into<Arc<str>>,
        prices: Arc<PriceTable>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { inner, model: model.into(), prices, clock, tallies: Mutex::default() }
    }

    /// All that was counted so far.
    #[must_use]
    pub fn snapshot(&self) -> MeterSnapshot {
        MeterSnapshot::of(&self.lock())
    }

    fn price(&self, model: &str) -> Option<Price> {
        self.prices.price(model).or_else(|| self.prices.price(&self.model))
    }

    fn count(&self, model: &Arc<str>, count: impl FnOnce(&mut Tally)) {
        let mut tallies = self.lock();
        let is_known = tallies.contains_key(model) || tallies.len() < N_NAMES;
        let name = if is_known { Arc::clone(model) } else { Arc::from("others") };
        count(tallies.entry(name).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Tally>> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ChatModel for Meter {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatReply, LlmError> {
        let running = Running::new(self);
        let mut result = self.inner.chat(request).await;
        running.ended(&mut result);
        result
    }

    async fn warm(&self) -> Result<(), LlmError> {
        self.inner.warm().await
    }
}

/// A call that is under way; one that is dropped was cancelled.
struct Running<'a> {
    meter: &'a Meter,
    started: Instant,
    is_ended: bool,
}

impl<'a> Running<'a> {
    fn new(meter: &'a Meter) -> Self {
        meter.count(&meter.model, |tally| tally.meter.n_running += 1);
        Self { meter, started: meter.clock.now(), is_ended: false }
    }

    fn ended(mut self, result: &mut Result<ChatReply, LlmError>) {
        self.is_ended = true;
        let meter = self.meter;
        let time = meter.clock.now().saturating_duration_since(self.started);
        match result {
            Ok(reply) => {
                let name = if reply.report.model.is_empty() { &meter.model } else { &reply.report.model };
                let price = meter.price(name);
                let reckoned = price.zip(reply.usage.as_ref()).map(|(price, usage)| price.cost(usage));
                reply.report.cost = reply.report.cost.or(reckoned);
                meter.count(name, |tally| tally.replied(reply, price, time));
            }
            Err(error) => meter.count(&meter.model, |tally| tally.failed(error.kind())),
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.meter.count(&self.meter.model, |tally| {
            tally.meter.n_running = tally.meter.n_running.saturating_sub(1);
            if !self.is_ended {
                tally.meter.n_calls += 1;
                tally.meter.n_cancelled += 1;
            }
        });
    }
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "meter({})", self.inner)
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter")
            .field("model", &self.model)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "tests/meter.rs"]
mod tests;
