//! Asking a language model one question.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hp_base::Clock;
use llm_optimizer::{
    ChatModel, ChatReply, ChatRequest, Finish, LlmError, LlmErrorKind, Message, ReplyFormat, ReplySchema,
    Role, SchemaSupport, TokenCounter, Usage,
};

use super::early::EarlyReaders;
use super::prompt::{Prompt, Prompts, user_turn};
use super::reply::{Invalid, Said, batch_schema, read_single, single_schema};
use super::stats::Counting;
use super::verdict::classification;
use crate::classifier::{Classifier, EarlyAnswer, Request, Verdict};
use crate::config::EarlyAcceptance;
use crate::embedded::EmbeddedClassifier;
use crate::error::{Error, ErrorKind, Result};
use crate::taxonomy::Taxonomy;
use crate::types::{Classification, DegradedReason, LlmUse, Source};

/// A reply takes a third of it; one that is cut there is no answer.
const MAX_OUTPUT_TOKENS: u32 = 160;
/// With less time left a second attempt is not begun.
const LEAST_FOR_REPAIR: Duration = Duration::from_millis(250);

/// How a language model is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct LlmOptions {
    /// Whether replies are read while they are written. Default: yes.
    pub streaming: bool,
    /// What becomes of the rest of a reply once its answer stands; only with streaming. Default: it is read.
    pub early: EarlyAcceptance,
    /// Whether the instructions are marked as something the provider should keep. Default: yes.
    pub prompt_caching: bool,
    /// Whether a question is asked with a prompt of few tokens where that is enough. Default: yes.
    pub token_optimization: bool,
    /// Below this confidence of the embedded classifier the fuller prompt is used; in [0, 1]. Default: 0.6.
    pub few_shot_below: f64,
    /// How long after its deadline a reply is still read, for the next who asks the same. Default: 3 s.
    pub grace: Duration,
}

impl Default for LlmOptions {
    fn default() -> Self {
        Self {
            streaming: true,
            early: EarlyAcceptance::Continue,
            prompt_caching: true,
            token_optimization: true,
            few_shot_below: 0.6,
            grace: Duration::from_secs(3),
        }
    }
}

/// Asks a language model; strict with its replies, and with no idea of its own where it fails.
///
/// The category and its confidence are the model's, which are not calibrated; entities, times and the proportion of the
/// other categories are what the embedded classifier sees.
#[derive(Debug)]
pub struct LlmClassifier {
    pub(super) model: Arc<dyn ChatModel>,
    pub(super) embedded: Arc<EmbeddedClassifier>,
    pub(super) prompts: Prompts,
    pub(super) options: LlmOptions,
    pub(super) counting: Counting,
    pub(super) batch_schema: Arc<ReplySchema>,
    schema: Arc<ReplySchema>,
    /// As the embedded classifier has it, for readers that outlive a call.
    taxonomy: Arc<Taxonomy>,
    clock: Arc<dyn Clock>,
    /// What else may change an answer, such as the names of the models.
    identity: String,
    counter: Option<Arc<TokenCounter>>,
    bad_reply: Option<BadReply>,
}

/// Is told the name of a model whose reply was no answer, which nobody but the one who asked can see.
#[derive(Clone)]
struct BadReply(Arc<dyn Fn(&str) + Send + Sync>);

impl fmt::Debug for BadReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BadReply(…)")
    }
}

/// What would be sent for a question.
#[derive(Debug, Clone)]
pub struct PromptPreview {
    /// The name of the prompt with its revision.
    pub prompt: String,
    /// The request.
    pub request: ChatRequest,
}

/// A failed attempt to have an answer.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) reason: DegradedReason,
    pub(super) error: Error,
}

impl LlmClassifier {
    /// Asks `model`; `identity` names it, and everything else outside of the prompts that may change an answer.
    ///
    /// # Errors
    /// [`InvalidData`](ErrorKind::InvalidData) when a prompt cannot be made for the taxonomy.
    pub fn new(
        model: Arc<dyn ChatModel>,
        identity: impl Into<String>,
        embedded: Arc<EmbeddedClassifier>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let taxonomy = embedded.taxonomy();
        Ok(Self {
            prompts: Prompts::of(taxonomy)?,
            schema: single_schema(taxonomy),
            taxonomy: Arc::new(taxonomy.clone()),
            batch_schema: batch_schema(taxonomy),
            options: LlmOptions::default(),
            counting: Counting::default(),
            model,
            embedded,
            clock,
            identity: identity.into(),
            counter: None,
            bad_reply: None,
        })
    }

