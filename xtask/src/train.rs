//! `cargo xtask train`: the checked-in classifier from the checked-in data, and the proof that it is that.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::binary::{self, Set};
use crate::checkout::Checkout;
use crate::process;

const DATA: &str = "crates/classifier-core/data/clinical-metabolomics/train";
const TAXONOMY: &str = "crates/classifier-core/data/clinical-metabolomics/taxonomy.toml";
const MODEL: &str = "crates/classifier-core/data/clinical-metabolomics/model.bin";
const REPORT: &str = "docs/embedded-classifier-report.json";

/// Arguments of `cargo xtask train`.
#[derive(Debug, clap::Args)]
pub(crate) struct Train {
    /// Train into a temporary folder and fail unless it gives the checked-in files byte for byte.
    #[arg(long)]
    check: bool,
}

impl Train {
    /// Builds `hp-classify` and trains with it.
    pub(crate) fn execute(&self, checkout: &Checkout) -> anyhow::Result<()> {
        let set = Set::without_waiting(checkout)?;
        if self.check { check(checkout, set) } else { train(checkout, set) }
    }
}

fn train(checkout: &Checkout, set: Set) -> anyhow::Result<()> {
    process::announce_and_run(&mut command(checkout, set, Path::new(MODEL), Path::new(REPORT))?)?;
    println!("wrote {MODEL} and {REPORT}");
    Ok(())
}

/// Trains anew and compares with what is checked in; the same data must give the same bytes on any machine.
pub(crate) fn check(checkout: &Checkout, set: Set) -> anyhow::Result<()> {
    let scratch = Scratch::create(checkout.metadata()?.target_directory.join("xtask/train-check"))?;
    let model = scratch.0.join("model.bin");
    let report = scratch.0.join("report.json");
    process::announce_and_run(&mut command(checkout, set, &model, &report)?)?;
    for (checked_in, trained) in [(MODEL, model), (REPORT, report)] {
        let trained = fs::read(&trained).with_context(|| format!("cannot read {}", trained.display()))?;
        let existing = fs::read(checkout.root().join(checked_in)).ok();
        if let Some(difference) = difference(existing.as_deref(), &trained) {
            bail!(
                "{checked_in} {difference}; run `cargo xtask train`, read the report and check both files in"
            );
        }
        println!("{checked_in}: the same {} bytes", trained.len());
    }
    Ok(())
}

fn command(checkout: &Checkout, set: Set, model: &Path, report: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(binary::hp_classify(checkout, set)?);
    command.current_dir(checkout.root()).arg("train");
    command.args(["--data", DATA, "--taxonomy", TAXONOMY]);
    command.arg("--out").arg(model).arg("--report").arg(report);
    Ok(command)
}

/// How the checked-in file differs from the one just trained, if it does.
fn difference(checked_in: Option<&[u8]>, trained: &[u8]) -> Option<String> {
    let Some(checked_in) = checked_in else {
        return Some("is not there".to_owned());
    };
    if checked_in == trained {
        return None;
    }
    let n_same = checked_in.iter().zip(trained).take_while(|(a, b)| a == b).count();
    let (old, new) = (checked_in.len(), trained.len());
    Some(format!(
        "is not what the data gives: it has {old} bytes, training gave {new}, and byte {n_same} is the first that differs"
    ))
}

/// A folder that is emptied before use and removed after it.
struct Scratch(PathBuf);

impl Scratch {
    fn create(folder: PathBuf) -> anyhow::Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // OK to ignore: it lies under the target directory, and the next check empties it first.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(checked_in: Option<&[u8]>, trained: &[u8], expected: Expect) {
        expected.assert_eq(&difference(checked_in, trained).unwrap_or_default());
    }

    #[test]
    fn equal_bytes_are_fine() {
        check(Some(b"model"), b"model", expect![[""]]);
    }

    #[test]
    fn a_difference_says_where_it_begins() {
        check(None, b"model", expect!["is not there"]);
        check(
            Some(b"mobel"),
            b"model",
            expect![
                "is not what the data gives: it has 5 bytes, training gave 5, and byte 2 is the first that differs"
            ],
        );
        check(
            Some(b"mod"),
            b"model",
            expect![
                "is not what the data gives: it has 3 bytes, training gave 5, and byte 3 is the first that differs"
            ],
        );
    }

    #[test]
    fn a_scratch_folder_is_empty_at_first_and_gone_at_last() {
        let folder = std::env::temp_dir().join(format!("xtask-scratch-{}", std::process::id()));
        fs::create_dir_all(folder.join("old")).unwrap();
        let scratch = Scratch::create(folder.clone()).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        drop(scratch);
        assert!(!folder.exists());
    }
}
