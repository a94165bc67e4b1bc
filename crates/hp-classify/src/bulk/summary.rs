//! What a run says at its end.

use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use super::BulkArgs;
use super::journal::Progress;
use super::meter::{Meter, grouped};
use super::output::{Files, Start};

/// What a run says at its end; the names are those of the JSON.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    input: String,
    output: String,
    /// The side file, if there are rows in it.
    errors: Option<String>,
    /// Rows in the output.
    n_answered: u64,
    /// Rows that could not be answered.
    n_refused: u64,
    /// How many of both an earlier process has done.
    n_done_before: u64,
    /// Whether there was nothing left to do.
    finished_before: bool,
    seconds: f64,
    rows_per_second: u64,
}

impl Summary {
    /// The summary of a run that begins at `start`.
    pub(super) fn new(args: &BulkArgs, files: Option<&Files>, start: &Start) -> Self {
        let name = |path: &Path| path.display().to_string();
        let progress = match start {
            Start::Fresh => Progress::default(),
            Start::Resumed(progress) | Start::Finished(progress) => *progress,
        };
        Self {
            input: name(&args.input),
            output: name(&args.output),
            errors: files.map(|files| name(&files.side)),
            n_answered: progress.n_answered,
            n_refused: progress.n_refused,
            n_done_before: progress.n_rows(),
            finished_before: matches!(start, Start::Finished(_)),
            seconds: 0.0,
            rows_per_second: 0,
        }
    }

    /// Takes over what was done.
    pub(super) fn measure(&mut self, meter: &Meter, progress: Progress) {
        self.n_answered = progress.n_answered;
        self.n_refused = progress.n_refused;
        self.seconds = (meter.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        self.rows_per_second = meter.rows_per_second(progress);
    }

    /// Prints it: one JSON object on standard output, or one line on standard error.
    pub(super) fn print(mut self, json: bool) -> anyhow::Result<()> {
        self.errors = self.errors.filter(|_| self.n_refused > 0);
        let printed = if json {
            let text = serde_json::to_string(&self)?;
            writeln!(io::stdout(), "{text}")
        } else {
            writeln!(io::stderr(), "{}", self.line())
        };
        printed.context("cannot print the summary")
    }

    fn line(&self) -> String {
        let mut line = format!("{} rows classified", grouped(self.n_answered));
        if self.n_refused > 0 {
            let side = self.errors.as_deref().unwrap_or("standard error");
            line += &format!(", {} bad rows in {side}", grouped(self.n_refused));
        }
        if self.finished_before {
            return format!("{} is finished already: {line}", self.output);
        }
        if self.n_done_before > 0 {
            line += &format!(", {} of both by an earlier run", grouped(self.n_done_before));
        }
        format!("{line}; {:.1} s, {} rows/s", self.seconds, grouped(self.rows_per_second))
    }
}
