//! Rules for our Cargo.toml files: one place for versions, for settings and for lints, and a description each.

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::workspace::{Violation, Workspace};

/// The settings of `[package]` every package takes from `[workspace.package]`.
const INHERITED: &[&str] = &["edition", "license"];

/// The names under which dependencies are declared.
const DEPENDENCIES: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

type Key<'a> = Spanned<DeString<'a>>;
type Item<'a> = Spanned<DeValue<'a>>;

/// Every dependency is `workspace = true`, or a path from a crate to itself.
pub(crate) fn versions_come_from_the_workspace(workspace: &Workspace) -> Vec<Violation> {
    for_each(workspace, |manifest, table, violations| {
        let name = table.get("package").and_then(|package| text_at(package, "name"));
        for (key, item) in dependencies(table) {
            let is_itself = name == Some(package_of(key, item)) && text_at(item, "path") == Some(".");
            if !is_inherited(item) && !is_itself {
                let sentence = format!(
                    "the version of {} does not come from [workspace.dependencies]; declare it there and write \
                     `{}.workspace = true`",
                    key.get_ref(),
                    key.get_ref()
                );
                violations.push(manifest.violation(key.span().start, sentence));
            }
        }
    })
}

/// Every package inherits edition and licence, and the lints unless a comment says why it has its own.
pub(crate) fn settings_are_inherited(workspace: &Workspace) -> Vec<Violation> {
    for_each(workspace, |manifest, table, violations| {
        let package = table.get_key_value("package");
        for setting in INHERITED {
            let item = package.and_then(|(_, package)| entry(package, setting));
            if !item.is_some_and(is_inherited) {
                let at = package.map_or(0, |(key, _)| key.span().start);
                violations
                    .push(manifest.violation(at, format!("write `{setting}.workspace = true` in [package]")));
            }
        }
        match table.get_key_value("lints") {
            None => violations.push(manifest.violation(0, "add [lints] with `workspace = true`")),
            Some((_, item)) if is_inherited(item) => {}
            Some((key, _)) if manifest.has_comment_above(key.span().start) => {}
            Some((key, _)) => {
                let sentence =
                    "inherit the lints of the workspace, or say in a comment above [lints] why not";
                violations.push(manifest.violation(key.span().start, sentence));
            }
        }
    })
}

/// Every crate under crates/ has a description.
pub(crate) fn every_crate_is_described(workspace: &Workspace) -> Vec<Violation> {
    let crates = workspace.members.iter().filter(|member| member.manifest.starts_with("crates/"));
    let undescribed =
        crates.filter(|member| member.description.as_deref().unwrap_or_default().trim().is_empty());
    undescribed
        .map(|member| Violation::new(&member.manifest, 1, "the crate has no `description`; add one sentence"))
        .collect()
}

/// One Cargo.toml of ours.
struct Manifest<'a> {
    path: &'a str,
    text: &'a str,
}

impl Manifest<'_> {
    fn violation(&self, at: usize, sentence: impl Into<String>) -> Violation {
        Violation::new(self.path, self.text[..at].matches('\n').count() + 1, sentence)
    }

    /// Whether a comment stands on the line above this place.
    fn has_comment_above(&self, at: usize) -> bool {
        let line_start = self.text[..at].rfind('\n').unwrap_or(0);
        self.text[..line_start].lines().next_back().is_some_and(|line| line.trim_start().starts_with('#'))
    }
}

/// Parses the manifest of each member and hands it to the rule.
fn for_each(
    workspace: &Workspace,
    rule: impl Fn(&Manifest<'_>, &DeTable<'_>, &mut Vec<Violation>),
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for member in &workspace.members {
        let path = member.manifest.as_str();
        let Some(text) = workspace.text(path) else {
            violations.push(Violation::new(path, 1, "git ignores this manifest; track it"));
            continue;
        };
        let manifest = Manifest { path, text };
        match DeTable::parse(text) {
            Ok(table) => rule(&manifest, table.get_ref(), &mut violations),
            Err(error) => {
                let sentence = format!("the file is not TOML: {}", error.message());
                violations.push(manifest.violation(0, sentence));
            }
        }
    }
    violations
}

/// Every dependency declared in the manifest, also those for some targets only.
fn dependencies<'a>(table: &'a DeTable<'a>) -> Vec<(&'a Key<'a>, &'a Item<'a>)> {
    let targets = table.get("target").and_then(|target| target.get_ref().as_table());
    let for_targets = targets.into_iter().flat_map(|targets| targets.values());
    let tables = std::iter::once(table).chain(for_targets.filter_map(|target| target.get_ref().as_table()));
    let mut dependencies: Vec<_> = tables
        .flat_map(|table| DEPENDENCIES.iter().filter_map(|kind| table.get(*kind)?.get_ref().as_table()))
        .flatten()
        .collect();
    // TOML tables come sorted by key; a reader goes from top to bottom.
    dependencies.sort_by_key(|(key, _)| key.span().start);
    dependencies
}

