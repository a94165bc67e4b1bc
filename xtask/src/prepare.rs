//! Preparing a machine: a table of what must be installed, and its installation.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;

use crate::process;

/// A program or library that cargo does not bring along.
#[derive(Debug)]
pub(crate) struct Need {
    /// The program (`cc`), or the library when it begins with `lib` (`libssl` finds `libssl.so.3`).
    pub(crate) name: &'static str,
    /// The Debian package that brings it.
    pub(crate) package: &'static str,
    /// Who needs it.
    pub(crate) why: &'static str,
    /// What the package starts in the background where there is systemd, although nothing here uses it.
    pub(crate) service: Option<&'static str>,
}

impl Need {
    /// A need whose package starts nothing.
    pub(crate) const fn new(name: &'static str, package: &'static str, why: &'static str) -> Self {
        Self { name, package, why, service: None }
    }
}

const CC: Need = Need::new("cc", "gcc", "links every Rust program, and compiles the C in ring");
const CXX: Need = Need::new("c++", "g++", "compiles RocksDB, the cache on disk");
const LIBCLANG: Need =
    Need::new("libclang", "libclang-dev", "reads the headers of RocksDB to make its bindings");
const GIT: Need = Need::new("git", "git", "lists the files that `cargo xtask tidy` and `links` read");
const REDIS: Need = Need {
    service: Some("redis-server"),
    ..Need::new("redis-server", "redis-server", "is started by tests and benchmarks of the shared cache")
};
const SENTINEL: Need = Need {
    service: Some("redis-sentinel"),
    ..Need::new("redis-sentinel", "redis-sentinel", "is started by tests of a failover of the shared cache")
};

const PYTHON: Need = Need::new("python3", "python3-venv", "installs the server of a language model");
const CMAKE: Need = Need::new("cmake", "cmake", "configures the server of a language model");
const MAKE: Need = Need::new("make", "make", "compiles the server of a language model");
const OPENSSL: Need = Need::new("openssl", "openssl", "makes the certificates of tests with TLS");

/// What a first answer needs.
pub(crate) const QUICK: &[Need] = &[CC];
/// What building everything needs.
pub(crate) const FULL: &[Need] = &[CC, CXX, LIBCLANG];
/// What measuring against a real server needs as well.
pub(crate) const SERVED: &[Need] = &[CC, CXX, LIBCLANG, REDIS];
/// What the tests need.
pub(crate) const TESTS: &[Need] = &[CC, CXX, LIBCLANG, REDIS, SENTINEL, OPENSSL];
/// What trying a real language model needs.
pub(crate) const MODEL: &[Need] = &[CC, CXX, MAKE, CMAKE, PYTHON];
/// What continuous integration needs.
pub(crate) const CHECKS: &[Need] = &[CC, CXX, LIBCLANG, REDIS, SENTINEL, OPENSSL, GIT];

/// Installs those of `needs` that the machine lacks, or says which command does it.
pub(crate) fn machine(needs: &[Need]) -> anyhow::Result<()> {
    let missing = missing(needs, &Folders::of_this_machine());
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        eprintln!("{} is missing (Debian package {}): it {}", need.name, need.package, need.why);
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let has_systemd = Path::new("/run/systemd/system").is_dir();
    let services: Vec<&str> =
        missing.iter().filter_map(|need| need.service).filter(|_| has_systemd).collect();
    let install = install_commands(&packages, &services);
    if !process::works(Command::new("apt-get").arg("--version")) {
        bail!("install {} and try again; this machine has no apt-get to do it with", packages.join(", "));
    }
    if !is_root() {
        let install: Vec<String> = install.iter().map(|words| format!("sudo {}", words.join(" "))).collect();
        bail!("run `{}` and try again", install.join(" && "));
    }
    for words in &install {
        let mut command = Command::new(words[0]);
        process::announce_and_run(command.args(&words[1..]).env("DEBIAN_FRONTEND", "noninteractive"))?;
    }
    Ok(())
}

