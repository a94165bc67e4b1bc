//! Reads a taxonomy from TOML and says, of a bad one, where and what to write instead.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::{Category, CategoryId, CueGroup, Hybrid, Taxonomy, Variation};
use crate::error::{Error, ErrorKind, Result, suggestion};
use crate::text::PatternSetBuilder;

/// More labels, hybrids included, are a mistake rather than a taxonomy.
const MAX_LABELS: usize = 64;
/// A shorter life is not worth the keeping, and a longer one than a year is a slip.
const MIN_TTL_SECONDS: f64 = 1.0;
const MAX_TTL_SECONDS: f64 = 31_536_000.0;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTaxonomy {
    revision: Spanned<String>,
    #[serde(default)]
    labels: Vec<Spanned<String>>,
    #[serde(default)]
    variations: Vec<Spanned<String>>,
    categories: Vec<Spanned<RawCategory>>,
    #[serde(default)]
    hybrids: Vec<Spanned<RawHybrid>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCategory {
    id: Spanned<String>,
    description: String,
    route: Spanned<String>,
    cache_ttl_seconds: Option<Spanned<f64>>,
    #[serde(default)]
    cue_groups: Vec<RawCueGroup>,
    #[serde(default)]
    examples: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCueGroup {
    name: Spanned<String>,
    evidence: String,
    patterns: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHybrid {
    label: Spanned<String>,
    categories: Vec<Spanned<String>>,
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidTaxonomy, message)
}

pub(super) fn parse(toml: &str) -> Result<Taxonomy> {
    let raw: RawTaxonomy = toml::from_str(toml).map_err(|error| {
        let message = error.message();
        let hint =
            unknown_field(message).map_or_else(String::new, |(written, known)| suggestion(written, known));
        let line = error.span().map_or_else(String::new, |span| format!("line {}: ", line_of(toml, &span)));
        invalid(format!("{line}{message}{hint}"))
    })?;
    Checker { toml }.check(raw)
}

struct Checker<'a> {
    toml: &'a str,
}

impl Checker<'_> {
    fn error<T>(&self, span: &Range<usize>, key: &str, problem: impl std::fmt::Display) -> Result<T> {
        Err(invalid(format!("line {}, key {key}: {problem}", line_of(self.toml, span))))
    }

    fn check(&self, raw: RawTaxonomy) -> Result<Taxonomy> {
        if raw.revision.get_ref().trim().is_empty() {
            return self.error(
                &raw.revision.span(),
                "revision",
                "is empty; write any text that changes with the file",
            );
        }
        let n_labels = raw.categories.len() + raw.hybrids.len();
        if raw.categories.len() < 2 || n_labels > MAX_LABELS {
            return Err(invalid(format!(
                "key categories: {} categories and {} hybrids; write two categories or more, and no more than \
                 {MAX_LABELS} of both together",
                raw.categories.len(),
                raw.hybrids.len()
            )));
        }
        let mut labels: HashSet<&str> = HashSet::new();
        let mut groups: HashSet<&str> = HashSet::new();
        for (at, category) in raw.categories.iter().enumerate() {
            let category = category.get_ref();
            let key = format!("categories[{at}]");
            self.name(&category.id, &format!("{key}.id"), &mut labels)?;
            if category.route.get_ref().trim().is_empty() {
                return self.error(
                    &category.route.span(),
                    &format!("{key}.route"),
                    "is empty; name the back end",
                );
            }
            if let Some(seconds) = &category.cache_ttl_seconds
                && !(MIN_TTL_SECONDS..=MAX_TTL_SECONDS).contains(seconds.get_ref())
            {
                let problem = format!(
                    "{} is not a number from {MIN_TTL_SECONDS} to {MAX_TTL_SECONDS}",
                    seconds.get_ref()
                );
                return self.error(&seconds.span(), &format!("{key}.cache_ttl_seconds"), problem);
            }
            for (at, group) in category.cue_groups.iter().enumerate() {
                let key = format!("{key}.cue_groups[{at}]");
                self.name(&group.name, &format!("{key}.name"), &mut groups)?;
                let mut builder = PatternSetBuilder::default();
                for (at, pattern) in group.patterns.iter().enumerate() {
                    if let Err(error) = builder.add(0, pattern.get_ref()) {
                        return self.error(&pattern.span(), &format!("{key}.patterns[{at}]"), error);
                    }
                }
            }
        }
        for (at, hybrid) in raw.hybrids.iter().enumerate() {
            self.name(&hybrid.get_ref().label, &format!("hybrids[{at}].label"), &mut labels)?;
        }
        let variations = self.variations(&raw)?;
        let ids: Vec<&str> =
            raw.categories.iter().map(|category| category.get_ref().id.get_ref().as_str()).collect();
        let order = self.order(&raw, &ids)?;
        let hybrids = self.hybrids(&raw, &ids, &order)?;
        let categories = order.iter().map(|&at| category(raw.categories[at].get_ref())).collect();
        Ok(Taxonomy {
            revision: raw.revision.into_inner(),
            categories,
            hybrids,
            variations,
            source: self.toml.into(),
        })
    }

    fn variations(&self, raw: &RawTaxonomy) -> Result<Vec<Variation>> {
        let mut variations: Vec<Variation> = Vec::new();
        for (at, template) in raw.variations.iter().enumerate() {
            let key = format!("variations[{at}]");
            let Some(variation) = Variation::parse(template.get_ref()) else {
                let problem = "a template has `{query}` in it exactly once, and something besides";
                return self.error(&template.span(), &key, problem);
            };
            if variations.contains(&variation) {
                return self.error(&template.span(), &key, "stands here a second time; remove it");
            }
            variations.push(variation);
        }
        Ok(variations)
    }

    fn name<'n>(&self, name: &'n Spanned<String>, key: &str, seen: &mut HashSet<&'n str>) -> Result<()> {
        let text = name.get_ref().as_str();
        if text.is_empty()
            || text.len() > 64
            || text.contains(|c: char| !(c.is_alphanumeric() || "_-".contains(c)))
        {
            return self.error(&name.span(), key, "use 1 to 64 letters, digits, `_` and `-`");
        }
        if !seen.insert(text) {
            return self.error(
                &name.span(),
                key,
                format!("`{text}` stands here a second time; choose another name"),
            );
        }
        Ok(())
    }

    /// The indices of the categories in the labels' order.
    fn order(&self, raw: &RawTaxonomy, ids: &[&str]) -> Result<Vec<usize>> {
        if raw.labels.is_empty() {
            return Ok((0..ids.len()).collect());
        }
        let mut order = Vec::new();
        for (at, label) in raw.labels.iter().enumerate() {
            let index = self.known(label, &format!("labels[{at}]"), ids)?;
            if order.contains(&index) {
                return self.error(
                    &label.span(),
                    &format!("labels[{at}]"),
                    "stands here a second time; remove it",
                );
            }
            order.push(index);
        }
        match (0..ids.len()).find(|index| !order.contains(index)) {
            None => Ok(order),
            Some(missing) => self.error(
                &raw.categories[missing].get_ref().id.span(),
                &format!("categories[{missing}].id"),
                format!("`{}` is missing from `labels`; add it or leave `labels` out", ids[missing]),
            ),
        }
    }

    fn hybrids(&self, raw: &RawTaxonomy, ids: &[&str], order: &[usize]) -> Result<Vec<Hybrid>> {
        let mut hybrids = Vec::new();
        for (at, hybrid) in raw.hybrids.iter().enumerate() {
            let key = format!("hybrids[{at}].categories");
            let pair = hybrid.get_ref();
            let [first, second] = pair.categories.as_slice() else {
                return self.error(&hybrid.span(), &key, "name exactly two categories");
            };
            let mut pair_indices = [0; 2];
            for (slot, name) in pair_indices.iter_mut().zip([first, second]) {
                let index = self.known(name, &key, ids)?;
                *slot = order.iter().position(|&at| at == index).unwrap_or(index);
            }
            if pair_indices[0] == pair_indices[1] {
                return self.error(&second.span(), &key, "name two different categories");
            }
            pair_indices.sort_unstable();
            if hybrids.iter().any(|known: &Hybrid| known.categories == pair_indices) {
                return self.error(&hybrid.span(), &key, "this pair stands here a second time; remove it");
            }
            hybrids.push(Hybrid { label: pair.label.get_ref().clone(), categories: pair_indices });
        }
        Ok(hybrids)
    }

    fn known(&self, name: &Spanned<String>, key: &str, ids: &[&str]) -> Result<usize> {
        let text = name.get_ref().as_str();
        match ids.iter().position(|id| *id == text) {
            Some(index) => Ok(index),
            None => {
                let hint = suggestion(text, ids.iter().copied());
                self.error(&name.span(), key, format!("`{text}` is no category of this file{hint}"))
            }
        }
    }
}