fn entry<'a>(item: &'a Item<'a>, key: &str) -> Option<&'a Item<'a>> {
    item.get_ref().as_table()?.get(key)
}

fn text_at<'a>(item: &'a Item<'a>, key: &str) -> Option<&'a str> {
    entry(item, key)?.get_ref().as_str()
}

fn package_of<'a>(key: &'a Key<'a>, item: &'a Item<'a>) -> &'a str {
    text_at(item, "package").unwrap_or_else(|| key.get_ref())
}

fn is_inherited(item: &Item<'_>) -> bool {
    entry(item, "workspace").is_some_and(|value| value.get_ref().as_bool() == Some(true))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::workspace::{Member, spell};

    #[track_caller]
    fn check(rule: fn(&Workspace) -> Vec<Violation>, manifest: &str, expected: Expect) {
        let path = "crates/a/Cargo.toml";
        let mut workspace = Workspace::of_files(&[(path, manifest)]);
        workspace.members.push(Member {
            name: "a".to_owned(),
            manifest: path.to_owned(),
            ..Member::default()
        });
        expected.assert_eq(&spell(&rule(&workspace)));
    }

    const GOOD: &str = r#"[package]
name = "a"
edition.workspace = true
license = { workspace = true }

[dependencies]
serde.workspace = true
hp-base = { workspace = true, features = ["serde"] }

[dev-dependencies]
a = { path = ".", features = ["contract"] }

[lints]
workspace = true
"#;

    #[test]
    fn a_good_manifest_is_fine() {
        check(versions_come_from_the_workspace, GOOD, expect![[""]]);
        check(settings_are_inherited, GOOD, expect![[""]]);
    }

    #[test]
    fn versions_of_ones_own_are_seen() {
        let manifest = r#"[package]
name = "a"
[dependencies]
serde = "1"
hp-base = { path = "../hp-base" }
[build-dependencies.cc]
version = "1"
[target.'cfg(unix)'.dev-dependencies]
a = { path = "../b" }
"#;
        check(
            versions_come_from_the_workspace,
            manifest,
            expect![[r#"
                crates/a/Cargo.toml:4: the version of serde does not come from [workspace.dependencies]; declare it there and write `serde.workspace = true`
                crates/a/Cargo.toml:5: the version of hp-base does not come from [workspace.dependencies]; declare it there and write `hp-base.workspace = true`
                crates/a/Cargo.toml:6: the version of cc does not come from [workspace.dependencies]; declare it there and write `cc.workspace = true`
                crates/a/Cargo.toml:9: the version of a does not come from [workspace.dependencies]; declare it there and write `a.workspace = true`
            "#]],
        );
    }

    #[test]
    fn settings_of_ones_own_are_seen() {
        check(
            settings_are_inherited,
            "[package]\nname = \"a\"\nedition = \"2021\"\n",
            expect![[r#"
            crates/a/Cargo.toml:1: write `edition.workspace = true` in [package]
            crates/a/Cargo.toml:1: write `license.workspace = true` in [package]
            crates/a/Cargo.toml:1: add [lints] with `workspace = true`
        "#]],
        );
    }

    #[test]
    fn lints_of_ones_own_need_a_comment() {
        let own = "[lints.rust]\nunsafe_code = \"deny\"\n";
        let with = |lints: &str| GOOD.replace("[lints]\nworkspace = true\n", lints);
        check(
            settings_are_inherited,
            &with(own),
            expect![[r#"
            crates/a/Cargo.toml:13: inherit the lints of the workspace, or say in a comment above [lints] why not
        "#]],
        );
        check(settings_are_inherited, &with(&format!("# One call needs unsafe.\n{own}")), expect![[""]]);
    }

    #[test]
    fn a_crate_needs_a_description() {
        check(
            every_crate_is_described,
            GOOD,
            expect![[r#"
            crates/a/Cargo.toml:1: the crate has no `description`; add one sentence
        "#]],
        );
    }

    #[test]
    fn a_broken_manifest_is_one_violation() {
        check(
            settings_are_inherited,
            "[package\n",
            expect![[r#"
            crates/a/Cargo.toml:1: the file is not TOML: unclosed table, expected `]`
        "#]],
        );
    }
}
