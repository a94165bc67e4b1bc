//! The full set of features, RocksDB among them: how long it takes to build, and whether that has been done here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde::Deserialize;

use crate::checkout::Checkout;
use crate::process;

/// What compiles for so long that a first answer should not wait for it.
const SLOW: &str = "librocksdb-sys";

/// Where a full build leaves its stamp, from the target directory; `cargo clean` takes it away with what it stands for.
const MARKER: &str = "release/xtask-full-set";

/// Says how long the next full build takes, unless there was one before.
pub(crate) fn announce(checkout: &Checkout) -> anyhow::Result<()> {
    if !is_built(checkout)? {
        eprintln!(
            "building everything takes 20 to 25 minutes on two slow cores, most of it for RocksDB; once per machine"
        );
    }
    Ok(())
}

/// Whether this target directory holds a full build by the compiler and of the RocksDB that are in use now.
pub(crate) fn is_built(checkout: &Checkout) -> anyhow::Result<bool> {
    Ok(is_stamped(&marker(checkout)?, &stamp(checkout)?))
}

/// Remembers that everything has just been built, so that [`is_built`] is true until what was slow must be built anew.
pub(crate) fn mark_as_built(checkout: &Checkout) -> anyhow::Result<()> {
    write_stamp(&marker(checkout)?, &stamp(checkout)?)
}

fn marker(checkout: &Checkout) -> anyhow::Result<PathBuf> {
    Ok(checkout.metadata()?.target_directory.join(MARKER))
}

/// Everything that makes cargo compile RocksDB again when it changes.
fn stamp(checkout: &Checkout) -> anyhow::Result<String> {
    let mut rustc = Command::new("rustc");
    let compiler = process::capture(rustc.current_dir(checkout.root()).arg("-vV"))?;
    let lock = fs::read_to_string(checkout.root().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    stamp_of(&compiler, &lock)
}

fn stamp_of(compiler: &str, lock: &str) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
    }

    let lock: Lock = toml::from_str(lock).context("cannot read Cargo.lock")?;
    let slow = lock.package.into_iter().find(|package| package.name == SLOW);
    let version = slow.with_context(|| format!("there is no {SLOW} in Cargo.lock"))?.version;
    Ok(format!("{SLOW} {version}\n{compiler}"))
}

/// A stamp that cannot be read is none.
fn is_stamped(marker: &Path, stamp: &str) -> bool {
    fs::read_to_string(marker).is_ok_and(|found| found == stamp)
}

fn write_stamp(marker: &Path, stamp: &str) -> anyhow::Result<()> {
    if is_stamped(marker, stamp) {
        return Ok(());
    }
    if let Some(folder) = marker.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    fs::write(marker, stamp).with_context(|| format!("cannot write {}", marker.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUSTC: &str = "rustc 1.95.0 (59807616e 2026-04-14)\nhost: x86_64-unknown-linux-gnu\n";

    fn lock(version: &str) -> String {
        format!(
            "version = 4\n\n[[package]]\nname = \"librocksdb-sys-tools\"\nversion = \"7.0.0\"\n\n\
             [[package]]\nname = \"librocksdb-sys\"\nversion = \"{version}\"\ndependencies = [\"bindgen\"]\n"
        )
    }

    /// Whether a build marked under the first circumstances still counts under the second.
    #[track_caller]
    fn check(name: &str, marked: (&str, &str), now: (&str, &str), expected: bool) {
        let folder = std::env::temp_dir().join(format!("xtask-full-set-{}-{name}", std::process::id()));
        let marker = folder.join(MARKER);
        let (marked, now) =
            [marked, now].map(|(compiler, version)| stamp_of(compiler, &lock(version)).unwrap()).into();
        assert!(!is_stamped(&marker, &marked), "nothing was built yet");
        write_stamp(&marker, &marked).unwrap();
        let is_built = is_stamped(&marker, &now);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(is_built, expected);
    }

    #[test]
    fn the_same_compiler_and_rocksdb_count_as_built() {
        check("same", (RUSTC, "0.19.0+11.8.1"), (RUSTC, "0.19.0+11.8.1"), true);
    }

    #[test]
    fn another_rocksdb_is_not_built() {
        check("rocksdb", (RUSTC, "0.19.0+11.8.1"), (RUSTC, "0.19.0+11.9.0"), false);
    }

    #[test]
    fn nothing_is_built_for_another_compiler() {
        let newer = RUSTC.replace("1.95.0", "1.96.0");
        check("compiler", (RUSTC, "0.19.0+11.8.1"), (&newer, "0.19.0+11.8.1"), false);
        let elsewhere = RUSTC.replace("x86_64", "aarch64");
        check("host", (RUSTC, "0.19.0+11.8.1"), (&elsewhere, "0.19.0+11.8.1"), false);
    }

    #[test]
    fn a_later_full_build_replaces_the_stamp() {
        let folder = std::env::temp_dir().join(format!("xtask-full-set-{}-later", std::process::id()));
        let marker = folder.join(MARKER);
        write_stamp(&marker, "old").unwrap();
        write_stamp(&marker, "new").unwrap();
        let (old, new) = (is_stamped(&marker, "old"), is_stamped(&marker, "new"));
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((old, new), (false, true));
    }

    #[test]
    fn a_lock_file_without_rocksdb_is_an_error() {
        let error = stamp_of(RUSTC, "version = 4\n[[package]]\nname = \"rocksdb\"\nversion = \"0.25.0\"\n");
        assert_eq!(error.unwrap_err().to_string(), "there is no librocksdb-sys in Cargo.lock");
    }
}
