//! Asking a language model many questions in one call; what the reply does not settle is asked by itself.

use std::collections::HashMap;

use futures_util::StreamExt as _;
use futures_util::stream::{self};
use llm_optimizer::Finish;

use super::classifier::{Failure, LlmClassifier};
use super::prompt::user_turn_of_many;
use super::reply::{Said, read_batch};
use crate::classifier::{Classifier as _, Request, Verdict};
use crate::error::Result;
use crate::types::Classification;

/// Tokens of an item of the reply at the most, those of its id and of JSON included.
const OUTPUT_TOKENS_PER_ITEM: u32 = 40;
/// Questions of a batch that are asked by themselves at the same time; the model's own limit comes on top.
const MOST_AT_ONCE: usize = 8;

impl LlmClassifier {
    /// Asks for many questions in one call, and gives the answers in the order of the questions.
    ///
    /// Items are matched by their ids, never by their place. A question whose item is missing, doubled or not valid is
    /// asked by itself, so that nobody's answer depends on a neighbour's question. The sooner of the deadlines counts for the
    /// call.
    ///
    /// # Errors
    /// By question, as [`classify`](crate::Classifier::classify).
    pub async fn classify_many(&self, requests: &[Request<'_>]) -> Vec<Result<Verdict>> {
        let seen: Vec<Classification> =
            requests.iter().map(|request| self.embedded.verdict(request).classification).collect();
        let answers = self.ask_many(requests, &seen).await;
        answers.into_iter().map(|answer| answer.map_err(|failure| failure.error)).collect()
    }

    pub(super) async fn ask_many(
        &self,
        requests: &[Request<'_>],
        seen: &[Classification],
    ) -> Vec<std::result::Result<Verdict, Failure>> {
        let mut verdicts =
            if requests.len() > 1 { self.verdicts_of_batch(requests, seen).await } else { HashMap::new() };
        let answers = requests.iter().zip(seen).enumerate().map(|(number, (request, seen))| {
            let verdict = verdicts.remove(&number);
            async move {
                match verdict {
                    Some(verdict) => Ok(verdict),
                    None => {
                        self.counting.count(|stats| stats.fallen_apart += u64::from(requests.len() > 1));
                        self.ask(request, seen, None).await
                    }
                }
            }
        });
        // Collected first: what borrows must not be held by the stream's closures.
        let answers: Vec<_> = answers.collect();
        stream::iter(answers).buffered(MOST_AT_ONCE).collect().await
    }

    /// What one call says, by the number of the question; nothing of questions it does not settle.
    async fn verdicts_of_batch(
        &self,
        requests: &[Request<'_>],
        seen: &[Classification],
    ) -> HashMap<usize, Verdict> {
        let ids: Vec<String> = (1..=requests.len()).map(|number| format!("q{number}")).collect();
        let items = ids.iter().map(String::as_str).zip(requests);
        let n_items = u32::try_from(requests.len()).unwrap_or(u32::MAX);
        let prompt = &self.prompts.batch;
        let mut chat = self.chat(
            prompt,
            user_turn_of_many(items),
            self.batch_schema.clone(),
            n_items.saturating_mul(OUTPUT_TOKENS_PER_ITEM),
        );
        chat.deadline =
            requests.iter().fold(chat.deadline, |deadline, request| deadline.sooner(request.deadline));
        let reply = match self.model.chat(&chat).await {
            Ok(reply) => reply,
            Err(error) => {
                tracing::debug!(%error, "a batch has failed; its questions are asked one by one");
                return HashMap::new();
            }
        };
        let said = match reply.finish {
            Finish::Stop => read_batch(&reply.text, self.taxonomy()).unwrap_or_else(|invalid| {
                tracing::debug!(what = invalid.in_words(), "a reply to a batch is not valid");
                HashMap::new()
            }),
            _ => HashMap::new(),
        };
        if said.is_empty() {
            self.hear_bad_reply(&reply);
        }
        let share = |tokens: Option<u32>| tokens.map(|n| n.div_ceil(n_items));
        let mut llm = self.llm_use(prompt, Some(&reply));
        llm.batch_size = n_items;
        llm.input_tokens = share(llm.input_tokens);
        llm.cached_input_tokens = share(llm.cached_input_tokens);
        llm.output_tokens = share(llm.output_tokens);
        llm.cost_micros = llm.cost_micros.map(|cost| cost.div_ceil(u64::from(n_items)));
        let verdict = |(number, id): (usize, &String)| {
            let said: &Said = said.get(id)?;
            self.counting.count(|stats| stats.asked += 1);
            self.count_answer(&seen[number], said);
            Some((number, self.verdict(said, &seen[number], prompt, llm.clone())))
        };
        ids.iter().enumerate().filter_map(verdict).collect()
    }
}