fn category(raw: &RawCategory) -> Category {
    Category {
        id: CategoryId::new(raw.id.get_ref()),
        description: raw.description.clone(),
        route: raw.route.get_ref().clone(),
        cache_ttl: raw.cache_ttl_seconds.as_ref().map(|seconds| Duration::from_secs_f64(*seconds.get_ref())),
        cue_groups: raw
            .cue_groups
            .iter()
            .map(|group| CueGroup {
                name: group.name.get_ref().clone(),
                evidence: group.evidence.clone(),
                patterns: group.patterns.iter().map(|pattern| pattern.get_ref().clone()).collect(),
            })
            .collect(),
        examples: raw.examples.clone(),
    }
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    1 + text.bytes().take(span.start).filter(|&b| b == b'\n').count()
}

/// Takes serde's "unknown field `x`, expected one of `a`, `b`" apart.
fn unknown_field(message: &str) -> Option<(&str, impl Iterator<Item = &str>)> {
    let mut names = message.strip_prefix("unknown field `")?.split('`');
    let written = names.next()?;
    Some((written, names.skip(1).step_by(2)))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::parse;

    const GOOD: &str = r#"revision = "1"
labels = ["B", "A"]
[[categories]]
id = "A"
description = "a"
route = "x"
examples = ["one"]
[[categories.cue_groups]]
name = "g"
evidence = "asks for a"
patterns = ["apple*"]
[[categories]]
id = "B"
description = "b"
route = "y"
[[hybrids]]
label = "AB"
categories = ["A", "B"]
"#;

    #[track_caller]
    fn check(from: &str, to: &str, expected: Expect) {
        assert!(GOOD.contains(from), "nothing to replace");
        expected
            .assert_eq(&parse(&GOOD.replace(from, to)).map_or_else(|e| e.to_string(), |t| format!("{t:?}")));
    }

    #[test]
    fn order_follows_labels() {
        let taxonomy = parse(GOOD).unwrap();
        assert_eq!(taxonomy.labels().collect::<Vec<_>>(), ["B", "A", "AB"]);
        assert_eq!(taxonomy.hybrids()[0].categories, [0, 1]);
        assert_eq!(taxonomy.categories()[1].cue_groups[0].name, "g");
    }

    #[test]
    fn bad_files_say_where_and_what() {
        check(
            "route = \"x\"",
            "rout = \"x\"",
            expect![[
                "line 6: unknown field `rout`, expected one of `id`, `description`, `route`, `cache_ttl_seconds`, `cue_groups`, `examples`; did you mean `route`?"
            ]],
        );
        check(
            "[\"A\", \"B\"]",
            "[\"A\", \"b\"]",
            expect![[
                "line 18, key hybrids[0].categories: `b` is no category of this file; did you mean `B`?"
            ]],
        );
        check(
            "[\"B\", \"A\"]",
            "[\"B\"]",
            expect![[
                "line 4, key categories[0].id: `A` is missing from `labels`; add it or leave `labels` out"
            ]],
        );
        check(
            "apple*",
            "(apple*",
            expect![[
                r#"line 11, key categories[0].cue_groups[0].patterns[0]: pattern "(apple*" has an open parenthesis"#
            ]],
        );
        check(
            "id = \"B\"",
            "id = \"A\"",
            expect![["line 13, key categories[1].id: `A` stands here a second time; choose another name"]],
        );
        check(
            "route = \"y\"",
            "route = \" \"",
            expect![["line 15, key categories[1].route: is empty; name the back end"]],
        );
        check(
            "description = \"b\"",
            "description = 5",
            expect![["line 14: invalid type: integer `5`, expected a string"]],
        );
        check(
            "revision = \"1\"",
            "revision = \"1",
            expect![[r#"line 1: invalid basic string, expected `"`"#]],
        );
    }

    #[test]
    fn times_to_live_and_variations_are_checked() {
        check(
            "route = \"x\"",
            "route = \"x\"\ncache_ttl_seconds = 0",
            expect!["line 7, key categories[0].cache_ttl_seconds: 0 is not a number from 1 to 31536000"],
        );
        let with = |templates: &str| format!("revision = \"1\"\nvariations = {templates}");
        let wrong = "a template has `{query}` in it exactly once, and something besides";
        for template in ["what is it", "{query}", " {query}?", "{query} and {query}", "{{query}"] {
            let bad = GOOD.replace("revision = \"1\"", &with(&format!("[\"{template}\"]")));
            let error = parse(&bad).unwrap_err().to_string();
            assert_eq!(error, format!("line 2, key variations[0]: {wrong}"), "{template}");
        }
        check(
            "revision = \"1\"",
            &with("[\"what is {query}\", \"What is  {query}?\"]"),
            expect!["line 2, key variations[1]: stands here a second time; remove it"],
        );
    }

    #[test]
    fn the_built_in_taxonomy_is_valid() {
        let taxonomy = crate::Taxonomy::clinical_metabolomics();
        let labels: Vec<_> = taxonomy.labels().collect();
        assert_eq!(labels, ["KNOWLEDGE_GRAPH", "REAL_TIME", "GENERAL", "HYBRID"]);
    }
}
