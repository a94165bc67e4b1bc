//! How answers become bytes for the disk and the server, and bytes become answers.

use std::sync::Arc;

use cache_tiers::{CacheError, Codec, MessagePack};

use super::CachedAnswer;
use crate::types::Classification;

/// Changed whenever an answer of before would be misread; answers of another version are misses.
const VERSION: u16 = 1;

/// Writes answers as MessagePack with the names of their fields.
///
/// ```
/// use std::sync::Arc;
/// use cache_tiers::Codec;
/// use classifier_core::{AnswerCodec, EmbeddedClassifier};
///
/// let answer = Arc::new(EmbeddedClassifier::built_in().classify("What is a metabolome?"));
/// let mut bytes = Vec::new();
/// AnswerCodec.encode(&answer, &mut bytes)?;
/// assert_eq!(AnswerCodec.decode(&bytes)?, answer);
/// # Ok::<(), cache_tiers::CacheError>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct AnswerCodec;

const INNER: MessagePack = MessagePack::version(VERSION);

impl Codec<CachedAnswer> for AnswerCodec {
    fn version(&self) -> u16 {
        VERSION
    }

    fn encode(&self, value: &CachedAnswer, out: &mut Vec<u8>) -> Result<(), CacheError> {
        Codec::<Classification>::encode(&INNER, value, out)
    }

    fn decode(&self, bytes: &[u8]) -> Result<CachedAnswer, CacheError> {
        Codec::<Classification>::decode(&INNER, bytes).map(Arc::new)
    }
}

#[cfg(test)]
mod tests {
    use cache_tiers::CacheErrorKind;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::subsequence;

    use super::*;
    use crate::types::{Alternative, BiomedicalSignals, DegradedReason, TemporalSignals, Uncertainty};
    use crate::{CategoryId, EmbeddedClassifier};

    const INDICATORS: [Uncertainty; 5] = [
        Uncertainty::LowConfidence,
        Uncertainty::CloseAlternatives,
        Uncertainty::VeryShortQuery,
        Uncertainty::OutOfDomain,
        Uncertainty::NonEnglish,
    ];

    fn texts() -> impl Strategy<Value = Vec<String>> {
        vec(".{0,12}", 0..5)
    }

    prop_compose! {
        fn answers()(
            category in "[A-Z_]{1,12}", confidence in 0.0..=1.0_f64, reasoning in ".{0,200}",
            others in vec(("[A-Z]{1,9}", 0.0..1.0_f64), 0..4),
            uncertainty_indicators in subsequence(INDICATORS.to_vec(), 0..=INDICATORS.len()),
            lists in (texts(), texts(), texts(), texts(), texts()), years in vec(any::<u16>(), 0..4),
            hybrid: bool, route in ".{1,12}", is_degraded: bool,
        ) -> CachedAnswer {
            let (entities, relationships, techniques, keywords, patterns) = lists;
            let alternative = |(id, confidence): (String, f64)| {
                Alternative { category: CategoryId::new(&id), confidence }
            };
            Arc::new(Classification {
                category: CategoryId::new(&category),
                confidence,
                reasoning,
                alternative_categories: others.into_iter().map(alternative).collect(),
                uncertainty_indicators,
                biomedical_signals: BiomedicalSignals { entities, relationships, techniques },
                temporal_signals: TemporalSignals { keywords, patterns, years },
                hybrid,
                route,
                degraded: is_degraded.then_some(DegradedReason::TimedOut),
            })
        }
    }

    fn encoded(answer: &CachedAnswer) -> Vec<u8> {
        let mut bytes = Vec::new();
        AnswerCodec.encode(answer, &mut bytes).unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn answers_come_back(answer in answers()) {
            prop_assert_eq!(AnswerCodec.decode(&encoded(&answer)).unwrap(), answer);
        }

        #[test]
        fn other_bytes_are_refused_and_never_panic(bytes: Vec<u8>) {
            prop_assert_eq!(AnswerCodec.decode(&bytes).unwrap_err().kind(), CacheErrorKind::Corrupt);
        }

        #[test]
        fn an_answer_cut_short_is_refused(answer in answers(), at: prop::sample::Index) {
            let bytes = encoded(&answer);
            prop_assert!(AnswerCodec.decode(&bytes[..at.index(bytes.len())]).is_err());
        }
    }

    #[test]
    fn an_answer_takes_a_few_hundred_bytes() {
        let answer = EmbeddedClassifier::built_in().classify("How does leucine activate mTOR in muscle?");
        let n_bytes = encoded(&Arc::new(answer)).len();
        assert!((200..1000).contains(&n_bytes), "{n_bytes}");
    }
}
