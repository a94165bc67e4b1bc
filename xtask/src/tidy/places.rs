//! The rule for the top level: little stands there, so that the house can be read from the street.

use std::collections::BTreeMap;

use crate::workspace::{Violation, Workspace};

/// What may stand at the top level; a trailing `*` fits any ending.
const TOP_LEVEL: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "CHANGELOG.md",
    "LICENSE-*",
    "crates",
    "xtask",
    "benches",
    "docs",
    // Tools look for their files here and nowhere else.
    ".cargo",
    ".ci",
    ".config",
    ".dockerignore",
    ".editorconfig",
    ".gitattributes",
    ".github",
    ".gitignore",
    "clippy.toml",
    "deny.toml",
    "rust-toolchain.toml",
    "rustfmt.toml",
];

/// Nothing stands at the top level but what the list has.
pub(crate) fn the_top_level_is_small(workspace: &Workspace) -> Vec<Violation> {
    // One line for each entry: the first file of a folder speaks for the folder.
    let mut entries = BTreeMap::new();
    for file in &workspace.files {
        let entry = file.path.split('/').next().unwrap_or_default();
        entries.entry(entry).or_insert(&file.path);
    }
    let strangers =
        entries.into_iter().filter(|(entry, _)| !TOP_LEVEL.iter().any(|known| fits(entry, known)));
    let violation = |(entry, path): (&str, &String)| {
        let sentence = format!(
            "`{entry}` does not belong at the top level; move it, or list it in TOP_LEVEL of xtask/src/tidy/places.rs"
        );
        Violation::new(path, 1, sentence)
    };
    strangers.map(violation).collect()
}

fn fits(entry: &str, known: &str) -> bool {
    known.strip_suffix('*').map_or(entry == known, |stem| entry.starts_with(stem))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::workspace::spell;

    #[track_caller]
    fn check(paths: &[&str], expected: Expect) {
        let files: Vec<_> = paths.iter().map(|path| (*path, "")).collect();
        expected.assert_eq(&spell(&the_top_level_is_small(&Workspace::of_files(&files))));
    }

    #[test]
    fn the_listed_are_fine() {
        check(&["Cargo.toml", "LICENSE-MIT", "crates/a/src/lib.rs", ".ci/run"], expect![[""]]);
    }

    #[test]
    fn strangers_are_named_once() {
        check(
            &["data/a.jsonl", "data/b.jsonl", "notes.txt", "LICENSE"],
            expect![[r#"
            LICENSE:1: `LICENSE` does not belong at the top level; move it, or list it in TOP_LEVEL of xtask/src/tidy/places.rs
            data/a.jsonl:1: `data` does not belong at the top level; move it, or list it in TOP_LEVEL of xtask/src/tidy/places.rs
            notes.txt:1: `notes.txt` does not belong at the top level; move it, or list it in TOP_LEVEL of xtask/src/tidy/places.rs
        "#]],
        );
    }
}
