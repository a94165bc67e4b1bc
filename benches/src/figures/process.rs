//! The program hp-classify as its users start it: how soon it answers, and how much memory it takes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};

use super::rounds::Rounds;
use super::{Figure, Goal};
use crate::Questions;

/// How often it is started.
const N_STARTS: usize = 20;
/// How many questions it has answered when its memory is read.
const N_QUESTIONS: usize = 1_000;

pub(super) fn measure(questions: &Questions) -> anyhow::Result<Vec<Figure>> {
    // Its cache on disk goes where it is in nobody's way.
    let folder = tempfile::tempdir().context("cannot make a folder for the cache")?;
    let folder = folder.path();
    let mut figures = vec![
        Figure::new("process.first_answer_ms", first_answer(questions, folder)?, "ms")
            .with_goal(Goal::AtMost(100.0)),
    ];
    // Only there does the kernel tell what others take.
    if cfg!(target_os = "linux") {
        figures.extend(resident(questions, folder)?);
    }
    Ok(figures)
}

/// The time from starting it with a question until the answer is there, in milliseconds. What it does afterwards, such
/// as writing the answer to the disk, nobody waits for.
fn first_answer(questions: &Questions, folder: &Path) -> anyhow::Result<f64> {
    let mut rounds = Rounds::default();
    for question in questions.numbered(N_STARTS) {
        let mut command = hp_classify(folder)?;
        command.arg(question).stdin(Stdio::null()).stdout(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().context("cannot start hp-classify")?;
        let mut answer = String::new();
        let mut output = BufReader::new(child.stdout.take().context("hp-classify has no output")?);
        output.read_line(&mut answer).context("hp-classify does not answer")?;
        rounds.push(started.elapsed().as_secs_f64() * 1e3);
        // It is to find a reader for all it says.
        output.read_to_string(&mut answer)?;
        let status = child.wait()?;
        ensure!(status.success(), "hp-classify failed ({status})");
        ensure!(!answer.is_empty(), "hp-classify did not answer");
    }
    Ok(rounds.median())
}

/// The memory it holds after the first question while it waits for another, and the most it has held after many.
fn resident(questions: &Questions, folder: &Path) -> anyhow::Result<Vec<Figure>> {
    let mut running = Running::start(folder)?;
    let questions = questions.numbered(N_QUESTIONS);
    let (first, others) = questions.split_first().context("there is no question")?;
    running.ask(first)?;
    let idle = running.megabytes("VmRSS")?;
    for question in others {
        running.ask(question)?;
    }
    let peak = running.megabytes("VmHWM")?;
    running.end()?;
    Ok(vec![
        Figure::new("process.resident_idle_mb", idle, "MB").with_goal(Goal::AtMost(40.0)),
        Figure::new("process.resident_mb", peak, "MB").with_goal(Goal::AtMost(40.0)),
    ])
}

/// `hp-classify classify` from beside this program, as if nothing were configured but the folder of its cache.
fn hp_classify(folder: &Path) -> anyhow::Result<Command> {
    let program = beside()?;
    ensure!(
        program.exists(),
        "{} is not there; build it with `cargo build --release --workspace --bin hp-classify`",
        program.display()
    );
    let mut command = Command::new(program);
    // It takes these for its configuration, `FIGURES_QUESTIONS` among them.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HP_") {
            command.env_remove(name);
        }
    }
    command.env("HP_L2_CACHE_PATH", folder).arg("classify");
    Ok(command)
}

fn beside() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe().context("cannot tell where this program is")?;
    Ok(this.with_file_name(format!("hp-classify{}", std::env::consts::EXE_SUFFIX)))
}

/// An hp-classify that reads questions, one a line, and writes answers, one a line.
#[derive(Debug)]
struct Running {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    answer: String,
}

impl Running {
    fn start(folder: &Path) -> anyhow::Result<Self> {
        let mut command = hp_classify(folder)?;
        command.args(["--json", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start hp-classify")?;
        let (questions, answers) = (child.stdin.take(), child.stdout.take());
        Ok(Self {
            child,
            questions: questions.context("hp-classify has no input")?,
            answers: BufReader::new(answers.context("hp-classify has no output")?),
            answer: String::new(),
        })
    }

    fn ask(&mut self, question: &str) -> anyhow::Result<()> {
        writeln!(self.questions, "{question}").context("hp-classify takes no question")?;
        self.answer.clear();
        self.answers.read_line(&mut self.answer).context("hp-classify does not answer")?;
        ensure!(self.answer.contains("\"category\""), "hp-classify answered `{}`", self.answer.trim_end());
        Ok(())
    }

    /// A line of the kernel's report on the process, in millions of bytes.
    fn megabytes(&self, field: &str) -> anyhow::Result<f64> {
        let file = format!("/proc/{}/status", self.child.id());
        let report = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        kibibytes(&report, field)
            .map(|kibibytes| kibibytes * 1024.0 / 1e6)
            .with_context(|| format!("{file} has no {field}"))
    }

    fn end(self) -> anyhow::Result<()> {
        let Self { mut child, questions, .. } = self;
        drop(questions);
        let status = child.wait()?;
        ensure!(status.success(), "hp-classify failed ({status})");
        Ok(())
    }
}

pub(super) fn kibibytes(report: &str, field: &str) -> Option<f64> {
    let line = report.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::kibibytes;

    #[test]
    fn the_report_of_the_kernel_is_read() {
        let report = "Name:\tx\nVmPeak:\t  9000 kB\nVmHWM:\t   11264 kB\nThreads:\t1\n";
        assert_eq!(kibibytes(report, "VmHWM"), Some(11_264.0));
        assert_eq!(kibibytes(report, "VmRSS"), None);
        assert_eq!(kibibytes(report, "Threads"), None);
    }
}
