//! The folder of the tier: the lock on it, the database in it, and what was put aside.
//!
//! ```text
//! <path>/lock          held while a process uses the folder
//! <path>/store/        the database
//! <path>/quarantined/  the last database that could not be used, less its largest files
//! ```
//!
//! Everything lies inside the folder, which may be a volume of its own, and nothing else in it is touched.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::store::Trouble;

/// The folder.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
}

/// Keeps other processes, and other tiers of this one, out of the folder.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Place {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the database is.
    pub(super) fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    fn quarantined(&self) -> PathBuf {
        self.path.join("quarantined")
    }

    /// Makes the folder and locks it; the lock ends with the process, however that ends.
    ///
    /// RocksDB has a lock of its own, but damage is to be dealt with before the database is open.
    pub(super) fn lock(&self) -> io::Result<Lock> {
        make_folder(&self.path)?;
        let file = File::options().create(true).truncate(false).write(true).open(self.path.join("lock"))?;
        #[cfg(unix)]
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        Ok(Lock { _file: file })
    }

    /// Whether there are files of a database.
    pub(super) fn has_remains(&self) -> bool {
        let is_of_database = |name: &str| {
            name.starts_with("MANIFEST-") || [".sst", ".log", ".ldb"].iter().any(|end| name.ends_with(end))
        };
        self.is_no_folder()
            || files(&self.store()).iter().any(|(file, _)| file_name(file).is_some_and(is_of_database))
    }

    /// Whether there is something else where the database should be.
    pub(super) fn is_no_folder(&self) -> bool {
        fs::symlink_metadata(self.store()).is_ok_and(|metadata| !metadata.is_dir())
    }

    /// Puts the database aside in place of what was put aside before, and keeps no more than `most_bytes` of it: the
    /// small files tell what happened, the large ones would pass the bound on the folder.
    pub(super) fn quarantine(&self, most_bytes: u64) -> io::Result<()> {
        let aside = self.quarantined();
        match fs::remove_dir_all(&aside) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            // It is no folder, or is half gone.
            Err(_) if fs::remove_file(&aside).is_ok() => {}
            other => other?,
        }
        fs::rename(self.store(), &aside)?;
        let mut kept = files(&aside);
        kept.sort_by_key(|&(_, bytes)| bytes);
        let mut n_bytes = 0;
        for (file, bytes) in kept {
            n_bytes += bytes;
            if n_bytes > most_bytes {
                fs::remove_file(file)?;
            }
        }
        Ok(())
    }

    /// What the folder takes of the disk.
    pub(super) fn n_bytes(&self) -> u64 {
        let folders = [self.store(), self.quarantined()];
        folders.iter().flat_map(|folder| files(folder)).map(|(_, bytes)| bytes).sum()
    }

    /// Whether so many bytes can be written, found out by writing them.
    pub(super) fn can_take(&self, n_bytes: usize) -> bool {
        let trial = self.path.join("trial");
        let write = || File::create(&trial).and_then(|mut file| file.write_all(&vec![0xa5; n_bytes]));
        let can = write().is_ok();
        let _ = fs::remove_file(&trial);
        can
    }
}

/// What a failure of the file system means for the tier.
pub(super) fn trouble_of(error: &io::Error) -> Trouble {
    match error.kind() {
        ErrorKind::WouldBlock => Trouble::Locked,
        ErrorKind::ReadOnlyFilesystem
        | ErrorKind::PermissionDenied
        | ErrorKind::StorageFull
        | ErrorKind::QuotaExceeded => Trouble::ReadOnly,
        _ => Trouble::Failing,
    }
}

/// The folder is for its owner alone, because answers may say something of those who asked.
fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

/// The files in a folder and what each takes of the disk; what goes away meanwhile is left out.
fn files(folder: &Path) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let file = |entry: fs::DirEntry| {
        let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        Some((entry.path(), allocated(&metadata)))
    };
    entries.filter_map(file).collect()
}

fn allocated(metadata: &fs::Metadata) -> u64 {
    #[cfg(unix)]
    let bytes = std::os::unix::fs::MetadataExt::blocks(metadata) * 512;
    #[cfg(not(unix))]
    let bytes = metadata.len();
    bytes
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name().and_then(|name| name.to_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_once() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().join("a/b"));
        let lock = place.lock().unwrap();
        assert_eq!(place.lock().map_err(|error| trouble_of(&error)).unwrap_err(), Trouble::Locked);
        drop(lock);
        place.lock().unwrap();
    }

    #[test]
    fn one_quarantine_is_kept_and_only_its_small_files() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().to_owned());
        assert!(!place.has_remains());
        for turn in 0..2 {
            fs::create_dir(place.store()).unwrap();
            fs::write(place.store().join("000007.sst"), vec![1; 100_000]).unwrap();
            fs::write(place.store().join(format!("MANIFEST-{turn}")), b"small").unwrap();
            assert!(place.has_remains());
            place.quarantine(50_000).unwrap();
            assert!(!place.has_remains());
        }
        let kept: Vec<_> = files(&place.quarantined()).into_iter().map(|(file, _)| file).collect();
        assert_eq!(kept, [place.quarantined().join("MANIFEST-1")]);
    }

    #[test]
    fn a_file_where_the_database_should_be_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::new(folder.path().to_owned());
        for _ in 0..2 {
            fs::write(place.store(), b"no folder").unwrap();
            assert!(place.has_remains());
            place.quarantine(50_000).unwrap();
        }
    }
}
