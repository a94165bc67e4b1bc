//! The file of a budget: two checksummed copies, written in turns, under a lock among processes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::{invalid, unknown};
use crate::LlmError;
use crate::budget::book::{Account, Book};

const MAGIC: &[u8; 8] = b"HPBUDG01";

/// The mark, eight numbers of which one is the write's, and a checksum.
const LENGTH: usize = 8 + 7 * 8 + 4;

/// Where the copies begin: in blocks of their own, so that no torn block takes both.
const OFFSETS: [u64; 2] = [0, 4096];

/// How long a lock that another process holds is left alone before it is tried again.
const LOCK_WAIT: Duration = Duration::from_micros(200);

#[derive(Debug)]
pub(super) struct BudgetFile {
    path: PathBuf,
    timeout: Duration,
    file: Option<File>,
    is_damage_told: bool,
}

/// One of the two copies.
#[derive(Debug, PartialEq, Eq)]
enum Copy {
    /// Never written.
    Blank,
    Damaged,
    Good(u64, Book),
}

impl BudgetFile {
    pub(super) fn new(path: PathBuf, timeout: Duration) -> Self {
        Self { path, timeout, file: None, is_damage_told: false }
    }

    /// Makes the folder, and looks whether the file can be used.
    pub(super) fn prepare(&mut self) -> Result<(), LlmError> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| {
                invalid(format!("the folder {} cannot be made", folder.display())).with_source(error)
            })?;
        }
        self.open().map_err(|error| {
            invalid(format!("the file of the budget {} cannot be opened", self.path.display()))
                .with_source(error)
        })?;
        self.change(|_| ())
    }

    /// Lets the book be changed under the lock. When this returns, what was changed is in the file; after an error
    /// nothing has changed.
    pub(super) fn change<T>(&mut self, change: impl FnOnce(&mut Book) -> T) -> Result<T, LlmError> {
        let file = self.locked()?;
        let changed = self.change_locked(&file, change);
        // OK to ignore: closing the file, or the process's end, unlocks as well.
        let _ = flock(&file, FlockOperation::Unlock);
        if changed.is_ok() {
            self.file = Some(file);
        }
        changed
    }

    /// Brings what is in the file to the disk.
    pub(super) fn sync(&self) -> Result<(), LlmError> {
        self.file.as_ref().map_or(Ok(()), File::sync_data).map_err(|error| self.failed(error))
    }

    fn change_locked<T>(&mut self, file: &File, change: impl FnOnce(&mut Book) -> T) -> Result<T, LlmError> {
        let (number, before) = self.read(file)?;
        let mut book = before;
        let result = change(&mut book);
        if book != before {
            let number = number + 1;
            let offset = OFFSETS[(number % 2) as usize];
            // A write that fails half-way is a damaged copy, and the other one still counts.
            file.write_all_at(&encode(number, &book), offset).map_err(|error| self.failed(error))?;
        }
        Ok(result)
    }

    /// The file, locked, and for sure the one that others find under the path.
    fn locked(&mut self) -> Result<File, LlmError> {
        let until = Instant::now() + self.timeout;
        loop {
            let file = match self.file.take() {
                Some(file) => file,
                None => self.open().map_err(|error| self.failed(error))?,
            };
            while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
                if error != rustix::io::Errno::WOULDBLOCK && error != rustix::io::Errno::INTR {
                    return Err(self.failed(error.into()));
                }
                if Instant::now() >= until {
                    self.file = Some(file);
                    return Err(unknown(format!(
                        "another process holds the file of the budget {} and does not let go, look for one that hangs",
                        self.path.display()
                    )));
                }
                std::thread::park_timeout(LOCK_WAIT);
            }
            match self.is_current(&file) {
                Ok(true) => return Ok(file),
                // It was deleted or replaced; what is there now counts.
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.failed(error)),
            }
            if Instant::now() >= until {
                return Err(unknown("the file of the budget is replaced over and over"));
            }
        }
    }

    fn is_current(&self, file: &File) -> io::Result<bool> {
        let (open, found) = (file.metadata()?, std::fs::metadata(&self.path)?);
        Ok((open.dev(), open.ino()) == (found.dev(), found.ino()))
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&self.path)
    }

    /// The newer copy with the number of its write.
    fn read(&mut self, file: &File) -> Result<(u64, Book), LlmError> {
        let mut bytes = vec![0; OFFSETS[1] as usize + LENGTH];
        let n_read = read_up_to(file, &mut bytes).map_err(|error| self.failed(error))?;
        if n_read == 0 {
            return Ok((0, Book::default()));
        }
        let copies = OFFSETS.map(|offset| decode(&bytes[offset as usize..][..LENGTH]));
        match copies {
            [Copy::Good(first, a), Copy::Good(second, b)] => {
                Ok(if first > second { (first, a) } else { (second, b) })
            }
            [Copy::Good(number, book), Copy::Blank] | [Copy::Blank, Copy::Good(number, book)] => {
                Ok((number, book))
            }
            [Copy::Good(number, book), Copy::Damaged] | [Copy::Damaged, Copy::Good(number, book)] => {
                if !self.is_damage_told {
                    self.is_damage_told = true;
                    let path = self.path.display();
                    tracing::warn!(%path, "a copy in the file of the budget is damaged, the other one is used");
                }
                Ok((number, book))
            }
            _ => Err(unknown(format!(
                "the file of the budget {} is damaged: delete it to begin anew, as if nothing were spent today",
                self.path.display()
            ))),
        }
    }

    fn failed(&self, error: io::Error) -> LlmError {
        unknown(format!("the file of the budget {} cannot be read and written", self.path.display()))
            .with_source(error)
    }
}

fn read_up_to(file: &File, bytes: &mut [u8]) -> io::Result<usize> {
    let mut n_read = 0;
    while n_read < bytes.len() {
        match file.read_at(&mut bytes[n_read..], n_read as u64) {
            Ok(0) => break,
            Ok(n) => n_read += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(n_read)
}

fn encode(number: u64, book: &Book) -> [u8; LENGTH] {
    let Book { day, hour } = book;
    let numbers = [number, day.number, day.settled, day.reserved, hour.number, hour.settled, hour.reserved];
    let mut bytes = [0; LENGTH];
    bytes[..8].copy_from_slice(MAGIC);
    for (place, number) in bytes[8..].chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    let checksum = crc32fast::hash(&bytes[..LENGTH - 4]);
    bytes[LENGTH - 4..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Copy {
    if bytes.iter().all(|&byte| byte == 0) {
        return Copy::Blank;
    }
    let (body, checksum) = bytes.split_at(LENGTH - 4);
    if body[..8] != *MAGIC || crc32fast::hash(body).to_le_bytes() != *checksum {
        return Copy::Damaged;
    }
    let mut numbers = [0; 7];
    for (number, place) in numbers.iter_mut().zip(body[8..].chunks_exact(8)) {
        let mut digits = [0; 8];
        digits.copy_from_slice(place);
        *number = u64::from_le_bytes(digits);
    }
    let [write, day, day_settled, day_reserved, hour, hour_settled, hour_reserved] = numbers;
    let day = Account { number: day, settled: day_settled, reserved: day_reserved };
    let hour = Account { number: hour, settled: hour_settled, reserved: hour_reserved };
    Copy::Good(write, Book { day, hour })
}

#[cfg(test)]
#[path = "../../tests/budget_file.rs"]
mod tests;
