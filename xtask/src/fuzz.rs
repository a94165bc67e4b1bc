//! `cargo xtask fuzz`: cargo-fuzz over the targets that stand in crates/*/fuzz.

use std::fmt;
use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::checkout::Checkout;
use crate::prepare::{self, Need};
use crate::process;

/// What fuzzing needs beyond building.
const NEEDS: &[Need] = &[Need::new("c++", "g++", "compiles libFuzzer")];

/// Arguments of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Fuzz {
    /// The target, or `crate/target` where two crates have one of that name; without it, every target.
    target: Option<String>,
    /// How long each target runs, in seconds.
    #[arg(long, default_value = "60")]
    seconds: NonZeroU32,
}

/// One fuzz target of one crate.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    folder: PathBuf,
    package: String,
    name: String,
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.package, self.name)
    }
}

impl Fuzz {
    /// Runs the chosen targets one after the other, up to the first finding.
    pub(crate) fn execute(&self, checkout: &Checkout) -> anyhow::Result<()> {
        let targets = pick(targets(checkout.root())?, self.target.as_deref())?;
        prepare::machine(prepare::QUICK)?;
        prepare::machine(NEEDS)?;
        require_tools()?;
        for (number, target) in targets.iter().enumerate() {
            // The first folder is where libFuzzer writes; without it, it would write among the seeds.
            let corpus = target.folder.join("fuzz/corpus").join(&target.name);
            fs::create_dir_all(&corpus).with_context(|| format!("cannot create {}", corpus.display()))?;
            eprintln!("[{}/{}] fuzzing {target} for {} s", number + 1, targets.len(), self.seconds);
            process::announce_and_run(&mut command(target, self.seconds))?;
        }
        println!("{} s each and nothing found: {}", self.seconds, list(&targets));
        Ok(())
    }
}

fn require_tools() -> anyhow::Result<()> {
    if !process::works(nightly().args(["cargo", "--version"])) {
        bail!(
            "fuzzing needs the nightly toolchain; run `rustup toolchain install nightly --profile minimal`"
        );
    }
    if !process::works(nightly().args(["cargo", "fuzz", "--version"])) {
        bail!("fuzzing needs cargo-fuzz; run `cargo install cargo-fuzz --locked`");
    }
    Ok(())
}

/// A command on the nightly toolchain; what the stable cargo above us set must not reach it.
fn nightly() -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly"]).env_remove("CARGO").env_remove("RUSTC").env_remove("RUSTDOC");
    command
}

/// Runs the target from its seeds; what it finds beyond them goes to its corpus, which is not kept in the repository.
/// Our crates forbid unsafe code, so the address sanitizer could find nothing and would only slow the search.
fn command(target: &Target, seconds: NonZeroU32) -> Command {
    let mut command = nightly();
    command.current_dir(&target.folder).args(["cargo", "fuzz", "run", "--sanitizer", "none", &target.name]);
    for folder in ["corpus", "seeds"] {
        let folder = format!("fuzz/{folder}/{}", target.name);
        if target.folder.join(&folder).is_dir() {
            command.arg(folder);
        }
    }
    command.arg("--");
    command.arg(format!("-max_total_time={seconds}"));
    command
}

/// Every `[[bin]]` of every crates/*/fuzz/Cargo.toml, in order of crate and name.
fn targets(root: &Path) -> anyhow::Result<Vec<Target>> {
    let mut targets = Vec::new();
    for entry in fs::read_dir(root.join("crates")).context("cannot list crates/")? {
        let folder = entry?.path();
        let manifest = folder.join("fuzz/Cargo.toml");
        if !manifest.is_file() {
            continue;
        }
        let text = fs::read_to_string(&manifest)?;
        let names = names(&text).with_context(|| format!("cannot read {}", manifest.display()))?;
        let package = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        targets.extend(names.into_iter().map(|name| Target {
            folder: folder.clone(),
            package: package.clone(),
            name,
        }));
    }
    targets.sort_by_key(Target::to_string);
    Ok(targets)
}

