//! The input: a file that can be read from anywhere, or a stream that is read once.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::path::Path;

use anyhow::Context as _;

use super::identity::InputIdentity;
use super::source::Reader;
use crate::UsageError;

/// The input, and what it is called in messages.
pub(super) struct Input {
    /// What it is called.
    pub(super) name: String,
    /// What makes it this file and no other; `None` for a stream, which cannot be read again.
    pub(super) identity: Option<InputIdentity>,
    /// Its length, where it has one.
    pub(super) n_bytes: Option<u64>,
    reader: Option<Reader>,
    file: Option<File>,
}

impl Input {
    /// Opens the file at `path`, or standard input for `-`.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::stream("standard input".to_owned(), Box::new(io::stdin())));
        }
        let name = path.display().to_string();
        let unreadable = |error: io::Error| UsageError(format!("cannot read {name}: {error}"));
        let mut file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(UsageError(format!("cannot read {name}: it is a folder; name a file")).into());
        }
        if !metadata.is_file() {
            return Ok(Self::stream(name, Box::new(file)));
        }
        let identity = InputIdentity::of(&mut file).with_context(|| format!("cannot read {name}"))?;
        Ok(Self {
            name,
            identity: Some(identity),
            n_bytes: Some(metadata.len()),
            reader: None,
            file: Some(file),
        })
    }

    fn stream(name: String, reader: Reader) -> Self {
        Self { name, identity: None, n_bytes: None, reader: Some(reader), file: None }
    }

    /// A reader that stands at `offset`; for a stream, which is given once, that is where it stands.
    pub(super) fn reader_at(&mut self, offset: u64) -> anyhow::Result<Reader> {
        if let Some(reader) = self.reader.take() {
            return Ok(reader);
        }
        let reader = || {
            let mut file = self.file.as_ref().ok_or(io::ErrorKind::NotSeekable)?.try_clone()?;
            file.seek(SeekFrom::Start(offset))?;
            Ok::<Reader, io::Error>(Box::new(file))
        };
        reader().with_context(|| format!("cannot read {}", self.name))
    }
}
