//! RocksDB set up as a cache: what it is told, and the few things asked of it.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBPinnableSlice, DBRecoveryMode,
    Error, ErrorKind, InfoLogger, LogLevel, Options, ReadOptions, ReadTier, WriteBatch, WriteOptions,
};

use crate::{DiskConfig, Key};

const ENTRIES: &str = "entries";
const EPOCH: &[u8] = b"epoch";
const TRIAL: &[u8] = b"trial";
/// What the names of notes begin with, apart from the names this module uses itself.
const NOTE: &[u8] = b"note:";

/// An open database.
pub(super) struct Store {
    db: DB,
    in_memory: ReadOptions,
    anywhere: ReadOptions,
    pub(super) is_read_only: bool,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("is_read_only", &self.is_read_only).finish_non_exhaustive()
    }
}

/// How far a read may go.
#[derive(Clone, Copy)]
pub(super) enum Reach {
    /// What is in the memory of the process.
    Memory,
    /// The disk too.
    Disk,
}

/// What a failure of RocksDB means for the tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// What was asked for is not in memory.
    Incomplete,
    /// Somebody else has the database open.
    Locked,
    /// There is no database.
    Absent,
    /// The place is full or must not be written to.
    ReadOnly,
    /// The files are not what was written.
    Damaged,
    /// Anything else; it may pass.
    Failing,
}

/// The sizes that follow from the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// What is gathered in memory before it becomes a file.
    pub(super) write_buffer: u64,
    /// What all table files may come to before the oldest are dropped.
    pub(super) tables: u64,
}

impl Sizes {
    /// A fiftieth of the bound is gathered in memory: the smaller it is, the more of the bound is left for tables,
    /// and the more tables each read has to ask. Beside the tables stand the write-ahead log (two write buffers, as
    /// `max_total_wal_size` says, and what is written while a third is being flushed), the table being written
    /// before an old one is dropped, and the output of a merger of small tables: five write buffers in all.
    pub(super) fn of(max_bytes: u64) -> Self {
        let write_buffer = (max_bytes / 50).clamp(1 << 20, 64 << 20);
        Self { write_buffer, tables: max_bytes.saturating_sub(5 * write_buffer).max(write_buffer) }
    }
}

impl Store {
    /// Opens the database in the folder, which must exist if `is_new` is false.
    pub(super) fn open(path: &Path, config: &DiskConfig, is_new: bool) -> Result<Self, Error> {
        let mut database = database_options(config)?;
        database.create_if_missing(is_new);
        database.create_missing_column_families(true);
        let families = families(config)?;
        let db = DB::open_cf_descriptors(&database, path, families)?;
        Ok(Self::of(db, false))
    }

    /// Opens the database to be read alone, and writes nothing.
    pub(super) fn open_to_read(path: &Path, config: &DiskConfig) -> Result<Self, Error> {
        let database = database_options(config)?;
        let db = DB::open_cf_descriptors_read_only(&database, path, families(config)?, false)?;
        Ok(Self::of(db, true))
    }

    fn of(db: DB, is_read_only: bool) -> Self {
        let mut in_memory = ReadOptions::default();
        in_memory.set_read_tier(ReadTier::BlockCache);
        Self { db, in_memory, anywhere: ReadOptions::default(), is_read_only }
    }

    /// The record under the key.
    #[inline]
    pub(super) fn get(&self, key: &Key, reach: Reach) -> Result<Option<DBPinnableSlice<'_>>, Error> {
        let options = match reach {
            Reach::Memory => &self.in_memory,
            Reach::Disk => &self.anywhere,
        };
        let Some(entries) = self.entries() else { return Ok(None) };
        self.db.get_pinned_cf_opt(entries, key.as_bytes(), options)
    }

    /// Writes all of the batch or nothing; `is_lasting` waits until the disk itself has it.
    pub(super) fn write(&self, batch: Batch, is_lasting: bool) -> Result<(), Error> {
        let mut options = WriteOptions::default();
        options.set_sync(is_lasting);
        self.db.write_opt(batch.0, &options)
    }

    /// Whether writing works, found out by writing.
    pub(super) fn try_write(&self) -> Result<(), Error> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.db.put_opt(TRIAL, b"", &options)
    }

    /// The number of times that all entries were forgotten.
    pub(super) fn epoch(&self) -> Result<u32, Error> {
        let bytes = self.db.get_pinned(EPOCH)?;
        let bytes = bytes.as_deref().and_then(|bytes| bytes.try_into().ok());
        Ok(bytes.map_or(0, u32::from_le_bytes))
    }

    pub(super) fn note(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.db.get(note_key(name))
    }

    /// Roughly how many entries there are.
    pub(super) fn n_entries(&self) -> u64 {
        let entries = self.entries();
        let number =
            entries.map(|entries| self.db.property_int_value_cf(entries, "rocksdb.estimate-num-keys"));
        number.and_then(Result::ok).flatten().unwrap_or(0)
    }

    /// Hands all that was written to the disk, so that even a loss of power spares it.
    pub(super) fn sync(&self) -> Result<(), Error> {
        if self.is_read_only { Ok(()) } else { self.db.flush_wal(true) }
    }

    fn entries(&self) -> Option<&ColumnFamily> {
        self.db.cf_handle(ENTRIES)
    }
}

