//! The tree as the rules see it: our packages, and every file git knows or would add.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use crate::checkout::{Checkout, Package};
use crate::process;

/// Everything `tidy` and `links` read.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    /// Our packages, as cargo lists them.
    pub(crate) members: Vec<Member>,
    /// Our files, in order of their paths.
    pub(crate) files: Vec<File>,
}

/// One package of ours.
#[derive(Debug, Default)]
pub(crate) struct Member {
    /// Its name.
    pub(crate) name: String,
    /// Its Cargo.toml, from the root of the checkout.
    pub(crate) manifest: String,
    /// Its description, if it has one.
    pub(crate) description: Option<String>,
    /// Everything it depends on.
    pub(crate) dependencies: Vec<Dependency>,
}

/// One dependency of a package of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// The package depended on.
    pub(crate) name: String,
    /// Whether only tests, examples and benches see it.
    pub(crate) is_dev: bool,
}

/// One file of ours.
#[derive(Debug)]
pub(crate) struct File {
    /// Its path from the root of the checkout, with forward slashes.
    pub(crate) path: String,
    /// What it says; `None` when it is not text.
    pub(crate) text: Option<String>,
}

/// A sentence about a line that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    path: String,
    line: usize,
    sentence: String,
}

impl Violation {
    /// Lines count from 1.
    pub(crate) fn new(path: &str, line: usize, sentence: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, sentence: sentence.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.sentence)
    }
}

impl Workspace {
    /// Reads the packages from cargo, and the files that are tracked or would be from git.
    pub(crate) fn read(checkout: &Checkout) -> anyhow::Result<Self> {
        let root = checkout.root();
        let packages = checkout.metadata()?.packages;
        let members = packages.into_iter().map(|package| Member::new(package, root)).collect();
        let mut git = Command::new("git");
        git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let paths = process::capture(&mut git)?;
        // A set, because git names a file in conflict once for each side.
        let paths: BTreeSet<&str> = paths.split('\0').filter(|path| !path.is_empty()).collect();
        let mut files = Vec::new();
        for path in paths {
            let full = root.join(path);
            // Git still lists what was deleted and not yet committed.
            if full.is_file() {
                let bytes = fs::read(&full).with_context(|| format!("cannot read {path}"))?;
                files.push(File { path: path.to_owned(), text: text(bytes) });
            }
        }
        Ok(Self { members, files })
    }

    /// The files that are text, with what they say.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|file| Some((file.path.as_str(), file.text.as_deref()?)))
    }

    /// The Rust source files.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts().filter(|(path, _)| path.ends_with(".rs"))
    }

    /// What the file at this path says, if it is there and is text.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.texts().find(|(candidate, _)| *candidate == path).map(|(_, text)| text)
    }
}

impl Member {
    fn new(package: Package, root: &Path) -> Self {
        let manifest = package.manifest_path.strip_prefix(root).unwrap_or(&package.manifest_path);
        let dependencies = package.dependencies.into_iter().map(|dependency| Dependency {
            name: dependency.name,
            is_dev: dependency.kind.as_deref() == Some("dev"),
        });
        Self {
            name: package.name,
            manifest: manifest.to_string_lossy().replace('\\', "/"),
            description: package.description,
            dependencies: dependencies.collect(),
        }
    }
}

fn text(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
impl Workspace {
    /// A workspace of these files alone, for tests of rules.
    pub(crate) fn of_files(files: &[(&str, &str)]) -> Self {
        let file = |&(path, text): &(&str, &str)| File { path: path.to_owned(), text: Some(text.to_owned()) };
        Self { members: Vec::new(), files: files.iter().map(file).collect() }
    }
}

/// What a rule says about a workspace, one line a violation, for tests of rules.
#[cfg(test)]
pub(crate) fn spell(violations: &[Violation]) -> String {
    violations.iter().map(|violation| format!("{violation}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_none() {
        assert_eq!(text(b"plain".to_vec()).as_deref(), Some("plain"));
        assert_eq!(text(b"nul \0 inside".to_vec()), None);
        assert_eq!(text(vec![0xff, 0xfe]), None);
    }
}
