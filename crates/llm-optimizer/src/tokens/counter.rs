//! Counting by the vocabulary of OpenAI's newer models.

use std::fmt;

use quick_cache::sync::Cache;

use super::{most_tokens, sum};
use crate::ChatRequest;

/// Longer texts are not counted: the number no tokens of theirs exceed is told instead.
const LONGEST: usize = 1 << 20;

/// How many counts are kept; one takes some 50 bytes.
const N_KEPT: usize = 4096;

/// Other vocabularies need more tokens for the same text, up to 1.35 times as many by what their makers say.
const OTHERS: (u64, u64) = (135, 100);

/// Shorter texts are counted faster than they are looked up.
const SHORTEST_KEPT: usize = 256;

/// Counts tokens by the vocabulary o200k_base, that of OpenAI's models since gpt-4o.
///
/// For those models a text's count is exact. Of other models' vocabularies nothing is known here, and the count is an
/// estimate: 1.35 times as many, rounded up, and never more than the text has bytes. What providers add around messages
/// is counted as OpenAI has described it for its first chat models; how they count a schema is published by none, and it
/// is counted as it is written, which is more than they do.
///
/// The vocabulary is loaded when it is first used: that takes some 70 ms and 67 MB of memory, once a process, so
/// whoever serves requests calls [`load`](Self::load) before. Counting takes time in proportion to the text, and what
/// recurs, such as a prompt's beginning, is counted once.
///
/// ```
/// use llm_optimizer::TokenCounter;
///
/// let counter = TokenCounter::for_model("gpt-4o-mini");
/// assert!(counter.is_exact());
/// assert_eq!(counter.count_text("What is a metabolite?"), 6);
/// ```
pub struct TokenCounter {
    is_exact: bool,
    counts: Cache<[u8; 16], u32>,
}

impl TokenCounter {
    /// A counter for a model by its name.
    #[must_use]
    pub fn for_model(model: &str) -> Self {
        // A gateway may put the provider's name before that of the model.
        let name = model.rsplit('/').next().unwrap_or(model);
        let families = ["gpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "chatgpt-4o", "o1", "o3", "o4"];
        let is_of = |family: &&str| {
            name.strip_prefix(*family).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
        };
        Self { is_exact: families.iter().any(is_of), counts: Cache::new(N_KEPT) }
    }

    /// Whether texts are counted exactly, and not estimated.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// Loads the vocabulary, unless it is: some 70 ms of work.
    pub fn load(&self) {
        let _ = bpe_openai::o200k_base().count("");
    }

    /// How many tokens a text has. What is longer than a megabyte is not counted, but taken for as many as it has
    /// bytes.
    #[must_use]
    pub fn count_text(&self, text: &str) -> u32 {
        if text.len() > LONGEST {
            return most_tokens(text);
        }
        if text.len() < SHORTEST_KEPT {
            return self.count(text);
        }
        let mut key = [0; 16];
        blake3::Hasher::new().update(text.as_bytes()).finalize_xof().fill(&mut key);
        if let Some(count) = self.counts.get(&key) {
            return count;
        }
        let count = self.count(text);
        self.counts.insert(key, count);
        count
    }

    /// How many tokens a prompt has, with all that is sent along.
    #[must_use]
    pub fn count_request(&self, request: &ChatRequest) -> u32 {
        sum(request, |text| self.count_text(text))
    }

    fn count(&self, text: &str) -> u32 {
        let n_tokens = bpe_openai::o200k_base().count(text) as u64;
        let n_tokens = if self.is_exact { n_tokens } else { (n_tokens * OTHERS.0).div_ceil(OTHERS.1) };
        most_tokens(text).min(u32::try_from(n_tokens).unwrap_or(u32::MAX))
    }
}

impl fmt::Debug for TokenCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCounter")
            .field("is_exact", &self.is_exact)
            .field("n_kept", &self.counts.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Message, Role};

    #[test]
    fn openai_is_counted_exactly_and_others_estimated_above() {
        let names = ["gpt-4o", "gpt-4.1-nano", "gpt-5.1", "o4-mini-2025-04-16", "openai/gpt-5"];
        assert!(names.iter().all(|name| TokenCounter::for_model(name).is_exact()));
        let names = ["gpt-4", "claude-haiku-4-5", "o30", "llama-3", ""];
        assert!(!names.iter().any(|name| TokenCounter::for_model(name).is_exact()));

        let text = "Which metabolites are raised in the plasma of people with type 2 diabetes?";
        let exact = TokenCounter::for_model("gpt-4o").count_text(text);
        assert_eq!(exact, 15);
        assert_eq!(TokenCounter::for_model("claude").count_text(text), 21);
    }

    #[test]
    fn what_recurs_is_counted_once_and_what_is_long_not_at_all() {
        let counter = TokenCounter::for_model("gpt-4o");
        let prompt = "Classify the question. ".repeat(40);
        let request =
            ChatRequest::new(vec![Message::new(Role::System, &*prompt), Message::new(Role::User, "hello")]);
        let count = counter.count_request(&request);
        assert_eq!(count, 3 + 4 + 4 + counter.count(&prompt) + 1);
        assert_eq!((counter.count_request(&request), counter.counts.len()), (count, 1));
        assert_eq!(counter.count_text(&" ".repeat(LONGEST + 1)), LONGEST as u32 + 1);
    }

    proptest! {
        #[test]
        fn no_text_has_more_tokens_than_bytes(text in "\\PC{0,400}") {
            for model in ["gpt-4o", "other"] {
                let counter = TokenCounter::for_model(model);
                prop_assert!(counter.count_text(&text) <= most_tokens(&text));
                prop_assert_eq!(counter.count_text(&text), counter.count_text(&text));
            }
        }
    }
}
