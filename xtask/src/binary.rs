//! Building our programs in release, all of them or a quick set, and where cargo put them.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use serde::Deserialize;

use crate::checkout::Checkout;
use crate::full_set;
use crate::process;

/// Which of its features `hp-classify` is built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    /// All but the cache on disk, for which RocksDB would have to be compiled.
    Quick,
    /// All.
    Full,
}

impl Set {
    /// The most that does not have to wait for RocksDB.
    pub(crate) fn without_waiting(checkout: &Checkout) -> anyhow::Result<Self> {
        Ok(if full_set::is_built(checkout)? { Self::Full } else { Self::Quick })
    }
}

const HP_CLASSIFY: &str = "hp-classify";

/// Builds `hp-classify` in release and returns its path.
pub(crate) fn hp_classify(checkout: &Checkout, set: Set) -> anyhow::Result<PathBuf> {
    match set {
        Set::Full => build(checkout, &[HP_CLASSIFY]),
        Set::Quick => hp_classify_with(checkout, "remote"),
    }
}

/// Builds `hp-classify` in release with these features alone and returns its path.
pub(crate) fn hp_classify_with(checkout: &Checkout, features: &str) -> anyhow::Result<PathBuf> {
    let build =
        ["build", "--release", "--package", HP_CLASSIFY, "--no-default-features", "--features", features];
    run(checkout.cargo(build), HP_CLASSIFY)
}

/// Builds the programs in release with all their features and returns the path of the first.
///
/// The whole workspace is selected, as in every other command, although only these are built: cargo then
/// unites features in the same way and compiles no dependency twice.
pub(crate) fn build(checkout: &Checkout, names: &[&str]) -> anyhow::Result<PathBuf> {
    let first = names.first().context("no program was named")?;
    let mut command = checkout.cargo(["build", "--release", "--workspace"]);
    for name in names {
        command.args(["--bin", name]);
    }
    let program = run(command, first)?;
    full_set::mark_as_built(checkout)?;
    Ok(program)
}

fn run(mut command: Command, name: &str) -> anyhow::Result<PathBuf> {
    eprintln!("+ {}", process::spell(&command));
    command.arg("--message-format=json-render-diagnostics").stdout(Stdio::piped());
    let messages = process::capture(&mut command)?;
    executable(&messages, name).with_context(|| format!("cargo built `{name}` but did not say where it is"))
}

/// Finds the program's path among cargo's messages; this holds for any target directory or triple.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        reason: String,
        executable: Option<PathBuf>,
        target: Option<Target>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
        kind: Vec<String>,
    }

    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact")
        .filter(|message| {
            message.target.as_ref().is_some_and(|t| t.name == name && t.kind.iter().any(|kind| kind == "bin"))
        })
        .find_map(|message| message.executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &str = r#"
{"reason":"compiler-artifact","target":{"name":"figures","kind":["lib"]},"executable":null}
{"reason":"build-script-executed","package_id":"x"}
not json at all
{"reason":"compiler-artifact","target":{"name":"hp-classify","kind":["bin"]},"executable":"/t/release/hp-classify"}
{"reason":"compiler-artifact","target":{"name":"figures","kind":["bin"]},"executable":"/t/x86_64/release/figures"}
{"reason":"build-finished","success":true}"#;

    #[test]
    fn the_path_comes_from_the_binary_of_that_name() {
        assert_eq!(executable(MESSAGES, "figures"), Some("/t/x86_64/release/figures".into()));
        assert_eq!(executable(MESSAGES, "hp-classify"), Some("/t/release/hp-classify".into()));
    }

    #[test]
    fn a_program_that_was_not_built_has_no_path() {
        assert_eq!(executable(MESSAGES, "hp-server"), None);
    }
}
