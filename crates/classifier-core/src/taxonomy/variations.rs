//! Templates by which one question is turned into others that are asked about the same subject.

use cache_tiers::normalize;

const PLACE: &str = "{query}";

/// A template, cut in two where the subject goes, in normal spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variation {
    before: String,
    after: String,
}

impl Variation {
    /// Reads a template; `None` unless it has exactly one place for the subject and something besides, and no other
    /// braces.
    pub(super) fn parse(template: &str) -> Option<Self> {
        let normal = normalize(template);
        let (before, after) = normal.split_once(PLACE)?;
        let is_plain = |part: &str| !part.contains(['{', '}']);
        let says_something = [before, after].iter().any(|part| part.contains(char::is_alphanumeric));
        (is_plain(before) && is_plain(after) && says_something)
            .then(|| Self { before: before.to_owned(), after: after.to_owned() })
    }

    /// The question about the subject.
    pub(super) fn of(&self, subject: &str) -> String {
        format!("{}{subject}{}", self.before, self.after)
    }

    /// The subject of a normal query of this form.
    fn subject<'q>(&self, query: &'q str) -> Option<&'q str> {
        let subject = query.strip_prefix(&self.before)?.strip_suffix(&self.after)?;
        Some(subject.trim()).filter(|subject| !subject.is_empty())
    }
}

/// What a query is about, as far as the templates tell: the shortest part of it that one of them leaves, else all of it.
pub(super) fn subject(variations: &[Variation], query: &str) -> String {
    let query = normalize(query);
    let subjects = variations.iter().filter_map(|variation| variation.subject(&query));
    subjects.min_by_key(|subject| subject.len()).unwrap_or(&query).to_owned()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::{Variation, subject};

    #[track_caller]
    fn check(query: &str, expected: Expect) {
        let templates = ["what is {query}", "Explain {query}.", "{query} overview"];
        let variations: Vec<_> = templates.into_iter().filter_map(Variation::parse).collect();
        let subject = subject(&variations, query);
        let varied: Vec<_> = variations.iter().map(|variation| variation.of(&subject)).collect();
        expected.assert_eq(&varied.join("; "));
    }

    #[test]
    fn a_query_of_a_known_form_is_varied_by_its_subject() {
        for query in ["gout", "What is  Gout?", "explain gout", "Gout overview!"] {
            check(query, expect!["what is gout; explain gout; gout overview"]);
        }
        check(
            "How does FXR sense bile acids?",
            expect![
                "what is how does fxr sense bile acids; explain how does fxr sense bile acids; how does fxr sense bile acids overview"
            ],
        );
        check("what is", expect!["what is what is; explain what is; what is overview"]);
        check("", expect!["what is ; explain ;  overview"]);
    }

    #[test]
    fn templates_without_exactly_one_place_are_none() {
        for template in ["", "{query}", "what is", "{query} {query}", "{query} {x}", "{ query } x"] {
            assert_eq!(Variation::parse(template), None, "{template}");
        }
    }
}
