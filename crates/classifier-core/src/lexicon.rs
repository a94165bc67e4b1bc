//! The words of the field: what entities, relations, techniques and time expressions look like in a question.

use crate::text::PatternSetBuilder;

/// What a term of a lexicon names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Metabolite,
    Gene,
    Disease,
    Drug,
    Pathway,
    Organism,
    Technique,
    Relation,
    Temporal,
    Domain,
}

impl Kind {
    pub(crate) const ALL: [Self; 10] = [
        Self::Metabolite,
        Self::Gene,
        Self::Disease,
        Self::Drug,
        Self::Pathway,
        Self::Organism,
        Self::Technique,
        Self::Relation,
        Self::Temporal,
        Self::Domain,
    ];

    /// Things with a name of their own, which stand in `biomedical_signals.entities`.
    pub(crate) const fn is_entity(self) -> bool {
        matches!(
            self,
            Self::Metabolite | Self::Gene | Self::Disease | Self::Drug | Self::Pathway | Self::Organism
        )
    }

    /// What a question can be about, whichever it is.
    pub(crate) const fn is_name(self) -> bool {
        self.is_entity() || matches!(self, Self::Technique)
    }

    const fn terms(self) -> &'static str {
        match self {
            Self::Metabolite => include_str!("../data/clinical-metabolomics/lexicon/metabolites.txt"),
            Self::Gene => include_str!("../data/clinical-metabolomics/lexicon/genes_proteins.txt"),
            Self::Disease => include_str!("../data/clinical-metabolomics/lexicon/diseases.txt"),
            Self::Drug => include_str!("../data/clinical-metabolomics/lexicon/drugs.txt"),
            Self::Pathway => include_str!("../data/clinical-metabolomics/lexicon/pathways.txt"),
            Self::Organism => include_str!("../data/clinical-metabolomics/lexicon/organisms_tissues.txt"),
            Self::Technique => include_str!("../data/clinical-metabolomics/lexicon/techniques.txt"),
            Self::Relation => include_str!("../data/clinical-metabolomics/lexicon/relations.txt"),
            Self::Temporal => include_str!("../data/clinical-metabolomics/lexicon/temporal.txt"),
            Self::Domain => include_str!("../data/clinical-metabolomics/lexicon/domain.txt"),
        }
    }
}

const STOPWORDS: &str = include_str!("../data/clinical-metabolomics/lexicon/stopwords.txt");

/// Words that ask, in English, and their like in other languages.
const GLOSSARY: &str = include_str!("../data/clinical-metabolomics/lexicon/glossary.txt");

/// The languages whose function words are known, English first.
pub(crate) fn languages() -> impl Iterator<Item = (&'static str, &'static str)> {
    lines(STOPWORDS).filter_map(|line| line.split_once(": "))
}

/// What the number of a matched term means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Term {
    /// A term of a lexicon.
    Of(Kind),
    /// A function word of the language with this number.
    Function(usize),
    /// A word that asks, with its number in the glossary.
    Framing(u32),
}

impl Term {
    /// The meaning of a number that [`add_terms`] gave out, less its base.
    pub(crate) fn of(number: u32, n_languages: usize) -> Self {
        let number = number as usize;
        match Kind::ALL.get(number) {
            Some(&kind) => Self::Of(kind),
            None if number < Kind::ALL.len() + n_languages => Self::Function(number - Kind::ALL.len()),
            None => Self::Framing((number - Kind::ALL.len() - n_languages) as u32),
        }
    }
}

/// Adds the terms of [`Kind::ALL`], then the function words of [`languages`], then the glossary, under the numbers from
/// `base` on that [`Term::of`] explains. What the pattern language refuses is returned, so that a test can hold the
/// files clean.
pub(crate) fn add_terms(builder: &mut PatternSetBuilder, base: u32) -> Vec<String> {
    let mut refused = Vec::new();
    for kind in Kind::ALL {
        for term in lines(kind.terms()) {
            refused.extend(builder.add_term(base + kind as u32, term).err());
        }
    }
    let mut number = base + Kind::ALL.len() as u32;
    for (_, words) in languages() {
        for word in words.split_whitespace() {
            refused.extend(builder.add_words(number, word).err());
        }
        number += 1;
    }
    for (english, equivalents) in lines(GLOSSARY).filter_map(|line| line.split_once(": ")) {
        for word in std::iter::once(english).chain(equivalents.split("; ")) {
            refused.extend(builder.add_words(number, word).err());
        }
        number += 1;
    }
    refused.iter().map(ToString::to_string).collect()
}

/// Identifies the contents of all files, since features depend on them.
pub(crate) fn digest() -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for kind in Kind::ALL {
        hasher.update(kind.terms().as_bytes()).update(&[0]);
    }
    hasher.update(STOPWORDS.as_bytes()).update(&[0]).update(GLOSSARY.as_bytes());
    let mut digest = [0; 16];
    hasher.finalize_xof().fill(&mut digest);
    digest
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Kind, add_terms, languages, lines};
    use crate::text::PatternSetBuilder;

    #[test]
    fn every_term_can_match() {
        assert_eq!(add_terms(&mut PatternSetBuilder::default(), 0), Vec::<String>::new());
    }

    #[test]
    fn no_term_stands_twice_in_a_file() {
        for kind in Kind::ALL {
            let mut seen = HashSet::new();
            let doubles: Vec<_> =
                lines(kind.terms()).filter(|term| !seen.insert(term.to_lowercase())).collect();
            assert_eq!(doubles, Vec::<&str>::new(), "{kind:?}");
        }
    }

    #[test]
    fn english_comes_first_among_the_languages() {
        assert_eq!(languages().next().map(|(name, _)| name), Some("en"));
        assert!(languages().count() >= 5);
    }
}
