//! Says in one or two sentences which evidence decided.

use std::fmt::Write;
use std::ops::Range;

use super::analysis::Analysis;
use super::model::Model;
use crate::lexicon::Kind;
use crate::taxonomy::{CueGroup, Taxonomy};

/// A quotation is cut after this many characters.
const MAX_QUOTE: usize = 48;
/// An alternative is worth a sentence from this probability on.
const WORTH_MENTIONING: f64 = 0.15;

/// Evidence for a category: a cue group and where it fired.
struct Evidence<'a> {
    group: &'a CueGroup,
    tokens: Range<usize>,
    /// By how much it moved the decision towards the category and away from its rival, in logits.
    weight: f64,
}

/// The reasoning for an answer whose categories, most probable first, are numbered by `order`.
pub(super) fn reasoning(
    model: &Model,
    taxonomy: &Taxonomy,
    question: &str,
    analysis: &Analysis,
    probabilities: &[f64],
    order: &[usize],
    hybrid: bool,
) -> String {
    let (first, second) = (order[0], order[1]);
    let id = |category: usize| taxonomy.categories()[category].id.as_str();
    let quote = |tokens: &Range<usize>| quote(&question[analysis.prepared.source(tokens.clone())]);
    let decided = evidence(model, taxonomy, analysis, first, second);
    let mut text = String::with_capacity(192);
    match decided.as_slice() {
        [] => {
            let what = if analysis.prepared.tokens().is_empty() {
                "there is no word to go by, and such input mostly belongs here"
            } else {
                "no single cue stands out, but the wording as a whole is that of such questions"
            };
            let _ = write!(text, "{}: {what}", id(first));
        }
        [one] => {
            let _ =
                write!(text, "{}: the question {} ({})", id(first), one.group.evidence, quote(&one.tokens));
        }
        [one, two, ..] => {
            let _ = write!(
                text,
                "{}: the question {} ({}) and {} ({})",
                id(first),
                one.group.evidence,
                quote(&one.tokens),
                two.group.evidence,
                quote(&two.tokens)
            );
        }
    }
    if let Some(names) = names(question, analysis) {
        let _ = write!(text, ", naming {names}");
    }
    text.push('.');
    if hybrid || probabilities[second] >= WORTH_MENTIONING {
        let kind = if hybrid { "is asked for as well" } else { "is possible too" };
        let _ = write!(text, " {} {kind} ({:.2})", id(second), probabilities[second]);
        match evidence(model, taxonomy, analysis, second, first).first() {
            Some(other) => {
                let _ = write!(text, ": it {} ({}).", other.group.evidence, quote(&other.tokens));
            }
            None => text.push('.'),
        }
    }
    text
}

/// The cue groups of `category` that spoke for it against `rival`, strongest first.
fn evidence<'a>(
    model: &Model,
    taxonomy: &'a Taxonomy,
    analysis: &Analysis,
    category: usize,
    rival: usize,
) -> Vec<Evidence<'a>> {
    let n_groups = analysis.cues.len() as u32;
    let towards = |row: u32| model.dense_weight(row, category) - model.dense_weight(row, rival);
    let mut found: Vec<Evidence<'a>> = taxonomy
        .cue_groups()
        .enumerate()
        .filter(|(_, (of, _))| *of == category)
        .filter_map(|(number, (_, group))| {
            let tokens = analysis.cues[number].clone()?;
            let row = number as u32;
            let in_ask = if analysis.ask_cues[number] { towards(n_groups + row) } else { 0.0 };
            Some(Evidence { group, tokens, weight: towards(row) + in_ask })
        })
        .filter(|evidence| evidence.weight > 0.0)
        .collect();
    found.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    found
}

/// Up to three things the question names.
fn names(question: &str, analysis: &Analysis) -> Option<String> {
    let mut names: Vec<String> = Vec::new();
    for name in analysis
        .named
        .iter()
        .filter(|name| matches!(name.kind, Kind::Metabolite | Kind::Gene | Kind::Disease | Kind::Drug))
    {
        let text = &question[analysis.prepared.source(name.tokens.clone())];
        if !text.is_empty()
            && text.len() <= MAX_QUOTE
            && !names.iter().any(|known| known.eq_ignore_ascii_case(text))
        {
            names.push(text.to_owned());
        }
        if names.len() == 3 {
            break;
        }
    }
    let last = names.pop()?;
    Some(if names.is_empty() { last } else { format!("{} and {last}", names.join(", ")) })
}

fn quote(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTE) {
        Some((cut, _)) => format!("\"{}…\"", text[..cut].trim_end()),
        None => format!("\"{text}\""),
    }
}
