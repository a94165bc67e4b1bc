//! A decorator that asks the budget before it asks the model.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Ledger, Reservation};
use crate::{
    ChatModel, ChatReply, ChatRequest, LlmError, LlmErrorKind, MicroDollars, Price, most_prompt_tokens,
};

/// Puts the most a call can cost aside before it is made, and settles what it did cost.
///
/// The most is reckoned by the tokens of the prompt, as [counted](ChatRequest::n_prompt_tokens) plus a
/// [margin](Self::with_margin), or else as many as it has bytes, and a reply of full length. What a call did cost is what
/// its report says, or else what its usage costs by the price; where nobody says, as for a call that was cut early, was
/// cancelled or broke off, all that was put aside is spent. A call that surely was not billed is not paid for:
/// one that was refused, or answered with an error before there was a reply.
///
/// It belongs right around the provider, inside of what makes several requests for a reply, so that each of them is put
/// aside for; one that has lost a race is then paid for as well. Around such a decorator it must know the
/// [number of requests](Self::with_most_attempts).
///
/// No call is made that might exceed a limit, as long as what is put aside is an upper bound: an estimate of the prompt's
/// tokens must lie above, and the price must be the model's. If a call has cost more, that is booked, and a warning
/// logged.
pub struct Budgeted {
    inner: Arc<dyn ChatModel>,
    ledger: Arc<dyn Ledger>,
    price: Price,
    margin: f64,
    most_attempts: u32,
}

/// Tokens put aside beyond the share of the margin, for what providers put around a prompt.
const EXTRA_TOKENS: u32 = 32;

impl Budgeted {
    /// A model whose calls cost that price, paid from the ledger.
    #[must_use]
    pub fn new(inner: Arc<dyn ChatModel>, ledger: Arc<dyn Ledger>, price: Price) -> Self {
        Self { inner, ledger, price, margin: 0.1, most_attempts: 1 }
    }

    /// With a share of the counted prompt tokens to be put aside on top, at least 0, beside 32 tokens that always are.
    /// Default: 0.1.
    #[must_use]
    pub fn with_margin(mut self, share: f64) -> Self {
        self.margin = share.max(0.0);
        self
    }

    /// With the number of requests that the model inside may make for one reply, at least 1: so many are put aside for,
    /// and those in vain are paid in full. Default: 1.
    #[must_use]
    pub fn with_most_attempts(mut self, n: u32) -> Self {
        self.most_attempts = n.max(1);
        self
    }

    /// The most one request can cost.
    fn most(&self, request: &ChatRequest) -> MicroDollars {
        let n_tokens = match request.n_prompt_tokens {
            // OK to cast: it saturates.
            Some(counted) => counted.saturating_add((f64::from(counted) * self.margin).ceil() as u32),
            None => most_prompt_tokens(request),
        };
        self.price.most(n_tokens.saturating_add(EXTRA_TOKENS), request.max_output_tokens)
    }

    /// What a reply has cost, if that can be said.
    fn spent(&self, reply: &ChatReply, most: MicroDollars) -> Option<MicroDollars> {
        let reckoned = reply.usage.as_ref().map(|usage| self.price.cost(usage));
        let spent = reply.report.cost.or(reckoned)?;
        let n_in_vain = reply.report.n_attempts.saturating_sub(1);
        Some(spent.plus(times(most, n_in_vain)))
    }

    fn settle(&self, put_aside: Reservation, most: MicroDollars, result: &Result<ChatReply, LlmError>) {
        match result {
            Ok(reply) => {
                if let Some(spent) = self.spent(reply, most) {
                    put_aside.settle(spent);
                }
            }
            // Of several requests the last alone is known, and the others may have cost something.
            Err(error) if self.most_attempts == 1 && is_free(error.kind()) => put_aside.release(),
            // Dropped, and with that spent.
            Err(_) => {}
        }
    }
}

fn times(amount: MicroDollars, n: u32) -> MicroDollars {
    MicroDollars(amount.0.saturating_mul(u64::from(n)))
}

/// Whether a call that failed so was certainly not billed.
const fn is_free(kind: LlmErrorKind) -> bool {
    match kind {
        LlmErrorKind::InvalidConfig
        | LlmErrorKind::InvalidRequest
        | LlmErrorKind::Unauthorized
        | LlmErrorKind::NotFound
        | LlmErrorKind::RateLimited
        | LlmErrorKind::Unavailable
        | LlmErrorKind::CircuitOpen
        | LlmErrorKind::Busy
        | LlmErrorKind::OverBudget
        | LlmErrorKind::BudgetUnknown => true,
        LlmErrorKind::Disconnected | LlmErrorKind::OutOfTime | LlmErrorKind::InvalidReply => false,
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ChatModel for Budgeted {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatReply, LlmError> {
        let most = self.most(request);
        let put_aside = self.ledger.reserve(times(most, self.most_attempts)).await?;
        // From here on a call that is dropped is paid for.
        let result = self.inner.chat(request).await;
        self.settle(put_aside, most, &result);
        result
    }

    async fn warm(&self) -> Result<(), LlmError> {
        self.inner.warm().await
    }
}

impl fmt::Display for Budgeted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "budget({})", self.inner)
    }
}

impl fmt::Debug for Budgeted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budgeted")
            .field("ledger", &self.ledger)
            .field("price", &self.price)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "../tests/budgeted.rs"]
mod tests;
