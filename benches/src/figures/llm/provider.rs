//! The simulated provider, started beside this program, and systems that ask it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use classifier_core::config::{Layers, Mode};
use classifier_core::{ClassificationSystem, Config};
use tempfile::TempDir;

/// A running `llm-sim`; it ends with this.
pub(in crate::figures) struct Provider {
    child: Child,
    /// The address to ask, without a slash at the end.
    pub(in crate::figures) url: String,
    folder: TempDir,
}

impl Provider {
    pub(in crate::figures) fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let program = program.with_file_name(format!("llm-sim{}", std::env::consts::EXE_SUFFIX));
        ensure!(
            program.exists(),
            "{} is not there; build it with `cargo build --release --workspace --bin llm-sim`",
            program.display()
        );
        let mut command = Command::new(program);
        command.args(["serve", "--port", "0"]).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start llm-sim")?;
        let mut line = String::new();
        let output = child.stdout.take().context("llm-sim has no output")?;
        BufReader::new(output).read_line(&mut line).context("llm-sim does not say where it is")?;
        let url = line.split_whitespace().find(|word| word.starts_with("http://"));
        let url = url.with_context(|| format!("llm-sim said `{}`", line.trim_end()))?.to_owned();
        Ok(Self { child, url, folder: tempfile::tempdir()? })
    }

    /// A configuration that asks it for everything, with whatever else is set.
    pub(in crate::figures) fn config(&self, flags: &[(&str, &str)]) -> anyhow::Result<Config> {
        let budget = self.folder.path().join("budget");
        let own = [
            ("llm_provider", "openai"),
            ("llm_model", "gpt-4o-mini"),
            ("llm_base_url", self.url.as_str()),
            ("budget_path", budget.to_str().context("the folder's name is not UTF-8")?),
            ("daily_budget", "1000000"),
            ("hourly_budget", "0"),
            ("l2_cache_enabled", "false"),
        ];
        let flags = own.iter().chain(flags).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut config = Layers { flags: flags.collect(), ..Layers::default() }.resolve()?.config;
        config.llm.mode = Mode::Llm;
        Ok(config)
    }

    pub(in crate::figures) fn system(&self, flags: &[(&str, &str)]) -> anyhow::Result<ClassificationSystem> {
        Ok(ClassificationSystem::new(&self.config(flags)?)?)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // OK to ignore: it may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
