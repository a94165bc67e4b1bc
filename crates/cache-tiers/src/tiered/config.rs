//! How a tiered cache behaves, and for how long a value is kept where.

use std::time::Duration;

/// How a [`TieredCache`](super::TieredCache) behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TieredConfig {
    /// For how long an entry whose time is over is still served, marked stale, while one caller renews it; zero
    /// serves none. Default: zero.
    pub stale_while_revalidate: Duration,
    /// The most writes that wait for each lower tier; the oldest is dropped, and counted, to make room. Default:
    /// 4,096, which is some 4 MB of answers and a second of a busy disk.
    pub max_queued: usize,
    /// How long [`close`](super::TieredCache::close) waits for the writes that are still queued. Default: 2 s.
    pub close_within: Duration,
}

impl Default for TieredConfig {
    fn default() -> Self {
        Self {
            stale_while_revalidate: Duration::ZERO,
            max_queued: 4_096,
            close_within: Duration::from_secs(2),
        }
    }
}

/// For how long a value is kept in each tier. A tier for which this is zero is left alone: what it holds under the key
/// stays. Each tier has a bound of its own besides.
///
/// ```
/// use std::time::Duration;
/// use cache_tiers::Retention;
///
/// let hour = Duration::from_secs(3600);
/// assert_eq!(Retention::everywhere(hour).l3, hour);
/// assert_eq!(Retention::memory_only(hour).l3, Duration::ZERO);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// In memory.
    pub l1: Duration,
    /// On disk.
    pub l2: Duration,
    /// On the server.
    pub l3: Duration,
}

impl Retention {
    /// For the same time in every tier.
    #[must_use]
    pub const fn everywhere(ttl: Duration) -> Self {
        Self { l1: ttl, l2: ttl, l3: ttl }
    }

    /// In memory alone: for what this process would rather not vouch for to others, such as answers given while
    /// something was broken. What other tiers hold is found again when this has expired.
    #[must_use]
    pub const fn memory_only(ttl: Duration) -> Self {
        Self { l1: ttl, l2: Duration::ZERO, l3: Duration::ZERO }
    }
}