    /// Asks with other options.
    #[must_use]
    pub fn with_options(mut self, options: LlmOptions) -> Self {
        self.options = options;
        self
    }

    /// Has `counter` count the tokens of each prompt, by which budgets put money aside.
    #[must_use]
    pub fn with_counter(mut self, counter: Arc<TokenCounter>) -> Self {
        self.counter = Some(counter);
        self
    }

    /// Tells `hear` the name of a model each time its reply was no answer, for the circuit breaker of that model.
    #[must_use]
    pub fn with_bad_reply_heard(mut self, hear: Arc<dyn Fn(&str) + Send + Sync>) -> Self {
        self.bad_reply = Some(BadReply(hear));
        self
    }

    /// The model, with what is around it.
    #[must_use]
    pub fn model(&self) -> &Arc<dyn ChatModel> {
        &self.model
    }

    /// What would be sent for a question first.
    #[must_use]
    pub fn preview(&self, request: &Request<'_>) -> PromptPreview {
        let seen = self.embedded.verdict(request).classification;
        let prompt = self.prompt_for(&seen);
        PromptPreview { prompt: prompt.revision.to_string(), request: self.chat_request(prompt, request) }
    }

    fn prompt_for(&self, seen: &Classification) -> &Prompt {
        let is_enough = seen.confidence >= self.options.few_shot_below;
        if self.options.token_optimization && is_enough {
            &self.prompts.compact
        } else {
            &self.prompts.few_shot
        }
    }

    fn chat_request(&self, prompt: &Prompt, request: &Request<'_>) -> ChatRequest {
        let mut chat = self.chat(prompt, user_turn(request), self.schema.clone(), MAX_OUTPUT_TOKENS);
        chat.deadline = request.deadline;
        chat
    }

    /// A request with instructions first, so that what recurs is a prefix, and the strangers' words in their own turn.
    pub(super) fn chat(
        &self,
        prompt: &Prompt,
        user_turn: String,
        schema: Arc<ReplySchema>,
        max_output_tokens: u32,
    ) -> ChatRequest {
        let mut system = Message::new(Role::System, prompt.system.clone());
        system.ends_cacheable_prefix = self.options.prompt_caching;
        let mut chat = ChatRequest {
            max_output_tokens,
            format: ReplyFormat::Schema(schema),
            stream: self.options.streaming,
            grace: self.options.grace,
            ..ChatRequest::new(vec![system, Message::new(Role::User, user_turn)])
        };
        chat.n_prompt_tokens = self.counter.as_ref().map(|counter| counter.count_request(&chat));
        chat
    }

    /// Asks for one question, and once more where the reply is no answer and there is time.
    pub(super) async fn ask(
        &self,
        request: &Request<'_>,
        seen: &Classification,
        early: Option<&EarlyAnswer<'_>>,
    ) -> std::result::Result<Verdict, Failure> {
        self.counting.count(|stats| stats.asked += 1);
        let prompt = self.prompt_for(seen);
        let first = self.attempt(request, seen, prompt, early).await;
        let invalid = match first {
            Ok(verdict) => return Ok(verdict),
            Err(Attempt::Failed(error)) => return Err(error.into()),
            Err(Attempt::Invalid(invalid)) => invalid,
        };
        if request.deadline.left(&*self.clock) < LEAST_FOR_REPAIR {
            return Err(invalid.into());
        }
        self.counting.count(|stats| stats.repairs += 1);
        match self.attempt(request, seen, &self.prompts.few_shot, early).await {
            Ok(mut verdict) => {
                if let Some(llm) = &mut verdict.llm {
                    llm.repaired = true;
                    llm.n_calls = llm.n_calls.map(|n| n + 1);
                }
                Ok(verdict)
            }
            Err(Attempt::Failed(error)) => Err(error.into()),
            Err(Attempt::Invalid(invalid)) => Err(invalid.into()),
        }
    }

