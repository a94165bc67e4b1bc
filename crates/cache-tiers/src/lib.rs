//! Cache tiers behind one trait: keys that cannot be collided, entries that expire, statistics that cost nothing.
//!
//! The crate caches values of any type and knows nothing of what they mean: in the memory of the process, at the price
//! of a bare concurrent map; on its disk; and on a server that replicas share. A tier that fails, hangs or is full never
//! makes a look-up or a write fail. Each tier can be used alone, as here, or as one [`TieredCache`].
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use cache_tiers::{Entry, KeySpace, MemoryConfig, MemoryTier, SystemClock, normalize};
//!
//! #[derive(Debug, Clone, PartialEq)]
//! struct Forecast {
//!     celsius: f32,
//! }
//!
//! let space = KeySpace::builder("example.org weather 2025-01").part("units", b"metric").build();
//! let key = |city: &str| space.key([normalize(city).as_bytes()]);
//! let cache = MemoryTier::new(MemoryConfig::default(), Arc::new(SystemClock));
//!
//! let ttl = Duration::from_secs(600);
//! cache.insert(key("Bern"), Entry { value: Forecast { celsius: 21.5 }, ttl })?;
//!
//! let entry = cache.get(&key(" BERN ")).expect("it was stored a moment ago");
//! assert_eq!(entry.value, Forecast { celsius: 21.5 });
//! assert!(entry.ttl <= ttl);
//! assert_eq!(cache.get(&key("Basel")), None);
//! assert_eq!(cache.stats().hit_rate, 0.5);
//! # Ok::<(), cache_tiers::CacheError>(())
//! ```
//!
//! # Nouns
//!
//! - A [`Key`] is 128 bits of BLAKE3, made in a [`KeySpace`] that no other tenant, revision or program shares.
//!   [`normalize`] makes one text of the many spellings of a query.
//! - A [`CacheTier`] keeps entries: `MemoryTier` in memory, `DiskTier` on disk, `RemoteTier` on Redis or Valkey,
//!   [`NoCache`] nowhere. It is asked without waiting by [`probe`](CacheTier::probe) and, where that cannot tell, by
//!   [`fetch`](CacheTier::fetch). Write one of your own, and let the contract suite say whether it is right.
//! - A [`TieredCache`] is one cache over up to three of them: it promotes, writes in the background, forgets
//!   everywhere, and has a value worked out once for all who miss it.
//! - [`CacheStats`] and [`TierStats`] say what has been done, and what is not at work.
//!
//! # Features
//!
//! - `disk`: the tier on disk, over RocksDB. It needs libclang and a C++ compiler to build, and a quarter of an hour on
//!   two slow cores. Off by default.
//! - `remote`: the tier on a server, over fred. Off by default.
//! - `record`: the trait `Codec` and its `MessagePack` alone, for tiers of your own that keep bytes; the two tiers bring it.
//! - `contract`: the suite that tells whether a tier of your own keeps the contract of [`CacheTier`]. For
//!   tests; off by default.
//!
//! # Errors
//!
//! One, [`CacheError`], with a [`kind`](CacheError::kind), and of a [`TieredCache`] only on forgetting: look-ups and
//! writes go on without what fails. Whatever the error of a tier, go on as if the entry were absent.

mod key;
mod normalize;

mod peers;
mod tier;

mod error;
mod stats;

#[cfg(feature = "record")]
mod codec;
#[cfg(feature = "disk")]
mod disk;
mod memory;
mod tiered;
mod warm;

#[cfg(any(feature = "disk", feature = "remote"))]
mod record;
#[cfg(feature = "remote")]
mod remote;

#[cfg(feature = "contract")]
pub mod contract;

#[cfg(feature = "record")]
pub use codec::{Codec, MessagePack};
#[cfg(feature = "disk")]
pub use disk::{DiskConfig, DiskTier};
pub use error::{CacheError, CacheErrorKind};
pub use hp_base::{BreakerConfig, BreakerState, Clock, ManualClock, Secret, SystemClock};
pub use key::{Key, KeySpace, KeySpaceBuilder, ParseKeyError};
pub use memory::{MemoryConfig, MemoryTier};
pub use normalize::normalize;
pub use peers::{Claim, Lease, Leases, Notes, Position, Replicas};
#[cfg(feature = "remote")]
pub use remote::{RemoteConfig, RemoteTier, ServerInfo};
pub use stats::{TierState, TierStats};
pub use tier::{CacheLevel, CacheTier, Entry, Forget, NoCache, Probe, StoredEntry};
pub use tiered::{
    CacheStats, Hit, LoadError, Loaded, Lookup, Origin, OverallStats, RefreshClaim, Resume, Retention,
    TieredBuilder, TieredCache, TieredConfig,
};
pub use warm::{WarmOptions, WarmReport, Warmed, warm};

#[cfg(test)]
mod tests;
