//! From what a model has said to an answer: the embedded classifier's signals with the model's category.

use std::collections::HashSet;

use super::reply::Said;
use crate::embedded::EmbeddedOptions;
use crate::taxonomy::Taxonomy;
use crate::types::{Alternative, Classification, Uncertainty};

/// So many words in a row that stand in the instructions are no reason but the instructions.
const LEAKING_WORDS: usize = 6;

/// The answer that a model has given: its category and confidence; alternatives in the proportions that the embedded
/// classifier sees among them; and of the embedded answer what does not depend on the category.
pub(super) fn classification(
    said: &Said,
    embedded: &Classification,
    taxonomy: &Taxonomy,
    options: &EmbeddedOptions,
    model: &str,
    instructions: &HashSet<Vec<String>>,
) -> Classification {
    let categories = taxonomy.categories();
    let chosen = &categories[said.category];
    // Whatever a model says of it, the category it chooses is the likeliest.
    let confidence = said.confidence.max(1.0 / categories.len() as f64);
    let is_pair = |a: usize, b: usize| {
        let pair = [a.min(b), a.max(b)];
        taxonomy.hybrids().iter().any(|hybrid| hybrid.categories == pair)
    };
    // Before a reply is complete, what the embedded classifier sees has to do.
    let embedded_second = || {
        let second = embedded.alternative_categories.first().filter(|_| embedded.hybrid)?;
        let both = [&embedded.category, &second.category].map(|id| taxonomy.index_of(id.as_str()));
        both.into_iter().flatten().find(|&other| other != said.category)
    };
    let also = said.also.or_else(|| embedded_second().filter(|_| said.reason.is_none()));
    let hybrid = also.is_some_and(|also| is_pair(said.category, also));
    let weight = |index: usize| {
        let id = &categories[index].id;
        let seen = if *id == embedded.category {
            embedded.confidence
        } else {
            let mut others = embedded.alternative_categories.iter();
            others.find(|other| other.category == *id).map_or(0.0, |other| other.confidence)
        };
        seen + f64::from(u8::from(also == Some(index))) + f64::EPSILON
    };
    let others: Vec<usize> = (0..categories.len()).filter(|&index| index != said.category).collect();
    let weights: Vec<f64> = others.iter().map(|&index| weight(index)).collect();
    let shares = shares(1.0 - confidence, &weights, confidence);
    let mut alternatives: Vec<Alternative> = others
        .iter()
        .zip(shares)
        .map(|(&index, confidence)| Alternative { category: categories[index].id.clone(), confidence })
        .collect();
    alternatives.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let second = alternatives.first().map_or(0.0, |other| other.confidence);
    let reason = said.reason.as_deref().filter(|reason| !repeats(reason, instructions));
    Classification {
        category: chosen.id.clone(),
        confidence,
        reasoning: match reason {
            Some(reason) => format!("{}: {reason} ({model})", chosen.id),
            None => format!("{}: chosen by {model}.", chosen.id),
        },
        alternative_categories: alternatives,
        uncertainty_indicators: uncertainty(embedded, confidence, second, options),
        biomedical_signals: embedded.biomedical_signals.clone(),
        temporal_signals: embedded.temporal_signals.clone(),
        hybrid,
        route: chosen.route.clone(),
        degraded: None,
    }
}

/// Parts of `whole` in proportion to the weights, none of them greater than `most`.
fn shares(whole: f64, weights: &[f64], most: f64) -> Vec<f64> {
    let mut shares = vec![0.0; weights.len()];
    let mut open: Vec<usize> = (0..weights.len()).collect();
    let mut left = whole;
    // Each round settles one at least.
    while !open.is_empty() {
        let sum: f64 = open.iter().map(|&index| weights[index]).sum();
        let over: Vec<usize> =
            open.iter().copied().filter(|&index| left * weights[index] / sum > most).collect();
        if over.is_empty() {
            for index in open {
                shares[index] = left * weights[index] / sum;
            }
            break;
        }
        for &index in &over {
            shares[index] = most;
            left -= most;
        }
        left = left.max(0.0);
        open.retain(|index| !over.contains(index));
    }
    shares
}