fn names(manifest: &str) -> Result<Vec<String>, toml::de::Error> {
    #[derive(Deserialize)]
    struct Manifest {
        #[serde(default)]
        bin: Vec<Bin>,
    }
    #[derive(Deserialize)]
    struct Bin {
        name: String,
    }

    let manifest: Manifest = toml::from_str(manifest)?;
    Ok(manifest.bin.into_iter().map(|bin| bin.name).collect())
}

fn list(targets: &[Target]) -> String {
    targets.iter().map(Target::to_string).collect::<Vec<_>>().join(", ")
}

fn pick(all: Vec<Target>, wanted: Option<&str>) -> anyhow::Result<Vec<Target>> {
    let Some(wanted) = wanted else {
        if all.is_empty() {
            bail!("there is no fuzz target under crates/*/fuzz");
        }
        return Ok(all);
    };
    let is_wanted = |target: &&Target| target.name == wanted || target.to_string() == wanted;
    let picked: Vec<Target> = all.iter().filter(is_wanted).cloned().collect();
    match picked.len() {
        0 => bail!("no fuzz target is called `{wanted}`; there are: {}", list(&all)),
        1 => Ok(picked),
        _ => bail!("`{wanted}` is more than one target; say which: {}", list(&picked)),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn some() -> Vec<Target> {
        [("cache-tiers", "key"), ("classifier-core", "model"), ("llm-optimizer", "model")]
            .map(|(package, name)| Target {
                folder: format!("crates/{package}").into(),
                package: package.to_owned(),
                name: name.to_owned(),
            })
            .into()
    }

    #[track_caller]
    fn check(wanted: Option<&str>, expected: Expect) {
        expected.assert_eq(&match pick(some(), wanted) {
            Ok(targets) => targets.iter().map(Target::to_string).collect::<Vec<_>>().join(" "),
            Err(error) => format!("error: {error}"),
        });
    }

    #[test]
    fn targets_are_picked_by_name_or_by_crate_and_name() {
        check(None, expect!["cache-tiers/key classifier-core/model llm-optimizer/model"]);
        check(Some("key"), expect!["cache-tiers/key"]);
        check(Some("llm-optimizer/model"), expect!["llm-optimizer/model"]);
    }

    #[test]
    fn a_name_that_fits_none_or_several_is_refused() {
        check(
            Some("mode"),
            expect![
                "error: no fuzz target is called `mode`; there are: cache-tiers/key, classifier-core/model, llm-optimizer/model"
            ],
        );
        check(
            Some("model"),
            expect![
                "error: `model` is more than one target; say which: classifier-core/model, llm-optimizer/model"
            ],
        );
        assert!(pick(Vec::new(), None).is_err());
    }

    #[test]
    fn names_come_from_the_manifest() {
        let manifest = "[package]\nname = \"x-fuzz\"\n[[bin]]\nname = \"model\"\ntest = false\n[[bin]]\nname = \"key\"\n";
        assert_eq!(names(manifest).unwrap(), ["model", "key"]);
        assert!(names("[package]\n").unwrap().is_empty());
    }

    #[test]
    fn targets_are_found_in_the_tree() {
        let root = std::env::temp_dir().join(format!("xtask-fuzz-{}", std::process::id()));
        let fuzz = root.join("crates/classifier-core/fuzz");
        fs::create_dir_all(&fuzz).unwrap();
        fs::create_dir_all(root.join("crates/hp-base/src")).unwrap();
        fs::write(fuzz.join("Cargo.toml"), "[[bin]]\nname = \"taxonomy\"\n[[bin]]\nname = \"model\"\n")
            .unwrap();
        let found: Vec<String> = targets(&root).unwrap().iter().map(Target::to_string).collect();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, ["classifier-core/model", "classifier-core/taxonomy"]);
    }
}
