//! Our program, told to ask the model: one call, or a process that is asked question after question.

use std::fmt;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::PATIENCE;
use crate::process;

/// Settings that are added to those all calls have.
pub(super) type Settings<'a> = &'a [(&'a str, &'a str)];

/// `hp-classify` with the model it is to ask.
#[derive(Debug)]
pub(super) struct Program {
    path: PathBuf,
    url: String,
    model: String,
    scratch: PathBuf,
}

/// What `llm check` says.
#[derive(Debug, Deserialize)]
pub(super) struct Checked {
    category: String,
    confidence: f64,
    response_time_ms: f64,
    pub(super) llm: LlmUse,
}

/// What asking took.
#[derive(Debug, Deserialize)]
pub(super) struct LlmUse {
    pub(super) reply_form: Option<String>,
    pub(super) n_calls: Option<u32>,
    pub(super) accepted_early: bool,
    pub(super) time_to_first_token_ms: f64,
    pub(super) input_tokens: Option<u32>,
    pub(super) cached_input_tokens: Option<u32>,
    pub(super) output_tokens: Option<u32>,
}

/// A line of `classify --json`.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    pub(super) category: String,
    pub(super) metadata: Metadata,
}

/// How an answer came about.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    pub(super) response_time_ms: f64,
    pub(super) source: String,
    pub(super) degraded: bool,
    pub(super) degraded_reason: Option<String>,
    pub(super) llm: Option<LlmUse>,
}

/// A process that answers question after question.
#[derive(Debug)]
pub(super) struct Asking {
    child: Child,
    questions: Option<ChildStdin>,
    answers: Receiver<String>,
    told: Option<JoinHandle<Vec<String>>>,
}

impl Program {
    pub(super) fn new(path: PathBuf, url: &str, model: &str) -> anyhow::Result<Self> {
        let scratch = std::env::temp_dir().join(format!("xtask-e2e-llm-{}", std::process::id()));
        fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
        Ok(Self { path, url: url.to_owned(), model: model.to_owned(), scratch })
    }

    /// Makes one call, and waits for all of the reply.
    pub(super) fn check(&self, question: &str, settings: Settings<'_>) -> anyhow::Result<Checked> {
        let mut command = self.command(&["llm", "check"], settings);
        command.args(["--set", &format!("llm_call_timeout={}", PATIENCE.as_secs())]);
        let json = process::capture(command.arg(question))?;
        serde_json::from_str(&json).with_context(|| format!("cannot read what `llm check` printed: {json}"))
    }

    /// Starts a process that asks the model whatever the embedded classifier thinks.
    pub(super) fn asking(&self, settings: Settings<'_>) -> anyhow::Result<Asking> {
        let mut command = self.command(&["classify", "--force-llm"], settings);
        Asking::start(command.arg("-").env("HP_LOG", "warn"))
    }