fn uncertainty(
    embedded: &Classification,
    first: f64,
    second: f64,
    options: &EmbeddedOptions,
) -> Vec<Uncertainty> {
    let of_the_answer = [
        (first < options.low_confidence_threshold, Uncertainty::LowConfidence),
        (first - second < options.close_alternatives_margin, Uncertainty::CloseAlternatives),
    ];
    let of_the_question = embedded.uncertainty_indicators.iter().copied().filter(|indicator| {
        !matches!(indicator, Uncertainty::LowConfidence | Uncertainty::CloseAlternatives)
    });
    of_the_answer.into_iter().filter_map(|(holds, it)| holds.then_some(it)).chain(of_the_question).collect()
}

/// All runs of several words in a text, for [`repeats`].
pub(super) fn runs_of(text: &str) -> HashSet<Vec<String>> {
    words(text).windows(LEAKING_WORDS).map(<[String]>::to_vec).collect()
}

/// Whether a text has several words in a row from the instructions, which are nobody's to read.
fn repeats(text: &str, instructions: &HashSet<Vec<String>>) -> bool {
    words(text).windows(LEAKING_WORDS).any(|run| instructions.contains(run))
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::EmbeddedClassifier;
    use proptest::prelude::*;

    const NEWS: &str = "Latest trials of metformin this year";

    fn answer(query: &str, said: &Said) -> Classification {
        let embedded = EmbeddedClassifier::built_in();
        let instructions = runs_of("Decide where a question belongs and reply in JSON.");
        let seen = embedded.classify(query);
        classification(said, &seen, embedded.taxonomy(), embedded.options(), "m", &instructions)
    }

    fn said(category: usize, confidence: f64) -> Said {
        Said { category, confidence, also: None, reason: Some("it asks for news".to_owned()) }
    }

    #[test]
    fn the_models_category_stands_with_what_the_question_names() {
        let answer = answer(NEWS, &said(0, 0.8));
        assert_eq!((answer.category.as_str(), answer.route.as_str()), ("KNOWLEDGE_GRAPH", "lightrag"));
        assert_eq!(answer.reasoning, "KNOWLEDGE_GRAPH: it asks for news (m)");
        assert_eq!(answer.alternative_categories[0].category.as_str(), "REAL_TIME");
        assert!(answer.biomedical_signals.entities.contains(&"metformin".to_owned()));
        assert!(!answer.hybrid && answer.degraded.is_none());
    }

    #[test]
    fn both_of_a_pair_make_a_hybrid() {
        let both = Said { also: Some(1), ..said(0, 0.6) };
        let answer = answer("What is a metabolome?", &both);
        assert!(answer.hybrid);
        assert_eq!(answer.alternative_categories[0].category.as_str(), "REAL_TIME");
        let no_pair = Said { also: Some(2), ..said(0, 0.6) };
        assert!(!self::answer(NEWS, &no_pair).hybrid);
    }

    #[test]
    fn little_confidence_is_marked() {
        let answer = answer(NEWS, &said(2, 0.0));
        assert_eq!(answer.category.as_str(), "GENERAL");
        assert!(
            answer
                .uncertainty_indicators
                .starts_with(&[Uncertainty::LowConfidence, Uncertainty::CloseAlternatives])
        );
    }

    #[test]
    fn a_reason_that_repeats_the_instructions_is_not_passed_on() {
        let leak = "the instructions are: decide WHERE a question, belongs and more";
        let said = Said { reason: Some(leak.to_owned()), ..said(1, 0.9) };
        assert_eq!(answer(NEWS, &said).reasoning, "REAL_TIME: chosen by m.");
    }

    proptest! {
        #[test]
        fn confidences_sum_to_one_and_the_category_is_likeliest(
            category in 0..3_usize, confidence in 0.0..=1.0_f64, also in proptest::option::of(0..3_usize),
        ) {
            let also = also.filter(|&also| also != category);
            let answer = answer(NEWS, &Said { also, ..said(category, confidence) });
            let others = answer.alternative_categories.iter().map(|other| other.confidence);
            prop_assert!((answer.confidence + others.clone().sum::<f64>() - 1.0).abs() < 1e-9);
            prop_assert!(others.into_iter().all(|other| other >= 0.0 && other <= answer.confidence + 1e-12));
        }
    }
}