    async fn attempt(
        &self,
        request: &Request<'_>,
        seen: &Classification,
        prompt: &Prompt,
        early: Option<&EarlyAnswer<'_>>,
    ) -> std::result::Result<Verdict, Attempt> {
        let mut chat = self.chat_request(prompt, request);
        let listens = early.filter(|_| self.options.streaming && self.options.early != EarlyAcceptance::Off);
        let Some(early) = listens else {
            let reply = self.model.chat(&chat).await.map_err(Attempt::Failed)?;
            return self.judge(&reply, seen, prompt);
        };
        let started = self.clock.now();
        let (tell, told) = tokio::sync::oneshot::channel();
        let tell = move |said: Said, began: Instant| {
            // OK to ignore: the call may have ended.
            let _ = tell.send((said, began));
        };
        let cuts = self.options.early == EarlyAcceptance::Cut;
        chat.readers =
            Some(Arc::new(EarlyReaders::new(self.taxonomy.clone(), self.clock.clone(), cuts, tell)));
        let call = self.model.chat(&chat);
        tokio::pin!(call);
        let mut told = std::pin::pin!(told);
        let mut stands = None;
        let reply = tokio::select! {
            biased;
            Ok((said, began)) = &mut told => {
                let llm = LlmUse {
                    accepted_early: true,
                    time_to_first_token: began.saturating_duration_since(started),
                    ..self.llm_use(prompt, None)
                };
                let verdict = self.verdict(&said, seen, prompt, llm);
                early(verdict.clone());
                stands = Some((said, verdict));
                call.await
            }
            reply = &mut call => reply,
        };
        match (reply, stands) {
            // A model that goes on and on about its reason has answered all the same, and is not to blame.
            (Ok(reply), Some((said, _))) if self.is_only_long(&reply) => {
                self.count_answer(seen, &said);
                let llm = LlmUse { accepted_early: true, ..self.llm_use(prompt, Some(&reply)) };
                Ok(self.verdict(&said, seen, prompt, llm))
            }
            (Ok(reply), _) => self.judge(&reply, seen, prompt),
            // It was given as an answer already, so the next who ask get the same.
            (Err(error), Some((said, verdict))) => {
                tracing::debug!(%error, "the rest of a reply whose answer stands has not come");
                self.count_answer(seen, &said);
                Ok(verdict)
            }
            (Err(error), None) => Err(Attempt::Failed(error)),
        }
    }

    /// Whether a reply was cut at its length limit, and is the beginning of an answer.
    fn is_only_long(&self, reply: &ChatReply) -> bool {
        reply.finish == Finish::Length && super::reply::read_cut(&reply.text, self.taxonomy()).is_ok()
    }

    /// What a reply says, if it is an answer.
    fn judge(
        &self,
        reply: &ChatReply,
        seen: &Classification,
        prompt: &Prompt,
    ) -> std::result::Result<Verdict, Attempt> {
        let taxonomy = self.taxonomy();
        let said = match reply.finish {
            Finish::Stop => read_single(&reply.text, taxonomy),
            Finish::Enough => super::reply::read_cut(&reply.text, taxonomy),
            Finish::Length => Err(Invalid::Cut),
            _ => Err(Invalid::Withheld),
        };
        let said = said.map_err(|invalid| {
            self.hear_bad_reply(reply);
            Attempt::Invalid(invalid)
        })?;
        self.count_answer(seen, &said);
        let llm =
            LlmUse { accepted_early: reply.finish == Finish::Enough, ..self.llm_use(prompt, Some(reply)) };
        Ok(self.verdict(&said, seen, prompt, llm))
    }

    pub(super) fn hear_bad_reply(&self, reply: &ChatReply) {
        self.counting.count(|stats| stats.invalid_replies += 1);
        if let Some(BadReply(hear)) = &self.bad_reply {
            hear(&reply.report.model);
        }
    }

    pub(super) fn count_answer(&self, seen: &Classification, said: &Said) {
        let taxonomy = self.taxonomy();
        if let Some(embedded) = taxonomy.index_of(seen.category.as_str()) {
            let labels: Vec<&str> =
                taxonomy.categories().iter().map(|category| category.id.as_str()).collect();
            self.counting.answered(&labels, embedded, said.category);
        }
    }

    pub(super) fn verdict(
        &self,
        said: &Said,
        seen: &Classification,
        prompt: &Prompt,
        llm: LlmUse,
    ) -> Verdict {
        let taxonomy = self.taxonomy();
        let options = self.embedded.options();
        let model = llm.model.as_deref().unwrap_or("the language model");
        let classification = classification(said, seen, taxonomy, options, model, &prompt.runs);
        Verdict { classification, source: Source::Llm, llm: Some(Box::new(llm)) }
    }

