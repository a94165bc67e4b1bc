//! The journal of a run: how far it has come, on disk, so that another process can go on from there.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use super::source::Position;

/// Changed whenever a journal means something else.
const VERSION: u32 = 1;

/// A run and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    version: u32,
    /// What makes it this run and no other.
    pub(super) identity: Identity,
    /// How far it has come.
    pub(super) progress: Progress,
    /// Whether that is the end.
    pub(super) finished: bool,
}

/// How far a run has come: everything before `input` has been answered, and the answers are on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Progress {
    /// Where the next row begins.
    pub(super) input: Position,
    /// Length of the output.
    pub(super) output_bytes: u64,
    /// Length of the side file.
    pub(super) side_bytes: u64,
    /// Rows in the output.
    pub(super) n_answered: u64,
    /// Rows in the side file.
    pub(super) n_refused: u64,
}

impl Progress {
    /// Rows that are done.
    pub(super) fn n_rows(&self) -> u64 {
        self.n_answered + self.n_refused
    }
}

/// Why there is no journal to be had.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// Reading failed.
    Io(io::Error),
    /// It is of another version, or no journal at all.
    NoJournal,
}

impl Journal {
    /// The journal of a run that is about to begin.
    pub(super) fn new(identity: Identity) -> Self {
        Self { version: VERSION, identity, progress: Progress::default(), finished: false }
    }

    /// Reads the journal at `path`, if there is one.
    pub(super) fn load(path: &Path) -> Result<Option<Self>, Unreadable> {
        match fs::read(path) {
            Ok(bytes) => match serde_json::from_slice::<Self>(&bytes) {
                Ok(journal) if journal.version == VERSION => Ok(Some(journal)),
                _ => Err(Unreadable::NoJournal),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Unreadable::Io(error)),
        }
    }

    /// Puts the journal in place of the one at `path`: at any moment, one of the two is there and whole.
    ///
    /// What it speaks of has to be on disk before.
    pub(super) fn save(&self, path: &Path) -> io::Result<()> {
        let mut name = path.as_os_str().to_owned();
        name.push(".tmp");
        let temporary = Path::new(&name);
        let saved = self.write(temporary).and_then(|()| fs::rename(temporary, path));
        if saved.is_err() {
            // The old journal is still in place; a left-over would only be in the way.
            drop(fs::remove_file(temporary));
        }
        saved
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = File::create(path)?;
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        file.write_all(&text)?;
        file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::{Identity, Journal, Progress, Unreadable, fs};
    use crate::bulk::source::Position;

    fn journal() -> Journal {
        let mut journal = Journal::new(Identity::for_tests());
        journal.progress = Progress {
            input: Position { offset: u64::MAX, line: 7 },
            output_bytes: 1,
            side_bytes: 2,
            n_answered: 3,
            n_refused: 4,
        };
        journal
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.progress");
        assert_eq!(Journal::load(&path).unwrap(), None);
        for finished in [false, true] {
            let journal = Journal { finished, ..journal() };
            journal.save(&path).unwrap();
            assert_eq!(Journal::load(&path).unwrap(), Some(journal));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file was left");
    }

    #[test]
    fn half_a_journal_or_one_of_another_version_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.progress");
        let text = serde_json::to_string(&journal()).unwrap();
        let later = text.replace("\"version\":1", "\"version\":2");
        assert_ne!(later, text);
        for text in ["", &text[..text.len() / 2], "[]", &later] {
            fs::write(&path, text).unwrap();
            assert!(matches!(Journal::load(&path), Err(Unreadable::NoJournal)), "{text}");
        }
    }

    #[test]
    fn a_journal_that_cannot_be_replaced_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.progress");
        journal().save(&path).unwrap();
        // A folder in the way of the temporary file stands for a full disk.
        fs::create_dir(folder.path().join("out.progress.tmp")).unwrap();
        let finished = Journal { finished: true, ..journal() };
        finished.save(&path).unwrap_err();
        assert_eq!(Journal::load(&path).unwrap(), Some(journal()));
    }
}
