//! The tiers below memory by what they are, for what the trait of tiers does not have.

#[cfg(any(feature = "disk", feature = "remote"))]
use std::sync::Arc;

#[cfg(feature = "disk")]
use cache_tiers::DiskTier;
#[cfg(feature = "remote")]
use cache_tiers::RemoteTier;
use cache_tiers::{CacheError, CacheLevel, Key, StoredEntry};

#[cfg(any(feature = "disk", feature = "remote"))]
use super::CachedAnswer;

/// The tiers that the system has made itself.
#[derive(Debug, Default)]
pub(super) struct LowerTiers {
    #[cfg(feature = "disk")]
    pub(super) disk: Option<Arc<DiskTier<CachedAnswer>>>,
    #[cfg(feature = "remote")]
    pub(super) remote: Option<Arc<RemoteTier<CachedAnswer>>>,
}

impl LowerTiers {
    /// What a tier has stored, as it is stored; not counted as a look-up.
    pub(super) async fn inspect(
        &self,
        level: CacheLevel,
        key: &Key,
    ) -> Result<Option<StoredEntry>, CacheError> {
        let _ = key;
        match level {
            #[cfg(feature = "disk")]
            CacheLevel::L2Persistent => match &self.disk {
                Some(disk) => disk.inspect(key).await,
                None => Ok(None),
            },
            #[cfg(feature = "remote")]
            CacheLevel::L3Distributed => match &self.remote {
                Some(remote) => remote.inspect(key).await,
                None => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// Closes what has to be closed for the next process to find it in order.
    pub(super) async fn close(&self) {
        #[cfg(feature = "disk")]
        if let Some(disk) = &self.disk {
            disk.close().await;
        }
    }
}

impl Drop for LowerTiers {
    /// A system that is dropped instead of closed, or whose building fails, leaves tasks behind that hold the tiers for
    /// a while longer. The process may end before they do, and must not end while a database is open.
    fn drop(&mut self) {
        #[cfg(feature = "disk")]
        if let Some(disk) = &self.disk {
            disk.close_blocking();
        }
    }
}
