//! Writes the answers in order, and notes in the journal how far they are on disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hp_base::Clock;

use super::answer::Answered;
use super::identity::Identity;
use super::journal::{Journal, Progress};
use super::output::Files;

/// An interruption costs the work of about this time.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// Where the answers go, and the rows that have none.
pub(super) struct Sink {
    output: Target,
    side: Target,
    progress: Progress,
    checkpoints: Option<Checkpoints>,
}

/// A file or a stream, and what it is called in messages.
struct Target {
    name: String,
    writer: Writer,
}

enum Writer {
    File(File),
    /// A file that is made when there is something to write.
    Later(PathBuf),
    Stream(Box<dyn Write>),
}

/// When to write the journal, and where.
struct Checkpoints {
    path: PathBuf,
    journal: Journal,
    clock: Arc<dyn Clock>,
    last: Instant,
}

impl Sink {
    /// Writes to `output` and standard error.
    pub(super) fn streams(name: String, output: Box<dyn Write>) -> Self {
        let side = Writer::Stream(Box::new(io::stderr()));
        Self {
            output: Target { name, writer: Writer::Stream(output) },
            side: Target { name: "standard error".to_owned(), writer: side },
            progress: Progress::default(),
            checkpoints: None,
        }
    }

    /// Writes to `files` from `progress` on, cutting off what is behind; with a journal if there is an identity for it.
    pub(super) fn files(
        files: &Files,
        progress: Progress,
        identity: Option<Identity>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        // The journal comes first, so that no output is ever without the journal that speaks of it.
        let checkpoints = match identity {
            Some(identity) => {
                let mut checkpoints = Checkpoints {
                    path: files.journal.clone(),
                    journal: Journal::new(identity),
                    last: clock.now(),
                    clock,
                };
                checkpoints.save(progress, false)?;
                Some(checkpoints)
            }
            None => {
                remove(&files.journal)?;
                None
            }
        };
        let output = Target::open(&files.output, progress.output_bytes)?;
        let side = if progress.side_bytes > 0 {
            Target::open(&files.side, progress.side_bytes)?
        } else {
            remove(&files.side)?;
            Target { name: files.side.display().to_string(), writer: Writer::Later(files.side.clone()) }
        };
        Ok(Self { output, side, progress, checkpoints })
    }

    /// How far the run has come.
    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// Writes what stands before the answers.
    pub(super) fn write_header(&mut self, header: &[u8]) -> anyhow::Result<()> {
        self.output.write(header).with_context(|| self.failure(&self.output))?;
        self.progress.output_bytes += header.len() as u64;
        Ok(())
    }

    /// Writes the answers of the next chunk.
    pub(super) fn write(&mut self, answered: &Answered) -> anyhow::Result<()> {
        self.output.write(&answered.output).with_context(|| self.failure(&self.output))?;
        self.side.write(&answered.side).with_context(|| self.failure(&self.side))?;
        self.progress.input = answered.end;
        self.progress.output_bytes += answered.output.len() as u64;
        self.progress.side_bytes += answered.side.len() as u64;
        self.progress.n_answered += answered.n_answered;
        self.progress.n_refused += answered.n_refused;
        if self.checkpoints.as_ref().is_some_and(Checkpoints::is_due) {
            self.checkpoint(false)?;
        }
        Ok(())
    }

    /// Notes that everything is written.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        self.checkpoint(true)
    }

    fn checkpoint(&mut self, finished: bool) -> anyhow::Result<()> {
        self.output.sync().with_context(|| self.failure(&self.output))?;
        self.side.sync().with_context(|| self.failure(&self.side))?;
        match &mut self.checkpoints {
            Some(checkpoints) => checkpoints.save(self.progress, finished),
            None => Ok(()),
        }
    }

    fn failure(&self, target: &Target) -> String {
        let advice = if self.checkpoints.is_some() { "; mend that and go on with --resume" } else { "" };
        format!("cannot write {}{advice}", target.name)
    }
}

impl Target {
    /// Opens or makes the file at `path` and cuts off what is behind its first `n_bytes` bytes.
    fn open(path: &Path, n_bytes: u64) -> anyhow::Result<Self> {
        let open = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            file.set_len(n_bytes)?;
            file.seek(SeekFrom::Start(n_bytes))?;
            Ok::<_, io::Error>(file)
        };
        let name = path.display().to_string();
        let file = open().with_context(|| format!("cannot write {name}"))?;
        Ok(Self { name, writer: Writer::File(file) })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.writer {
            _ if bytes.is_empty() => Ok(()),
            Writer::File(file) => file.write_all(bytes),
            Writer::Stream(stream) => stream.write_all(bytes),
            Writer::Later(path) => {
                let mut file = File::create(path)?;
                let written = file.write_all(bytes);
                self.writer = Writer::File(file);
                written
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        match &mut self.writer {
            Writer::File(file) => file.sync_all(),
            Writer::Stream(stream) => stream.flush(),
            Writer::Later(_) => Ok(()),
        }
    }
}

impl Checkpoints {
    fn is_due(&self) -> bool {
        self.clock.now().saturating_duration_since(self.last) >= CHECKPOINT_INTERVAL
    }

    fn save(&mut self, progress: Progress, finished: bool) -> anyhow::Result<()> {
        self.journal.progress = progress;
        self.journal.finished = finished;
        let failure = || format!("cannot write {}; mend that and go on with --resume", self.path.display());
        self.journal.save(&self.path).with_context(failure)?;
        self.last = self.clock.now();
        Ok(())
    }
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