/// The commands that install the packages and end the services they start.
fn install_commands<'a>(packages: &[&'a str], services: &[&'a str]) -> Vec<Vec<&'a str>> {
    let with = |words: &[&'a str], names: &[&'a str]| [words, names].concat();
    let mut commands = vec![vec!["apt-get", "update"], with(&["apt-get", "install", "--yes"], packages)];
    if !services.is_empty() {
        commands.push(with(&["systemctl", "disable", "--now"], services));
    }
    commands
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Where programs and libraries are looked for.
#[derive(Debug, Default)]
struct Folders {
    programs: Vec<PathBuf>,
    libraries: Vec<PathBuf>,
}

impl Folders {
    fn of_this_machine() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut libraries: Vec<PathBuf> =
            ["/usr/local/lib", "/usr/lib", "/usr/lib64"].map(PathBuf::from).into();
        for name in names_in(Path::new("/usr/lib")) {
            if name.ends_with("-linux-gnu") {
                libraries.push(Path::new("/usr/lib").join(name));
            } else if name.starts_with("llvm-") {
                libraries.push(Path::new("/usr/lib").join(name).join("lib"));
            }
        }
        // Where bindgen looks first.
        libraries.extend(std::env::var_os("LIBCLANG_PATH").map(PathBuf::from));
        Self { programs: std::env::split_paths(&path).collect(), libraries }
    }

    fn hold(&self, name: &str) -> bool {
        if name.starts_with("lib") {
            self.libraries.iter().any(|folder| names_in(folder).iter().any(|file| is_library(file, name)))
        } else {
            self.programs.iter().any(|folder| folder.join(name).is_file())
        }
    }
}

/// Whether the file is a shared library of that name, with or without version numbers.
fn is_library(file: &str, name: &str) -> bool {
    let is_version = |c: char| c.is_ascii_digit() || c == '.' || c == '-';
    file.strip_prefix(name).is_some_and(|rest| {
        rest.starts_with(['.', '-']) && rest.trim_start_matches(is_version).starts_with("so")
    })
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn missing<'a>(needs: &'a [Need], folders: &Folders) -> Vec<&'a Need> {
    needs.iter().filter(|need| !folders.hold(need.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: &[Need] =
        &[Need::new("cc", "gcc", "links"), Need::new("libclang", "libclang-dev", "reads headers")];

    fn check(files: &[&str], expected: &[&str]) {
        let folder =
            std::env::temp_dir().join(format!("xtask-prepare-{}-{}", std::process::id(), files.len()));
        std::fs::create_dir_all(&folder).unwrap();
        for file in files {
            std::fs::write(folder.join(file), "").unwrap();
        }
        let folders = Folders { programs: vec![folder.clone()], libraries: vec![folder.clone()] };
        let packages: Vec<&str> = missing(SOME, &folders).iter().map(|need| need.package).collect();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(packages, expected);
    }

    #[test]
    fn programs_are_found_by_name_and_libraries_by_stem() {
        check(&[], &["gcc", "libclang-dev"]);
        check(&["cc"], &["libclang-dev"]);
        check(&["cc", "libclang-14.so.1"], &[]);
    }

    #[test]
    fn a_library_of_a_longer_name_is_another_one() {
        check(&["libclangLex.so.1", "libclang-cpp.so.14", "libclang.a"], &["gcc", "libclang-dev"]);
    }

    #[test]
    fn packages_are_installed_together_after_an_update() {
        check_install(&["gcc", "git"], &[], &["apt-get update", "apt-get install --yes gcc git"]);
    }

    #[test]
    fn a_service_that_comes_along_is_ended() {
        check_install(
            &["g++", "redis-server"],
            &["redis-server"],
            &[
                "apt-get update",
                "apt-get install --yes g++ redis-server",
                "systemctl disable --now redis-server",
            ],
        );
    }

    #[track_caller]
    fn check_install(packages: &[&str], services: &[&str], expected: &[&str]) {
        let commands: Vec<String> =
            install_commands(packages, services).iter().map(|words| words.join(" ")).collect();
        assert_eq!(commands, expected);
    }

    #[test]
    fn a_first_answer_waits_for_nothing_but_a_compiler() {
        let names = |needs: &[Need]| needs.iter().map(|need| need.name).collect::<Vec<_>>();
        assert_eq!(names(QUICK), ["cc"]);
        assert!(names(FULL).iter().all(|name| !name.starts_with("redis")));
    }
}
