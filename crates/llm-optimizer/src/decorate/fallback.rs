//! Asks the next model when one cannot answer.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hp_base::{Clock, Deadline};

use super::kinds;
use super::within::within;
use crate::{ChatModel, ChatReply, ChatRequest, LlmError};

/// How [`Fallback`] behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FallbackConfig {
    /// The share of what is left that a model may take while there is another one to ask, in (0, 1]. Default: 0.6.
    pub share: f64,
    /// With less time than this the next model is not asked. Default: 100 ms.
    pub least: Duration,
}

impl Default for FallbackConfig {
    fn default() -> Self {
        Self { share: 0.6, least: Duration::from_millis(100) }
    }
}

/// What has become of calls that the first model could not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FallbackStats {
    /// Calls for which a further model was asked.
    pub n_fallen_back: u64,
    /// Those of them that were answered.
    pub n_answered: u64,
}

/// Several models, asked in their order until one answers.
///
/// The next is asked when what went wrong need not go wrong there, which is all but a request that is invalid, and when
/// there is time. A model that is not the last has a part of the time only, so that it cannot use up the others'. When none
/// answers, it is the error of the last one asked.
#[derive(Debug)]
pub struct Fallback {
    first: Arc<dyn ChatModel>,
    others: Vec<Arc<dyn ChatModel>>,
    config: FallbackConfig,
    clock: Arc<dyn Clock>,
    n_fallen_back: AtomicU64,
    n_answered: AtomicU64,
}

impl Fallback {
    /// One model, before others are added.
    #[must_use]
    pub fn new(first: Arc<dyn ChatModel>, config: FallbackConfig, clock: Arc<dyn Clock>) -> Self {
        Self {
            first,
            others: Vec::new(),
            config,
            clock,
            n_fallen_back: AtomicU64::new(0),
            n_answered: AtomicU64::new(0),
        }
    }

    /// And if all before it cannot answer, this one.
    #[must_use]
    pub fn then(mut self, model: Arc<dyn ChatModel>) -> Self {
        self.others.push(model);
        self
    }

    /// What has happened since it was made.
    pub fn stats(&self) -> FallbackStats {
        FallbackStats {
            n_fallen_back: self.n_fallen_back.load(Ordering::Relaxed),
            n_answered: self.n_answered.load(Ordering::Relaxed),
        }
    }

    /// Asks a model that is not the last, which leaves time for the next.
    async fn ask_for_a_part(
        &self,
        model: &dyn ChatModel,
        request: &ChatRequest,
    ) -> Result<ChatReply, LlmError> {
        let left = request.deadline.left(&*self.clock);
        if left == Duration::MAX {
            return model.chat(request).await;
        }
        let part =
            Duration::try_from_secs_f64(left.as_secs_f64() * self.config.share).unwrap_or(left).min(left);
        let deadline = Deadline::after(&*self.clock, part);
        within(part, model.chat(&ChatRequest { deadline, ..request.clone() })).await
    }

    /// Whether to ask the next model after one has failed.
    fn goes_on(&self, error: &LlmError, request: &ChatRequest) -> bool {
        let left = request.deadline.left(&*self.clock);
        kinds::another_may_answer(error.kind()) && !left.is_zero() && left >= self.config.least
    }
}

impl Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fallback({}", self.first)?;
        self.others.iter().try_for_each(|model| write!(f, ", {model}"))?;
        f.write_str(")")
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ChatModel for Fallback {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatReply, LlmError> {
        let mut n_sent_in_vain = 0;
        let mut model = &self.first;
        let mut others = self.others.iter();
        let mut is_fallback = false;
        loop {
            let next = others.next();
            let result = match next {
                Some(_) => self.ask_for_a_part(&**model, request).await,
                None => model.chat(request).await,
            };
            match (result, next) {
                (Ok(mut reply), _) => {
                    let n_attempts = reply.report.n_attempts.max(1).saturating_add(n_sent_in_vain);
                    reply.report.n_attempts = n_attempts;
                    reply.report.is_fallback |= is_fallback;
                    self.n_answered.fetch_add(u64::from(is_fallback), Ordering::Relaxed);
                    return Ok(reply);
                }
                (Err(error), Some(next)) if self.goes_on(&error, request) => {
                    n_sent_in_vain += u32::from(kinds::was_sent(error.kind()));
                    self.n_fallen_back.fetch_add(u64::from(!is_fallback), Ordering::Relaxed);
                    is_fallback = true;
                    model = next;
                }
                (Err(error), _) => return Err(error),
            }
        }
    }

    async fn warm(&self) -> Result<(), LlmError> {
        let mut result = self.first.warm().await;
        for model in &self.others {
            result = result.and(model.warm().await);
        }
        result
    }
}
