//! The parts of the configuration that say what is kept where, and what the caches are filled with.

use std::env;
#[cfg(any(feature = "llm", feature = "remote"))]
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use hp_base::Secret;

#[cfg(any(feature = "llm", feature = "remote"))]
use crate::error::{Error, Result};

/// The L1 cache, in the memory of the process.
#[derive(Debug, Clone, PartialEq)]
pub struct L1Config {
    /// Entries at the most. Default: 10,000.
    pub max_entries: usize,
    /// Bytes at the most. Default: 32 MiB.
    pub max_bytes: u64,
    /// How long an answer is good for. Default: 300 s.
    pub ttl: Duration,
    /// By which share of the time to live entries expire early, so that they do not expire together. Default: 0.1.
    pub ttl_jitter: f64,
}

/// The L2 cache, on the disk of the machine; in builds with the feature `disk`.
#[derive(Debug, Clone, PartialEq)]
pub struct L2Config {
    /// Whether there is one. Default: yes.
    pub enabled: bool,
    /// Its folder. Default: the one that [`folder`](Self::folder) finds.
    pub path: Option<PathBuf>,
    /// Bytes on disk at the most. Default: 1,000 MiB.
    pub max_bytes: u64,
    /// How long an answer is good for. Default: 1 hour.
    pub ttl: Duration,
    /// Bytes of memory for parts of it. Default: 64 MiB.
    pub block_cache_bytes: u64,
}

/// The L3 cache, on a Redis that replicas share; in builds with the feature `remote`.
#[derive(Debug, Clone, PartialEq)]
pub struct L3Config {
    /// Whether there is one, if `url` says where. Default: yes.
    pub enabled: bool,
    /// The address of Redis; empty for none. Default: none.
    pub url: Secret,
    /// The user; empty for the one in the address. Default: none.
    pub username: String,
    /// The password; empty for the one in the address. Default: none.
    pub password: Secret,
    /// A file with the password, which wins over `password`. Default: none.
    pub password_file: Option<PathBuf>,
    /// A file of certificates that vouch for the server. Default: those the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// What every name in Redis begins with. Default: `hp`.
    pub prefix: String,
    /// Connections. Default: 2.
    pub pool_size: usize,
    /// When a read is given up. Default: 20 ms.
    pub timeout: Duration,
    /// How long an answer is good for. Default: 1 day.
    pub ttl: Duration,
    /// Values of more bytes are compressed. Default: 1,024.
    pub compress_above: usize,
}

/// What the caches are filled with before anybody asks.
#[derive(Debug, Clone, PartialEq)]
pub struct WarmingConfig {
    /// Whether [`start`](crate::ClassificationSystem::start) warms the caches. Default: yes.
    pub enabled: bool,
    /// Questions to warm them with. Default: none.
    pub queries: Vec<String>,
    /// Variations of each question besides. Default: 3.
    pub depth: usize,
    /// Questions at a time. Default: 2.
    pub concurrency: usize,
    /// Questions a second at the most. Default: 500.
    pub per_second: f64,
}

impl L2Config {
    /// Where the cache on disk goes: `path`, or `hp-classify/l2` in the user's cache folder, which is
    /// `$XDG_CACHE_HOME` if that is absolute, and `~/.cache` otherwise; `None` where there is neither.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        self.path.clone().or_else(|| in_cache_folder("l2"))
    }
}

/// A place of ours in the user's cache folder.
pub(super) fn in_cache_folder(name: &str) -> Option<PathBuf> {
    let folder = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    Some(caches?.join("hp-classify").join(name))
}

impl L3Config {
    /// Whether the configuration asks for an L3 cache.
    #[must_use]
    pub fn is_asked_for(&self) -> bool {
        self.enabled && !self.url.is_empty()
    }

    /// The password, from its file if there is one.
    #[cfg(feature = "remote")]
    pub(crate) fn password(&self) -> Result<Secret> {
        secret("the password of Redis", self.password_file.as_deref(), &self.password)
    }
}

/// A secret that stands in a file, without the line's end, or else is given.
#[cfg(any(feature = "llm", feature = "remote"))]
pub(crate) fn secret(what: &str, file: Option<&Path>, given: &Secret) -> Result<Secret> {
    let Some(path) = file else { return Ok(given.clone()) };
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::io(&format!("read {what} from"), path, error))?;
    Ok(Secret::new(text.trim_end_matches(['\n', '\r'])))
}

impl Default for L1Config {
    fn default() -> Self {
        Self { max_entries: 10_000, max_bytes: 32 << 20, ttl: Duration::from_secs(300), ttl_jitter: 0.1 }
    }
}

impl Default for L2Config {
    fn default() -> Self {
        Self {
            enabled: true,
            path: None,
            max_bytes: 1000 << 20,
            ttl: Duration::from_secs(3600),
            block_cache_bytes: 64 << 20,
        }
    }
}

impl Default for L3Config {
    fn default() -> Self {
        Self {
            enabled: true,
            url: Secret::default(),
            username: String::new(),
            password: Secret::default(),
            password_file: None,
            ca_file: None,
            prefix: "hp".to_owned(),
            pool_size: 2,
            timeout: Duration::from_millis(20),
            ttl: Duration::from_secs(86_400),
            compress_above: 1024,
        }
    }
}

impl Default for WarmingConfig {
    fn default() -> Self {
        Self { enabled: true, queries: Vec::new(), depth: 3, concurrency: 2, per_second: 500.0 }
    }
}