    pub(super) fn llm_use(&self, prompt: &Prompt, reply: Option<&ChatReply>) -> LlmUse {
        let report = reply.map(|reply| &reply.report);
        let usage = reply.and_then(|reply| reply.usage);
        let tokens = |of: fn(Usage) -> u32| usage.map(of);
        LlmUse {
            model: report.map(|report| report.model.to_string()),
            prompt: prompt.revision.to_string(),
            compact: prompt.revision == self.prompts.compact.revision,
            n_calls: report.map(|report| report.n_attempts),
            reply_form: report.and_then(|report| report.schema_support).and_then(reply_form),
            hedged: report.is_some_and(|report| report.is_hedged),
            fallback: report.is_some_and(|report| report.is_fallback),
            repaired: false,
            accepted_early: false,
            batch_size: 1,
            time_to_first_token: report.map(|report| report.time_to_first_token).unwrap_or_default(),
            input_tokens: tokens(|usage| usage.input_tokens),
            cached_input_tokens: tokens(|usage| usage.cached_input_tokens),
            output_tokens: tokens(|usage| usage.output_tokens),
            cost_micros: report.and_then(|report| report.cost).map(|cost| cost.0),
        }
    }
}

#[async_trait]
impl Classifier for LlmClassifier {
    async fn classify(&self, request: &Request<'_>) -> Result<Verdict> {
        let seen = self.embedded.verdict(request).classification;
        self.ask(request, &seen, None).await.map_err(|failure| failure.error)
    }

    async fn classify_early(&self, request: &Request<'_>, early: &EarlyAnswer<'_>) -> Result<Verdict> {
        let seen = self.embedded.verdict(request).classification;
        self.ask(request, &seen, Some(early)).await.map_err(|failure| failure.error)
    }

    fn taxonomy(&self) -> &Taxonomy {
        self.embedded.taxonomy()
    }

    fn revision(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.embedded.revision()).update(self.identity.as_bytes());
        for prompt in self.prompts.all() {
            hasher
                .update(&[0])
                .update(prompt.revision.as_bytes())
                .update(&[0])
                .update(prompt.system.as_bytes());
        }
        hasher.update(&[u8::from(self.options.token_optimization)]);
        hasher.update(&self.options.few_shot_below.to_le_bytes());
        let mut revision = [0; 16];
        hasher.finalize_xof().fill(&mut revision);
        revision
    }
}

/// What a means of holding a reply to its form is called in the configuration.
const fn reply_form(support: SchemaSupport) -> Option<&'static str> {
    Some(match support {
        SchemaSupport::JsonSchema => "json_schema",
        SchemaSupport::Tool => "tool",
        SchemaSupport::JsonObject => "json_object",
        SchemaSupport::PromptOnly => "prompt",
        _ => return None,
    })
}

/// An attempt without an answer.
enum Attempt {
    Failed(LlmError),
    Invalid(Invalid),
}

impl From<LlmError> for Failure {
    fn from(error: LlmError) -> Self {
        let reason = match error.kind() {
            LlmErrorKind::OutOfTime => DegradedReason::TimedOut,
            LlmErrorKind::RateLimited => DegradedReason::RateLimited,
            LlmErrorKind::CircuitOpen => DegradedReason::CircuitOpen,
            LlmErrorKind::Busy => DegradedReason::Busy,
            LlmErrorKind::OverBudget => DegradedReason::OverBudget,
            LlmErrorKind::BudgetUnknown => DegradedReason::BudgetUnknown,
            LlmErrorKind::InvalidReply => DegradedReason::InvalidReply,
            LlmErrorKind::InvalidConfig
            | LlmErrorKind::InvalidRequest
            | LlmErrorKind::Unauthorized
            | LlmErrorKind::NotFound => DegradedReason::Refused,
            _ => DegradedReason::Unavailable,
        };
        let message = format!("the language model has not answered: {error}");
        Self { reason, error: Error::new(ErrorKind::Llm, message).with_source(error) }
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        let message = format!("the reply of the language model {}", invalid.in_words());
        Self { reason: DegradedReason::InvalidReply, error: Error::new(ErrorKind::Llm, message) }
    }
}
