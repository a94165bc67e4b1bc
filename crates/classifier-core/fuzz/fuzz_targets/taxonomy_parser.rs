//! The taxonomy parser: any text, and files whose patterns are made of the signs of the pattern language.

#![no_main]

use std::fmt::Write;

use classifier_core::{EmbeddedClassifier, ErrorKind, Taxonomy};
use classifier_core_fuzz::{assert_sound, train_hastily};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

/// Training takes memory in proportion to the labels; more than this would only be slow.
const MAX_LABELS: usize = 10;

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    Toml(&'a str),
    Parts(Vec<Category<'a>>, Vec<(u8, u8)>, &'a str),
}

#[derive(Debug, Arbitrary)]
struct Category<'a> {
    cue_groups: Vec<Vec<Vec<Sign<'a>>>>,
    examples: Vec<&'a str>,
}

/// What patterns are made of.
#[derive(Debug, Arbitrary)]
enum Sign<'a> {
    Space,
    Open,
    Or,
    Close,
    Optional,
    AnyOne,
    AnyNumber,
    Number,
    Star,
    Start,
    End,
    RecentYear,
    Common(u8),
    Text(&'a str),
}

/// Words that also stand in the questions asked below.
const COMMON: [&str; 6] = ["what", "is", "it", "C0", "lc-ms", "β"];

impl Sign<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Space => " ",
            Self::Open => "(",
            Self::Or => "|",
            Self::Close => ")",
            Self::Optional => "?",
            Self::AnyOne => " _ ",
            Self::AnyNumber => " ... ",
            Self::Number => "#",
            Self::Star => "*",
            Self::Start => "^",
            Self::End => "$",
            Self::RecentYear => "yearrecent",
            Self::Common(which) => COMMON[usize::from(*which) % COMMON.len()],
            Self::Text(text) => text,
        }
    }
}

/// A taxonomy file as its author would write it; only its patterns, examples and pairs may be bad.
fn file(categories: &[Category<'_>], pairs: &[(u8, u8)]) -> String {
    // A text in JSON is a text in TOML, but for the sign of deletion.
    let quoted = |text: &str| serde_json::json!(text).to_string().replace('\u{7f}', "\\u007f");
    let mut toml = "revision = \"fuzz\"\n".to_owned();
    let mut n_groups = 0;
    for (at, category) in categories.iter().enumerate() {
        let examples: Vec<String> = category.examples.iter().map(|example| quoted(example)).collect();
        let _ = writeln!(toml, "[[categories]]\nid = \"C{at}\"\ndescription = \"\"\nroute = \"r{at}\"");
        let _ = writeln!(toml, "examples = [{}]", examples.join(", "));
        for group in &category.cue_groups {
            let pattern = |signs: &Vec<Sign<'_>>| quoted(&signs.iter().map(Sign::text).collect::<String>());
            let patterns: Vec<String> = group.iter().map(pattern).collect();
            let _ = writeln!(toml, "[[categories.cue_groups]]\nname = \"g{n_groups}\"\nevidence = \"fires\"");
            let _ = writeln!(toml, "patterns = [{}]", patterns.join(", "));
            n_groups += 1;
        }
    }
    for (at, (first, second)) in pairs.iter().enumerate() {
        let _ = writeln!(toml, "[[hybrids]]\nlabel = \"H{at}\"\ncategories = [\"C{first}\", \"C{second}\"]");
    }
    toml
}

fuzz_target!(|input: Input<'_>| {
    let (toml, question) = match &input {
        Input::Toml(toml) => ((*toml).to_owned(), *toml),
        Input::Parts(categories, pairs, question) => (file(categories, pairs), *question),
    };
    let taxonomy = match Taxonomy::parse(&toml) {
        Ok(taxonomy) => taxonomy,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidTaxonomy);
            let message = error.to_string();
            assert!(message.starts_with("line ") || message.starts_with("key "), "no place in {message:?}");
            return;
        }
    };
    assert_eq!(Taxonomy::parse(taxonomy.source()).expect("what was parsed can be parsed"), taxonomy);
    let labels: Vec<&str> = taxonomy.labels().collect();
    assert!(labels.iter().enumerate().all(|(at, label)| !labels[..at].contains(label)), "{labels:?}");
    if labels.len() > MAX_LABELS {
        return;
    }
    let trained = train_hastily(&taxonomy).expect("a taxonomy that parses can be trained");
    let classifier = EmbeddedClassifier::from_bytes(&trained.bytes).expect("what was trained can be loaded");
    assert_eq!(classifier.taxonomy(), &taxonomy);
    for question in [question, "", "what is it", "C0 C1 what # yearrecent, lc ms 2031 is it?"] {
        assert_sound(&classifier, question);
    }
});
