//! One pass over a question: which cues fire, what is named, in which language.

use std::ops::Range;

use crate::error::Result;
use crate::lexicon::{self, Kind};
use crate::taxonomy::Taxonomy;
use crate::text::{PatternSet, PatternSetBuilder, Prepared, Scan};

/// A language is believed when it has this many function words more than English has.
const LANGUAGE_MARGIN: u32 = 1;

/// Finds everything that the features and the explanation are made of.
#[derive(Debug)]
pub(crate) struct Analyzer {
    patterns: PatternSet,
    n_groups: u32,
    /// The category of each cue group.
    group_category: Vec<usize>,
    n_categories: usize,
    languages: Vec<&'static str>,
}

/// A term of a lexicon found in a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) kind: Kind,
    /// Tokens of the prepared question.
    pub(crate) tokens: Range<usize>,
}

/// What an [`Analyzer`] found; reused between questions.
#[derive(Debug, Default)]
pub(crate) struct Analysis {
    pub(crate) prepared: Prepared,
    scan: Scan,
    /// Per cue group: the tokens of its first match.
    pub(crate) cues: Vec<Option<Range<usize>>>,
    /// Per cue group: whether it fires in the sentence that asks.
    pub(crate) ask_cues: Vec<bool>,
    /// The tokens of the sentence that asks.
    pub(crate) ask: Range<usize>,
    /// Per cue category: how many of its groups fire in the sentence that asks.
    pub(crate) n_fired: Vec<u32>,
    /// Terms of all lexicons; those of one kind do not overlap. By kind, then by place.
    pub(crate) named: Vec<Named>,
    /// The language recognised, when it is one of those known and not English.
    pub(crate) language: Option<&'static str>,
    /// What is named by a noun of its own, by place; these do not overlap.
    pub(crate) names: Vec<Range<usize>>,
    /// Words that ask, by place; these do not overlap.
    pub(crate) frames: Vec<Framing>,
    /// Per token: whether it is a function word of some language.
    pub(crate) function_words: Vec<bool>,
    votes: Vec<u32>,
}

/// A word that asks, or its like in another language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Framing {
    /// The number of the English word in the glossary.
    pub(crate) word: u32,
    pub(crate) tokens: Range<usize>,
}

impl Analyzer {
    pub(crate) fn new(taxonomy: &Taxonomy) -> Result<Self> {
        let mut builder = PatternSetBuilder::default();
        taxonomy.add_patterns(&mut builder)?;
        let group_category: Vec<usize> = taxonomy.cue_groups().map(|(category, _)| category).collect();
        let n_groups = group_category.len() as u32;
        // OK to ignore: a test holds the files free of terms that are refused.
        let _ = lexicon::add_terms(&mut builder, n_groups);
        let patterns = builder
            .build()
            .map_err(|error| crate::Error::new(crate::ErrorKind::InvalidTaxonomy, error.to_string()))?;
        Ok(Self {
            patterns,
            n_groups,
            group_category,
            n_categories: taxonomy.categories().len(),
            languages: lexicon::languages().map(|(name, _)| name).collect(),
        })
    }

    pub(crate) fn n_groups(&self) -> usize {
        self.group_category.len()
    }

    /// Analyses `question`; years from `recent_from` on count as recent.
    pub(crate) fn analyze(&self, question: &str, recent_from: u16, into: &mut Analysis) {
        let Analysis {
            prepared,
            scan,
            cues,
            ask_cues,
            ask,
            n_fired,
            named,
            language,
            names,
            frames,
            function_words,
            votes,
        } = into;
        prepared.fold(question, recent_from);
        self.patterns.scan(prepared, scan);
        *ask = prepared.ask();
        cues.clear();
        cues.resize(self.n_groups(), None);
        ask_cues.clear();
        ask_cues.resize(self.n_groups(), false);
        n_fired.clear();
        n_fired.resize(self.n_categories, 0);
        named.clear();
        frames.clear();
        function_words.clear();
        function_words.resize(prepared.tokens().len(), false);
        votes.clear();
        votes.resize(self.languages.len(), 0);
        for found in scan.matches() {
            let tokens = prepared.tokens_in(&found.bytes);
            if let Some(term) = found.id.checked_sub(self.n_groups) {
                match lexicon::Term::of(term, self.languages.len()) {
                    lexicon::Term::Of(kind) => named.push(Named { kind, tokens }),
                    lexicon::Term::Function(language) => {
                        votes[language] += 1;
                        function_words[tokens].fill(true);
                    }
                    lexicon::Term::Framing(word) => frames.push(Framing { word, tokens }),
                }
            } else {
                let group = found.id as usize;
                if tokens.start < ask.end && tokens.end > ask.start && !ask_cues[group] {
                    ask_cues[group] = true;
                    n_fired[self.group_category[group]] += 1;
                }
                cues[group].get_or_insert(tokens);
            }
        }
        keep_longest(named, |name| name.kind, |name| &name.tokens);
        keep_longest(frames, |_| (), |frame| &frame.tokens);
        names.clear();
        names.extend(named.iter().filter(|name| name.kind.is_name()).map(|name| name.tokens.clone()));
        keep_longest(names, |_| (), |name| name);
        *language = self.language(prepared, votes);
    }

    fn language(&self, prepared: &Prepared, votes: &[u32]) -> Option<&'static str> {
        let (best, &n_best) =
            votes.iter().enumerate().skip(1).max_by_key(|&(at, &n)| (n, usize::MAX - at))?;
        if n_best > votes[0] + LANGUAGE_MARGIN {
            return Some(self.languages[best]);
        }
        // Scripts other than Latin name themselves.
        let text = prepared.text();
        let (mut n_latin, mut n_other) = (0_usize, 0_usize);
        for c in text.chars().filter(|c| c.is_alphabetic()) {
            if (c as u32) < 0x250 { n_latin += 1 } else { n_other += 1 }
        }
        if n_other > n_latin { Some(script(text)) } else { None }
    }
}

/// The script of a text that is mostly not Latin.
fn script(text: &str) -> &'static str {
    let mut name = "other";
    for c in text.chars() {
        match u32::from(c) {
            0x3040..=0x30ff => return "ja",
            0xac00..=0xd7a3 => return "ko",
            0x4e00..=0x9fff | 0x3400..=0x4dbf => name = "zh",
            0x400..=0x52f if name == "other" => name = "ru",
            0x600..=0x6ff if name == "other" => name = "ar",
            0x900..=0x97f if name == "other" => name = "hi",
            _ => {}
        }
    }
    name
}

/// Keeps, of overlapping finds of one class, the one that starts first, and of those the longest.
fn keep_longest<T, C: Ord + Copy>(
    found: &mut Vec<T>,
    class: impl Fn(&T) -> C,
    tokens: impl Fn(&T) -> &Range<usize>,
) {
    found.sort_by_key(|find| (class(find), tokens(find).start, usize::MAX - tokens(find).end));
    let mut last: Option<(C, usize)> = None;
    found.retain(|find| {
        let free = last.is_none_or(|(of, end)| of != class(find) || tokens(find).start >= end);
        if free {
            last = Some((class(find), tokens(find).end));
        }
        free
    });
}
