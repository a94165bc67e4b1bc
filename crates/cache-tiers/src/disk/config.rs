//! Where a disk tier keeps its entries, how many, and for how long.

use std::path::PathBuf;
use std::time::Duration;

/// Where a [`DiskTier`](crate::DiskTier) keeps its entries, how many, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub struct DiskConfig {
    /// The folder. It is made if it is not there, and should hold nothing else; one process at a time uses it.
    pub path: PathBuf,
    /// The most bytes the folder takes of the disk: the entries, the log of what was written last, and whatever
    /// else lies there. Below 16 MiB it counts as 16 MiB. Default: 1000 MiB.
    pub max_bytes: u64,
    /// The longest time an entry is kept; an entry's own `ttl` counts if it is shorter. Default: 3600 s.
    pub ttl: Duration,
    /// The share of its time that an entry may lose by lot, from 0 to 0.9, so that entries stored together do
    /// not expire together. Default: 0.1.
    pub ttl_jitter: f64,
    /// Blocks of entries kept in memory, in bytes, beside what the operating system keeps of the files: about
    /// ten times as many entries are found without leaving the caller's thread as a memory tier of the default size
    /// holds, and memory is taken only as entries are read. Default: 64 MiB.
    pub block_cache_bytes: usize,
    /// How long a look-up waits for the database to be opened, before it is a miss. Default: 100 ms.
    pub open_wait: Duration,
    /// How long a look-up waits for the disk, before it is a miss. Default: 100 ms.
    pub read_timeout: Duration,
    /// How long a write waits for the disk, before it fails. Default: 1 s.
    pub write_timeout: Duration,
    /// So many reads wait for the disk at once, each on a blocking thread; more of them wait for a place within their
    /// time. Default: 16.
    pub max_reads: usize,
    /// The first pause before a trouble is looked at again; it doubles each time. Default: 100 ms.
    pub retry_first: Duration,
    /// The longest such pause. Default: 5 s.
    pub retry_longest: Duration,
}

impl DiskConfig {
    /// The defaults, in a folder.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_bytes: 1000 << 20,
            ttl: Duration::from_secs(3600),
            ttl_jitter: 0.1,
            block_cache_bytes: 64 << 20,
            open_wait: Duration::from_millis(100),
            read_timeout: Duration::from_millis(100),
            write_timeout: Duration::from_secs(1),
            max_reads: 16,
            retry_first: Duration::from_millis(100),
            retry_longest: Duration::from_secs(5),
        }
    }
}
