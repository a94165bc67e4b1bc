//! Counting tokens, and which of a prompt's the provider has read before.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bpe_openai::{Tokenizer, o200k_base};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// Prefixes below this are never kept; OpenAI and Anthropic say so of most of their models.
pub(crate) const MIN_CACHED_TOKENS: u32 = 1024;

/// OpenAI keeps prefixes in steps of so many tokens.
const STEP: usize = 128;

/// A prefix that nobody has sent for so long is forgotten.
const PREFIX_TTL: Duration = Duration::from_secs(300);

/// Tokens of all the texts that are remembered, at the most: 16 MiB.
const MAX_REMEMBERED: u64 = 4 << 20;

/// The tokenizer, and the texts and prefixes it has seen; both are bounded.
pub(crate) struct Tokens {
    tokenizer: &'static Tokenizer,
    texts: Cache<u64, Arc<[u32]>, ByLength>,
    prefixes: Cache<u64, Instant>,
}

#[derive(Clone)]
struct ByLength;

impl Weighter<u64, Arc<[u32]>> for ByLength {
    fn weight(&self, _key: &u64, tokens: &Arc<[u32]>) -> u64 {
        // OK to cast: a length.
        tokens.len() as u64 + 8
    }
}

impl Tokens {
    /// Loads the table of o200k_base, which takes 70 ms once per process.
    pub(crate) fn load() -> Self {
        Self {
            tokenizer: o200k_base(),
            texts: Cache::with_weighter(16_384, MAX_REMEMBERED, ByLength),
            prefixes: Cache::new(65_536),
        }
    }

    /// The tokens of a text.
    pub(crate) fn of(&self, text: &str) -> Arc<[u32]> {
        let key = hash(text);
        if let Some(tokens) = self.texts.get(&key) {
            return tokens;
        }
        let tokens: Arc<[u32]> = self.tokenizer.encode(text).into();
        self.texts.insert(key, Arc::clone(&tokens));
        tokens
    }

    /// The text in the pieces that its tokens are; a character that several tokens make up stays whole.
    pub(crate) fn pieces(&self, tokens: &[u32]) -> Vec<Piece> {
        let mut pieces = Vec::with_capacity(tokens.len());
        let (mut bytes, mut n_tokens) = (Vec::new(), 0);
        for token in tokens {
            bytes.extend_from_slice(self.tokenizer.bpe.token_bytes(*token));
            n_tokens += 1;
            if let Ok(text) = str::from_utf8(&bytes) {
                pieces.push(Piece { text: text.to_owned(), n_tokens });
                bytes.clear();
                n_tokens = 0;
            }
        }
        if n_tokens > 0 {
            // The reply was cut inside of a character.
            pieces.push(Piece { text: String::from_utf8_lossy(&bytes).into_owned(), n_tokens });
        }
        pieces
    }

    /// How many tokens at the beginning of the prompt are known from an earlier one, in whole steps; from now on all of
    /// it is known.
    pub(crate) fn known_prefix(&self, messages: &[Arc<[u32]>]) -> u32 {
        let n_tokens: usize = messages.iter().map(|tokens| tokens.len()).sum();
        if n_tokens < MIN_CACHED_TOKENS as usize {
            return 0;
        }
        let now = Instant::now();
        let mut hasher = DefaultHasher::new();
        let (mut n_read, mut n_known) = (0_u32, 0);
        for tokens in messages {
            // Where a message ends is part of the prompt.
            u32::MAX.hash(&mut hasher);
            for token in tokens.iter() {
                token.hash(&mut hasher);
                n_read += 1;
                if n_read >= MIN_CACHED_TOKENS
                    && (n_read as usize).is_multiple_of(STEP)
                    && self.is_known(hasher.finish(), now)
                {
                    n_known = n_read;
                }
            }
        }
        n_known
    }

    /// Whether exactly this prefix, whose marked end comes after these texts, is known; from now on it is.
    pub(crate) fn knows_marked(&self, texts: &[Arc<[u32]>]) -> bool {
        let mut hasher = DefaultHasher::new();
        texts.hash(&mut hasher);
        self.is_known(hasher.finish(), Instant::now())
    }

    fn is_known(&self, prefix: u64, now: Instant) -> bool {
        let is_known = self.prefixes.get(&prefix).is_some_and(|seen| now.duration_since(seen) < PREFIX_TTL);
        self.prefixes.insert(prefix, now);
        is_known
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens")
            .field("texts", &self.texts.len())
            .field("prefixes", &self.prefixes.len())
            .finish()
    }
}

/// A piece of a reply, as it is streamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) n_tokens: u32,
}

/// The number of tokens.
pub(crate) fn count(tokens: &[u32]) -> u32 {
    u32::try_from(tokens.len()).unwrap_or(u32::MAX)
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
