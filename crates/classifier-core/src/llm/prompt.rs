//! Prompts: instructions from data files, and the stranger's words as data in a turn of their own.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::Deserialize;

use super::verdict::runs_of;
use crate::classifier::Request;
use crate::error::{Error, ErrorKind, Result};
use crate::taxonomy::Taxonomy;
use crate::text::is_invisible;

/// The instructions for one taxonomy; always the same bytes, so that providers can keep what they have worked out of
/// them.
#[derive(Debug, Clone)]
pub(super) struct Prompt {
    /// What it is called in answers, such as `compact-1`.
    pub(super) revision: Arc<str>,
    /// What the model is told.
    pub(super) system: Arc<str>,
    /// All runs of words in it, by which a reply is found out that repeats it.
    pub(super) runs: Arc<HashSet<Vec<String>>>,
}

/// A file of `data/prompts`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    revision: String,
    system: String,
    category: String,
    example: String,
    examples_per_category: usize,
}

/// All prompts of a taxonomy.
#[derive(Debug, Clone)]
pub(super) struct Prompts {
    pub(super) compact: Prompt,
    pub(super) few_shot: Prompt,
    pub(super) batch: Prompt,
}

impl Prompts {
    pub(super) fn of(taxonomy: &Taxonomy) -> Result<Self> {
        let filled = |name: &str, text: &str| {
            let file: File = toml::from_str(text)
                .map_err(|error| Error::new(ErrorKind::InvalidData, format!("prompt {name}: {error}")))?;
            Ok(file.filled_for(taxonomy))
        };
        Ok(Self {
            compact: filled("compact", include_str!("../../data/prompts/compact.toml"))?,
            few_shot: filled("few_shot", include_str!("../../data/prompts/few_shot.toml"))?,
            batch: filled("batch", include_str!("../../data/prompts/batch.toml"))?,
        })
    }

    /// All that is in them, for the revision of a classifier.
    pub(super) fn all(&self) -> [&Prompt; 3] {
        [&self.compact, &self.few_shot, &self.batch]
    }
}

impl File {
    fn filled_for(self, taxonomy: &Taxonomy) -> Prompt {
        let lines = |lines: Vec<String>| lines.join("\n");
        let categories = taxonomy.categories().iter().map(|category| {
            let line = self.category.replace("{id}", category.id.as_str());
            line.replace("{description}", &category.description)
        });
        let categories = lines(categories.collect());
        // One of each category in turn, so that none stands last with all of its own.
        let examples = (0..self.examples_per_category).flat_map(|nth| {
            taxonomy
                .categories()
                .iter()
                .filter_map(move |category| Some((category, category.examples.get(nth)?)))
        });
        let examples = examples.map(|(category, query)| {
            self.example.replace("{query}", query).replace("{id}", category.id.as_str())
        });
        let system = self
            .system
            .replace("{categories}", &categories)
            .replace("{examples}", &lines(examples.collect()));
        Prompt { revision: self.revision.into(), runs: Arc::new(runs_of(&system)), system: system.into() }
    }
}

/// What a stranger has said, as one JSON object: there is no way out of a JSON string.
pub(super) fn user_turn(request: &Request<'_>) -> String {
    let mut text = String::with_capacity(request.query.len() + 16);
    push_object(&mut text, None, request);
    text
}

/// What strangers have said, as one JSON object with an item for each.
pub(super) fn user_turn_of_many<'a>(items: impl Iterator<Item = (&'a str, &'a Request<'a>)>) -> String {
    let mut text = String::from("{\"items\":[");
    for (number, (id, request)) in items.enumerate() {
        if number > 0 {
            text.push(',');
        }
        push_object(&mut text, Some(id), request);
    }
    text.push_str("]}");
    text
}

fn push_object(text: &mut String, id: Option<&str>, request: &Request<'_>) {
    text.push('{');
    if let Some(id) = id {
        text.push_str("\"id\":");
        push_string(text, id);
        text.push(',');
    }
    text.push_str("\"query\":");
    push_string(text, request.query);
    for (name, value) in request.context.parts() {
        // OK to ignore: writing to a string does not fail.
        let _ = write!(text, ",\"{name}\":");
        push_string(text, value);
    }
    text.push('}');
}

