//! Where the checkout is, and what cargo says about it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde::Deserialize;

use crate::process;

/// The folder that holds the workspace.
#[derive(Debug)]
pub(crate) struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// Asks cargo for the workspace around the current folder.
    ///
    /// A path compiled in would be wrong as soon as two checkouts share one target directory.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let mut locate = cargo();
        locate.args(["locate-project", "--workspace", "--message-format", "plain"]);
        let manifest = PathBuf::from(process::capture(&mut locate)?.trim_end());
        let root = manifest.parent().context("cargo named a manifest without a folder")?;
        Ok(Self { root: root.to_owned() })
    }

    /// The folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A cargo command that runs in the checkout.
    pub(crate) fn cargo<I: IntoIterator<Item: AsRef<str>>>(&self, arguments: I) -> Command {
        let mut command = cargo();
        command.current_dir(&self.root);
        for argument in arguments {
            command.arg(argument.as_ref());
        }
        command
    }

    /// What `cargo metadata` says about our own packages; it neither resolves nor downloads anything.
    pub(crate) fn metadata(&self) -> anyhow::Result<Metadata> {
        let json = process::capture(&mut self.cargo(["metadata", "--no-deps", "--format-version", "1"]))?;
        serde_json::from_str(&json).context("cannot read the answer of `cargo metadata`")
    }
}

/// The cargo that runs us, or the one on the path.
///
/// What that cargo tells us about our own package must not reach this one: the build script of ring is run again
/// whenever it changes, and then everything above ring is compiled again.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_about_us(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command
}

fn is_about_us(variable: &str) -> bool {
    ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|prefix| variable.starts_with(prefix))
}

/// The part of `cargo metadata` we read.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    /// The workspace's own packages.
    pub(crate) packages: Vec<Package>,
    /// Where cargo puts what it builds.
    pub(crate) target_directory: PathBuf,
}

/// One package of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its description, if it has one.
    pub(crate) description: Option<String>,
    /// The absolute path of its Cargo.toml.
    pub(crate) manifest_path: PathBuf,
    /// Everything it depends on, in every way.
    pub(crate) dependencies: Vec<Dependency>,
}

/// One dependency as declared.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    /// The package depended on (not the name it was given here).
    pub(crate) name: String,
    /// `None` for a normal one, else `dev` or `build`.
    pub(crate) kind: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_says_about_us_is_not_passed_on() {
        // Cargo sets this one for us too, as it runs the tests.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let command = cargo();
        let removed: Vec<_> = command.get_envs().filter(|(_, value)| value.is_none()).collect();
        assert!(removed.iter().any(|(name, _)| *name == "CARGO_MANIFEST_DIR"), "{removed:?}");
        assert!(removed.iter().any(|(name, _)| *name == "CARGO_PKG_NAME"), "{removed:?}");
        assert!(!is_about_us("CARGO_TARGET_DIR"));
    }
}
