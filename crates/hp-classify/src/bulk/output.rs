//! The files that a run writes, and where a run may begin with what is there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::identity::Identity;
use super::journal::{Journal, Progress, Unreadable};
use crate::UsageError;

/// The names of the files that a run writes.
#[derive(Debug, Clone)]
pub(super) struct Files {
    /// The answers.
    pub(super) output: PathBuf,
    /// The rows that have none, and why.
    pub(super) side: PathBuf,
    /// How far the run has come.
    pub(super) journal: PathBuf,
}

/// Where a run begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Start {
    /// At the beginning.
    Fresh,
    /// Where an earlier one stopped.
    Resumed(Progress),
    /// It has reached its end already.
    Finished(Progress),
}

impl Files {
    /// The files of a run whose answers go to `output`; `None` when that is standard output or another stream.
    pub(super) fn of(output: &Path) -> Option<Self> {
        let is_stream = output == Path::new("-")
            || fs::metadata(output).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
        let beside = |extension: &str| {
            let mut name = output.as_os_str().to_owned();
            name.push(extension);
            PathBuf::from(name)
        };
        let files = || Self {
            output: output.to_owned(),
            side: beside(".errors.jsonl"),
            journal: beside(".progress"),
        };
        (!is_stream).then(files)
    }

    /// Refuses to write over the input, or into a folder that does not exist.
    pub(super) fn check(&self, input: &Path) -> Result<(), UsageError> {
        let folder = self.output.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            let (output, folder) = (self.output.display(), folder.display());
            return Err(UsageError(format!(
                "cannot write {output}: there is no folder {folder}; make it first"
            )));
        }
        let Ok(real_input) = fs::canonicalize(input) else { return Ok(()) };
        for path in [&self.output, &self.side, &self.journal] {
            if fs::canonicalize(path).is_ok_and(|path| path == real_input) {
                let (path, input) = (path.display(), input.display());
                return Err(UsageError(format!(
                    "{path} would be written over the input {input}; choose another --output"
                )));
            }
        }
        Ok(())
    }

    /// Where a run begins that does not resume another.
    pub(super) fn start_fresh(&self) -> anyhow::Result<Start> {
        for path in [&self.output, &self.side] {
            if length(path)? > 0 {
                let path = path.display();
                let message = if self.journal.exists() {
                    format!(
                        "{path} exists already; go on with its run by --resume, or remove it to start over"
                    )
                } else {
                    format!("{path} exists already; remove it or choose another --output")
                };
                return Err(UsageError(message).into());
            }
        }
        Ok(Start::Fresh)
    }

    /// Where a run begins that resumes an earlier one of the same `identity`.
    pub(super) fn resume(&self, identity: &Identity) -> anyhow::Result<Start> {
        let (output, journal) = (self.output.display(), self.journal.display());
        let refuse = |message: String| Err(UsageError(message).into());
        let output_bytes = length(&self.output)?;
        let side_bytes = length(&self.side)?;
        let known = match Journal::load(&self.journal) {
            Ok(Some(known)) => known,
            // A run writes its journal before anything else.
            Ok(None) if output_bytes == 0 && side_bytes == 0 => return Ok(Start::Fresh),
            Ok(None) => {
                let (path, n_bytes) =
                    if output_bytes > 0 { (&self.output, output_bytes) } else { (&self.side, side_bytes) };
                let path = path.display();
                return refuse(format!(
                    "cannot resume: {path} has {n_bytes} bytes, but its journal {journal} is missing; \
                     remove {path} to start over"
                ));
            }
            Err(Unreadable::NoJournal) => {
                return refuse(format!(
                    "cannot resume: {journal} is no journal of this version; remove it and {output} to start over"
                ));
            }
            Err(Unreadable::Io(error)) => {
                return Err(error).with_context(|| format!("cannot read {journal}"));
            }
        };
        let differences = known.identity.differences(identity);
        if !differences.is_empty() {
            return refuse(format!(
                "cannot resume: {}; go on with what the run began with, or remove {output} and {journal} to start over",
                differences.join(", ")
            ));
        }
        let progress = known.progress;
        let changed = |what: &str| {
            refuse(format!("cannot resume: {what} since; remove {output} and {journal} to start over"))
        };
        if output_bytes < progress.output_bytes || side_bytes < progress.side_bytes {
            return changed(&format!("{output} or its side file has become shorter"));
        }
        if !known.finished {
            return Ok(Start::Resumed(progress));
        }
        if (output_bytes, side_bytes) != (progress.output_bytes, progress.side_bytes) {
            return changed(&format!(
                "the run was finished, and {output} or its side file has become longer"
            ));
        }
        Ok(Start::Finished(progress))
    }
}

/// The length of the file at `path`; 0 when there is none.
fn length(path: &Path) -> anyhow::Result<u64> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            Err(UsageError(format!("cannot write {}: it is a folder; name a file", path.display())).into())
        }
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
    }
}

#[cfg(test)]
mod tests;