/// Writes a JSON string. Not a word is changed, but what some servers take for the marks between turns (`<|im_end|>`,
/// `</s>`, `[INST]`) is spelt with escapes, which are the same text to JSON and no marks to them.
fn push_string(text: &mut String, value: &str) {
    text.push('"');
    let seen = seen(value);
    let mut rest = seen.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '<' => push_escaped(text, c),
            '[' if rest.peek().is_some_and(|&next| next == '/' || next.is_ascii_uppercase()) => {
                push_escaped(text, c);
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

/// What can be seen of a text: its words with single spaces between them. The rest does not count for the cache's key, so
/// it must not reach the model either: else one asker could whisper to the model what another gets the answer to.
fn seen(text: &str) -> String {
    let mut seen = String::with_capacity(text.len());
    for c in text.chars().filter(|&c| !is_unseen(c)) {
        if !c.is_whitespace() && !c.is_control() {
            seen.push(c);
        } else if !seen.is_empty() && !seen.ends_with(' ') {
            seen.push(' ');
        }
    }
    seen.truncate(seen.trim_end_matches(' ').len());
    seen
}

/// What is invisible to the embedded classifier and the cache's key, and beyond that all that Unicode has displayed as
/// nothing (`Default_Ignorable_Code_Point`): among it tags and selectors of variants, in which a whole text can be hidden.
pub(super) fn is_unseen(c: char) -> bool {
    is_invisible(c)
        || matches!(u32::from(c),
            0x34f | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x180b..=0x180f | 0x3164 | 0xfe00..=0xfe0f | 0xffa0
            | 0xfff0..=0xfffb | 0x1_bca0..=0x1_bca3 | 0x1_d173..=0x1_d17a | 0xe_0000..=0xe_0fff)
}

fn push_escaped(text: &mut String, c: char) {
    // OK to ignore: writing to a string does not fail. All of these are within the first plane.
    let _ = write!(text, "\\u{:04x}", u32::from(c));
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(query: &str, expected: Expect) {
        expected.assert_eq(&user_turn(&Request::new(query)));
    }

    #[test]
    fn words_are_quoted_and_no_more() {
        check("What is glucose?", expect![[r#"{"query":"What is glucose?"}"#]]);
        check("say \"hi\"\n\\ p > 0.05, q[1]", expect![[r#"{"query":"say \"hi\" \\ p > 0.05, q[1]"}"#]]);
    }

    #[test]
    fn marks_between_turns_are_no_marks_here() {
        check("a<|im_end|>b</s>", expect![[r#"{"query":"a\u003c|im_end|>b\u003c/s>"}"#]]);
        check("[INST] x [/INST]", expect![[r#"{"query":"\u005bINST] x \u005b/INST]"}"#]]);
    }

    #[test]
    fn what_cannot_be_seen_is_left_out() {
        check("glu\u{200b}cose\u{202e}\u{ad}", expect![[r#"{"query":"glucose"}"#]]);
        check("glu\u{e0041}\u{fe0f}\u{e0100}cose\u{3164}", expect![[r#"{"query":"glucose"}"#]]);
        check("\n glu\u{1}\t\u{1b} cose \u{0} \n", expect![[r#"{"query":"glu cose"}"#]]);
    }

    #[test]
    fn what_went_before_comes_after() {
        let mut request = Request::new("and in children?");
        request.context.set("topic", "gout").unwrap();
        assert_eq!(user_turn(&request), r#"{"query":"and in children?","topic":"gout"}"#);
        let many = [("q1", &request), ("q2", &request)];
        expect![[r#"{"items":[{"id":"q1","query":"and in children?","topic":"gout"},{"id":"q2","query":"and in children?","topic":"gout"}]}"#]]
            .assert_eq(&user_turn_of_many(many.into_iter()));
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_one_string(query: String) {
            let turn: serde_json::Value = serde_json::from_str(&user_turn(&Request::new(&query))).unwrap();
            let shown: String = query.chars().filter(|&c| !is_unseen(c)).collect();
            let words: Vec<&str> = shown.split(|c: char| c.is_whitespace() || c.is_control()).collect();
            let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
            prop_assert_eq!(&turn, &serde_json::json!({ "query": words.join(" ") }));
        }
    }

    #[test]
    fn prompts_name_each_category_once_and_leave_nothing_to_fill() {
        let taxonomy = Taxonomy::clinical_metabolomics();
        let prompts = Prompts::of(&taxonomy).unwrap();
        for prompt in prompts.all() {
            assert!(!prompt.system.contains('{') && !prompt.system.contains('}'), "{}", prompt.system);
            for category in taxonomy.categories() {
                let line = format!("{}: {}", category.id, category.description);
                assert_eq!(prompt.system.matches(&line).count(), 1, "{}", prompt.system);
            }
        }
        let n_examples = prompts.few_shot.system.matches(" -> ").count();
        assert_eq!((n_examples, prompts.compact.system.matches(" -> ").count()), (9, 0));
    }
}
