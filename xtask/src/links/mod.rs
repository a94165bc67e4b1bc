//! `cargo xtask links`: every relative link and anchor in the documents leads somewhere.

mod markdown;

use std::collections::BTreeSet;

use anyhow::bail;

use self::markdown::{Link, anchors, links};
use crate::checkout::Checkout;
use crate::workspace::{Violation, Workspace};

/// Prints every dead link and a count of what was followed; fails when there is one.
pub(crate) fn execute(checkout: &Checkout) -> anyhow::Result<()> {
    let workspace = Workspace::read(checkout)?;
    let (n_links, violations) = check(&workspace);
    for violation in &violations {
        println!("{violation}");
    }
    let n_documents = documents(&workspace).count();
    println!("followed {n_links} relative links in {n_documents} documents");
    match violations.len() {
        0 => Ok(()),
        1 => bail!("1 link leads nowhere"),
        n_dead => bail!("{n_dead} links lead nowhere"),
    }
}

/// The README and CHANGELOG, everything under docs/, and the READMEs inside our packages.
fn documents(workspace: &Workspace) -> impl Iterator<Item = (&str, &str)> {
    workspace.texts().filter(|(path, _)| {
        let is_readme = ["crates/", "benches/", "xtask/"].iter().any(|folder| path.starts_with(folder))
            && path.ends_with("/README.md");
        ["README.md", "CHANGELOG.md"].contains(path)
            || (path.starts_with("docs/") && path.ends_with(".md"))
            || is_readme
    })
}

/// How many links were followed, and which of them are dead.
fn check(workspace: &Workspace) -> (usize, Vec<Violation>) {
    let places = places(workspace);
    let mut n_links = 0;
    let mut violations = Vec::new();
    for (path, text) in documents(workspace) {
        for Link { line, target } in links(text) {
            if is_elsewhere(&target) {
                continue;
            }
            n_links += 1;
            if let Err(fault) = follow(workspace, &places, path, &target) {
                violations.push(Violation::new(path, line, format!("the link `{target}` is dead: {fault}")));
            }
        }
    }
    (n_links, violations)
}

/// Every file git knows and every folder that holds one: what a clean clone has.
fn places(workspace: &Workspace) -> BTreeSet<&str> {
    let mut places = BTreeSet::from([""]);
    for file in &workspace.files {
        places.insert(&file.path);
        places.extend(file.path.match_indices('/').map(|(at, _)| &file.path[..at]));
    }
    places
}

/// Whether the link leaves the checkout by an address of its own, such as `https:` or `mailto:`.
fn is_elsewhere(target: &str) -> bool {
    target.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    }) || target.starts_with("//")
}

fn follow(workspace: &Workspace, places: &BTreeSet<&str>, from: &str, target: &str) -> Result<(), String> {
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let path = if path.is_empty() { from.to_owned() } else { resolve(from, &path.replace("%20", " "))? };
    if !places.contains(path.as_str()) {
        return Err(format!("there is no {path}"));
    }
    let Some(anchor) = anchor else {
        return Ok(());
    };
    let text = workspace.text(&path).ok_or_else(|| format!("{path} is not text and has no anchors"))?;
    let is_there = if path.ends_with(".md") {
        anchors(text).contains(anchor)
    } else {
        is_line(anchor, text.lines().count())
    };
    if is_there { Ok(()) } else { Err(format!("{path} has no `#{anchor}`")) }
}

/// The path from the root of the checkout, or why it is none.
fn resolve(from: &str, path: &str) -> Result<String, String> {
    if path.starts_with('/') {
        return Err("it begins at the root of a disk; make it relative".to_owned());
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or("it leaves the checkout")?;
            }
            name => parts.push(name),
        }
    }
    Ok(parts.join("/"))
}

/// Whether `L7` or `L7-L9` is within the file.
fn is_line(anchor: &str, n_lines: usize) -> bool {
    anchor.split('-').all(|part| {
        let number = part.strip_prefix('L').and_then(|number| number.parse::<usize>().ok());
        number.is_some_and(|number| (1..=n_lines).contains(&number))
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::workspace::spell;

    #[track_caller]
    fn check_links(path: &str, text: &str, expected: Expect) {
        let files = [
            (path, text),
            ("Cargo.toml", "one\ntwo\n"),
            ("docs/DESIGN.md", "# Why not?\n\n## Two words\n"),
            ("docs/a b.md", ""),
            ("crates/a/src/lib.rs", "//! A.\n"),
        ];
        let (n_links, violations) = check(&Workspace::of_files(&files));
        expected.assert_eq(&format!("{n_links} links\n{}", spell(&violations)));
    }

    #[test]
    fn links_to_files_folders_anchors_and_lines_resolve() {
        let text = "[a](docs/DESIGN.md) [b](docs/DESIGN.md#why-not) [c](crates/a/) [d](Cargo.toml#L1-L2)\n\
                    [e](#here) [f](https://example.org/x) [g](mailto:x@example.org) [h](docs/a%20b.md)\n# Here\n";
        check_links(
            "README.md",
            text,
            expect![[r#"
            6 links
        "#]],
        );
    }

    #[test]
    fn dead_links_are_named_with_their_line() {
        let text = "\n[a](docs/NONE.md)\n[b](docs/DESIGN.md#nothing)\n[c](#nowhere) [d](Cargo.toml#L3)\n[e](/etc) [f](../x)\n";
        check_links(
            "README.md",
            text,
            expect![[r#"
            6 links
            README.md:2: the link `docs/NONE.md` is dead: there is no docs/NONE.md
            README.md:3: the link `docs/DESIGN.md#nothing` is dead: docs/DESIGN.md has no `#nothing`
            README.md:4: the link `#nowhere` is dead: README.md has no `#nowhere`
            README.md:4: the link `Cargo.toml#L3` is dead: Cargo.toml has no `#L3`
            README.md:5: the link `/etc` is dead: it begins at the root of a disk; make it relative
            README.md:5: the link `../x` is dead: it leaves the checkout
        "#]],
        );
    }

    #[test]
    fn links_start_from_the_folder_of_the_document() {
        check_links(
            "docs/ARCHITECTURE.md",
            "[a](DESIGN.md) [b](../Cargo.toml) [c](docs/DESIGN.md)\n",
            expect![[r#"
            3 links
            docs/ARCHITECTURE.md:1: the link `docs/DESIGN.md` is dead: there is no docs/docs/DESIGN.md
        "#]],
        );
        check_links(
            "crates/a/README.md",
            "[a](src/lib.rs) [b](../../docs/DESIGN.md#two-words)\n",
            expect![[r#"
            2 links
        "#]],
        );
    }

    #[test]
    fn other_markdown_is_left_alone() {
        check_links(
            "crates/a/notes.md",
            "[a](none)\n",
            expect![[r#"
            0 links
        "#]],
        );
    }
}
