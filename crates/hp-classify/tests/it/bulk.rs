//! `hp-classify bulk`, run as people run it.

#![expect(clippy::unwrap_used, reason = "what is not a test itself is called by tests only")]

mod rows;

mod refusals;
mod resume;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with an input and whatever a run makes of it.
struct Desk {
    folder: TempDir,
    input: &'static str,
    output: &'static str,
}

impl Desk {
    fn new(input: &'static str, text: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(input), text).unwrap();
        let output = if input.ends_with(".csv") { "out.csv" } else { "out.jsonl" };
        Self { folder, input, output }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `hp-classify bulk` from the input to the output, not yet started.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = binary();
        command.current_dir(self.folder.path());
        command.args(["bulk", "--input", self.input, "--output", self.output]).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs without complaint and gives the summary.
    #[track_caller]
    fn finish(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs, is told why that cannot be done, and gives the reason.
    #[track_caller]
    fn fail(&self, exit_code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(exit_code), "{message}");
        message
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn output(&self) -> String {
        self.text(self.output)
    }

    fn refused(&self) -> Vec<(u64, String)> {
        let lines = self.text(&format!("{}.errors.jsonl", self.output));
        let refused = |line: &str| {
            let refused: Value = serde_json::from_str(line).unwrap();
            (refused["line"].as_u64().unwrap(), refused["reason"].as_str().unwrap().to_owned())
        };
        lines.lines().map(refused).collect()
    }
}

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hp-classify"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HP_")) {
        command.env_remove(name);
    }
    // Tests leave the user's own cache alone.
    command.env("HP_L2_CACHE_ENABLED", "false");
    command.stdin(Stdio::null());
    command
}

/// The `number`th of many questions.
fn question(number: usize) -> String {
    let subjects =
        ["kynurenine", "leptin", "the TCA cycle", "bile acids", "a metabolome", "LC-MS", "gut bacteria"];
    let questions = [
        "How does SUBJECT regulate appetite?",
        "What is SUBJECT?",
        "Any news on SUBJECT this year?",
        "SUBJECT and gout",
    ];
    let subject = subjects[number % subjects.len()];
    format!("{} ({number})", questions[number / 3 % questions.len()].replace("SUBJECT", subject))
}