    fn command(&self, words: &[&str], settings: Settings<'_>) -> Command {
        let mut command = Command::new(&self.path);
        // What is set for daily use is none of ours, but for the key.
        let is_theirs = |name: &str| name.starts_with("HP_") && !name.starts_with("HP_LLM_API_KEY");
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_theirs(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        let budget = self.scratch.join("budget").display().to_string();
        let ours = [
            ("llm_provider", "openai"),
            ("llm_model", &self.model),
            ("llm_base_url", &self.url),
            ("classifier_mode", "llm"),
            ("l2_cache_enabled", "false"),
            ("budget_path", &budget),
        ];
        command.args(words).arg("--json");
        for (name, value) in ours.iter().chain(settings) {
            command.arg("--set").arg(format!("{name}={value}"));
        }
        command
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // OK to ignore: it lies among the temporary files.
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

impl Asking {
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().with_context(|| format!("cannot start `{}`", process::spell(command)))?;
        let (Some(output), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
            bail!("the program has no output");
        };
        let (send, answers) = mpsc::channel();
        lines(output, move |line| {
            // OK to ignore: nobody asks any more.
            let _ = send.send(line);
        });
        let told = thread::spawn(move || {
            let lines = BufReader::new(errors).lines().map_while(Result::ok);
            lines.inspect(|line| eprintln!("   {line}")).collect()
        });
        let questions = child.stdin.take();
        Ok(Self { child, questions, answers, told: Some(told) })
    }

    /// Asks, and waits for the answer; an error where there is none in time.
    pub(super) fn ask(&mut self, question: &str, most: Duration) -> anyhow::Result<Answer> {
        let questions = self.questions.as_mut().context("the program takes no questions any more")?;
        writeln!(questions, "{question}").context("the program has ended")?;
        let line = self.answers.recv_timeout(most);
        let line = line.with_context(|| format!("no answer to `{question}` in {} s", most.as_secs()))?;
        serde_json::from_str(&line).with_context(|| format!("cannot read this answer: {line}"))
    }

    /// Ends the process as soon as it is done, and returns what it has said besides.
    pub(super) fn finish(mut self) -> anyhow::Result<Vec<String>> {
        drop(self.questions.take());
        let status = self.child.wait()?;
        let told = self.told.take().and_then(|told| told.join().ok()).unwrap_or_default();
        if !status.success() {
            bail!("the program ended with {status}");
        }
        Ok(told)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        // OK to ignore: it has ended where it was finished.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(from: impl Read + Send + 'static, each: impl Fn(String) + Send + 'static) {
    thread::spawn(move || BufReader::new(from).lines().map_while(Result::ok).for_each(each));
}

impl fmt::Display for Checked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { category, confidence, response_time_ms, llm } = self;
        let seconds = response_time_ms / 1e3;
        write!(formatter, "{category:<15} {confidence:.2}  in {seconds:.1} s, {llm}")
    }
}

impl fmt::Display for LlmUse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "first token after {:.1} s", self.time_to_first_token_ms / 1e3)?;
        if let (Some(input), Some(output)) = (self.input_tokens, self.output_tokens) {
            let cached = self.cached_input_tokens.unwrap_or_default();
            write!(formatter, ", {input} tokens in ({cached} known), {output} out")?;
        }
        if self.accepted_early {
            write!(formatter, ", accepted early")?;
        }
        if let Some(n_calls) = self.n_calls.filter(|&n| n > 1) {
            write!(formatter, ", {n_calls} calls")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Asking {
        Asking::start(Command::new("sh").args(["-c", script])).unwrap()
    }

    const ANSWER: &str = r#"{"category":"GENERAL","metadata":{"response_time_ms":1.5,"source":"embedded","degraded":true,"degraded_reason":"timed_out","llm":null}}"#;

    #[test]
    fn a_question_is_a_line_and_so_is_its_answer() {
        let script = format!("while read -r line; do echo told \"$line\" >&2; echo '{ANSWER}'; done");
        let mut asking = shell(&script);
        for question in ["What?", "Why?"] {
            let Answer { category, metadata } = asking.ask(question, Duration::from_secs(60)).unwrap();
            assert_eq!(
                (category.as_str(), metadata.degraded_reason.as_deref()),
                ("GENERAL", Some("timed_out"))
            );
        }
        assert_eq!(asking.finish().unwrap(), ["told What?", "told Why?"]);
    }

    #[test]
    fn no_answer_is_an_error_and_so_is_a_bad_end() {
        let mut silent = shell("read -r line; read -r line");
        let error = silent.ask("What?", Duration::from_millis(1)).unwrap_err().to_string();
        assert_eq!(error, "no answer to `What?` in 0 s");
        drop(silent);
        let mut wordy = shell("read -r line; echo yes; read -r line");
        assert!(wordy.ask("What?", Duration::from_secs(60)).is_err());
        assert!(shell("exit 3").finish().is_err());
    }

    #[test]
    fn what_is_said_of_a_call_is_short() {
        let json = r#"{"ok":true,"category":"REAL_TIME","confidence":0.9,"response_time_ms":2500,"llm":{"reply_form":"json_schema","n_calls":2,
            "accepted_early":false,"time_to_first_token_ms":1234.5,"input_tokens":210,"cached_input_tokens":194,"output_tokens":80}}"#;
        let checked: Checked = serde_json::from_str(json).unwrap();
        expect_test::expect![[
            r#"REAL_TIME       0.90  in 2.5 s, first token after 1.2 s, 210 tokens in (194 known), 80 out, 2 calls"#
        ]]
        .assert_eq(&checked.to_string());
    }
}