/// Writes that happen together.
#[derive(Default)]
pub(super) struct Batch(WriteBatch);

impl Batch {
    pub(super) fn put(&mut self, store: &Store, key: &Key, record: &[u8]) {
        if let Some(entries) = store.entries() {
            self.0.put_cf(entries, key.as_bytes(), record);
        }
    }

    pub(super) fn delete(&mut self, store: &Store, key: &Key) {
        if let Some(entries) = store.entries() {
            self.0.delete_cf(entries, key.as_bytes());
        }
    }

    pub(super) fn set_epoch(&mut self, epoch: u32) {
        self.0.put(EPOCH, epoch.to_le_bytes());
    }

    pub(super) fn note(&mut self, name: &str, bytes: &[u8]) {
        self.0.put(note_key(name), bytes);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Trouble {
    /// The binding hands over RocksDB's messages alone, so they are what there is to tell by.
    pub(super) fn of(error: &Error) -> Self {
        let says = |words: &str| error.as_ref().contains(words);
        match error.kind() {
            ErrorKind::Incomplete => Self::Incomplete,
            ErrorKind::InvalidArgument if says("does not exist (") => Self::Absent,
            ErrorKind::Corruption
            | ErrorKind::InvalidArgument
            | ErrorKind::NotFound
            | ErrorKind::NotSupported
            | ErrorKind::ColumnFamilyDropped => Self::Damaged,
            _ if says("lock hold by current process") || says("While lock file") => Self::Locked,
            _ if says("No space left") || says("quota exceeded") => Self::ReadOnly,
            _ if says("Read-only file system") || says("ermission denied") || says("not permitted") => {
                Self::ReadOnly
            }
            // A table or a manifest that another file names and that is not there.
            ErrorKind::IOError if says("No such file") => Self::Damaged,
            _ => Self::Failing,
        }
    }
}

fn note_key(name: &str) -> Vec<u8> {
    [NOTE, name.as_bytes()].concat()
}

fn database_options(config: &DiskConfig) -> Result<Options, Error> {
    let sizes = Sizes::of(config.max_bytes);
    let mut options = Options::default();
    // One thread writes tables and one merges small ones; dropping the oldest table is no work.
    options.set_max_background_jobs(2);
    options.set_max_total_wal_size(2 * sizes.write_buffer);
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // What has been written goes to the disk bit by bit, so that no flush has to wait for all of it at once.
    options.set_bytes_per_sync(1 << 20);
    options.set_wal_bytes_per_sync(1 << 20);
    // All tables stay open, as dropping them by age demands; their number is bounded by the bound on bytes.
    options.set_max_open_files(-1);
    options.set_max_file_opening_threads(2);
    options.set_max_manifest_file_size(1 << 20);
    options.set_manifest_preallocation_size(64 << 10);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    // Without a logger RocksDB keeps files of its own, which would have to be bounded too.
    options.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Error, |_, message| {
        tracing::debug!(message, "rocksdb");
    }));
    Ok(options)
}

fn families(config: &DiskConfig) -> Result<[ColumnFamilyDescriptor; 2], Error> {
    let sizes = Sizes::of(config.max_bytes);
    // The binding has no setter for `allow_compaction`. Without it each short-lived process leaves a table behind;
    // `max_compaction_bytes` keeps tables of full size out of these mergers.
    let text = format!(
        "compaction_style=kCompactionStyleFIFO;ttl={};max_compaction_bytes={};\
         compaction_options_fifo={{max_table_files_size={};allow_compaction=true;}}",
        config.ttl.max(Duration::from_secs(1)).as_secs(),
        sizes.write_buffer,
        sizes.tables
    );
    let mut entries = Options::default().get_options_from_string(text)?;
    entries.set_write_buffer_size(sizes.write_buffer as usize);
    entries.set_max_write_buffer_number(2);
    entries.set_level_zero_file_num_compaction_trigger(4);
    entries.set_compression_type(rocksdb::DBCompressionType::Lz4);
    let mut tables = BlockBasedOptions::default();
    // Some ten entries of 400 bytes: a hit then costs little memory and little decompression.
    tables.set_block_size(4 << 10);
    tables.set_block_cache(&Cache::new_lru_cache(config.block_cache_bytes));
    tables.set_bloom_filter(10.0, false);
    // Filters and indices stay in memory outside the cache (about 1 % of the bound): if they could be evicted, a
    // probe could not even tell that an entry is absent.
    tables.set_cache_index_and_filter_blocks(false);
    entries.set_block_based_table_factory(&tables);

    let mut notes = Options::default();
    notes.set_write_buffer_size(256 << 10);
    notes.set_target_file_size_base(1 << 20);
    notes.set_max_bytes_for_level_base(1 << 20);
    Ok([ColumnFamilyDescriptor::new("default", notes), ColumnFamilyDescriptor::new(ENTRIES, entries)])
}
