//! The configuration: plain resolved values, and where each of them came from.

mod layers;
mod parameters;
mod schema;

use std::path::PathBuf;
use std::time::Duration;

pub use layers::{Layers, Origin, Resolved};
pub use parameters::Value;
pub use schema::schema;

use crate::embedded::EmbeddedOptions;

/// Everything that can be configured, resolved.
///
/// The names, units, ranges and defaults on the outside (in files, `HP_…` variables and flags) are those of
/// [`schema`]; [`Layers::resolve`] reads them.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// A response within this time meets its target. Default: 1.5 s.
    pub target_response_time: Duration,
    /// A longer query is refused, in characters. Default: 8,192.
    pub max_query_chars: usize,
    /// Keeps the cache entries of one tenant apart from those of another. Default: `default`.
    pub tenant: String,
    /// A taxonomy file instead of the built-in one. Default: none.
    pub taxonomy: Option<PathBuf>,
    /// A model file instead of the built-in one. Default: none.
    pub model: Option<PathBuf>,
    /// The L1 cache. Default: 10,000 entries, 32 MiB, 300 s, 10 % jitter.
    pub l1: L1Config,
    /// How the embedded classifier answers. Default: as [`EmbeddedOptions`].
    pub embedded: EmbeddedOptions,
}

/// The L1 cache.
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

impl Default for Config {
    fn default() -> Self {
        Self {
            target_response_time: Duration::from_millis(1500),
            max_query_chars: 8192,
            tenant: "default".to_owned(),
            taxonomy: None,
            model: None,
            l1: L1Config::default(),
            embedded: EmbeddedOptions::default(),
        }
    }
}

impl Default for L1Config {
    fn default() -> Self {
        Self { max_entries: 10_000, max_bytes: 32 << 20, ttl: Duration::from_secs(300), ttl_jitter: 0.1 }
    }
}
