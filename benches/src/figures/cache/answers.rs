//! What the caches keep: answers of some 400 bytes, and keys as even as those of questions.

use std::sync::Arc;

use anyhow::ensure;
use cache_tiers::{CacheError, CacheTier, Codec, Entry, Key, MessagePack};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::{N_AT_ONCE, TTL};
use crate::figures::rounds::drawn;

const WORDS: [&str; 16] = [
    "kynurenine",
    "pathway",
    "established",
    "relates",
    "enzyme",
    "question",
    "naming",
    "metabolite",
    "serum",
    "acylcarnitine",
    "mechanism",
    "asks",
    "trial",
    "latest",
    "tryptophan",
    "defines",
];

/// Of the shape of a classification.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Answer {
    category: String,
    confidence: f64,
    reasoning: String,
    alternatives: Vec<(String, f64)>,
    entities: Vec<String>,
}

pub(super) type Value = Arc<Answer>;

/// MessagePack, behind a pointer.
#[derive(Debug)]
pub(super) struct AnswerCodec;

const INNER: MessagePack = MessagePack::version(1);

impl Codec<Value> for AnswerCodec {
    fn version(&self) -> u16 {
        <MessagePack as Codec<Answer>>::version(&INNER)
    }

    fn encode(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), CacheError> {
        INNER.encode(value.as_ref(), out)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Value, CacheError> {
        INNER.decode(bytes).map(Arc::new)
    }
}

/// The key of that number.
pub(super) fn key(number: u64) -> Key {
    let halves = drawn(2, usize::MAX, number);
    let mut bytes = [0; 16];
    for (part, half) in bytes.chunks_exact_mut(8).zip(halves) {
        part.copy_from_slice(&(half as u64).to_le_bytes());
    }
    Key::from_bytes(bytes)
}

/// The answer of that number.
pub(super) fn value(number: u64) -> Value {
    let words: Vec<&str> = drawn(28, WORDS.len(), number).into_iter().map(|word| WORDS[word]).collect();
    Arc::new(Answer {
        category: "KNOWLEDGE_GRAPH".to_owned(),
        confidence: number as f64 / u64::MAX as f64,
        reasoning: words.join(" "),
        alternatives: vec![("GENERAL".to_owned(), 0.02), ("REAL_TIME".to_owned(), 0.01)],
        entities: words[..4].iter().map(|&word| word.to_owned()).collect(),
    })
}

pub(super) fn entry(number: u64) -> Entry<Value> {
    Entry { value: value(number), ttl: TTL }
}

/// Puts the answers of these numbers into a tier.
pub(super) async fn fill(tier: &dyn CacheTier<Value>, numbers: std::ops::Range<u64>) -> anyhow::Result<()> {
    let mut next = numbers.start;
    while next < numbers.end {
        let batch = next..numbers.end.min(next + N_AT_ONCE);
        next = batch.end;
        let written = join_all(batch.map(|number| tier.put(key(number), entry(number)))).await;
        let n_failed = written.iter().filter(|result| result.is_err()).count();
        if let Some(Err(error)) = written.into_iter().find(Result::is_err) {
            ensure!(n_failed == 0, "{n_failed} of {N_AT_ONCE} writes failed: {error}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_of_the_size_that_is_promised() {
        let lengths: Vec<usize> = (0..1000)
            .map(|number| {
                let mut bytes = Vec::new();
                AnswerCodec.encode(&value(number), &mut bytes).unwrap();
                assert_eq!(AnswerCodec.decode(&bytes).unwrap(), value(number));
                bytes.len()
            })
            .collect();
        let mean = lengths.iter().sum::<usize>() / lengths.len();
        assert!((380..=480).contains(&mean), "{mean} bytes");
    }

    #[test]
    fn keys_are_distinct() {
        let keys: std::collections::HashSet<Key> = (0..10_000).map(key).collect();
        assert_eq!(keys.len(), 10_000);
    }
}
