//! Putting a tiered cache together.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use hp_base::Clock;

use super::flight::Flights;
use super::follow;
use super::queue::Queue;
use super::shared::{Lower, Shared, Versions};
use super::stats::HitTimes;
use super::{TieredCache, TieredConfig};
use crate::stats::Counters;
use crate::{CacheLevel, CacheTier, Leases, Notes, Replicas};

/// Puts a [`TieredCache`] together from tiers, each of which may be left out.
#[derive(Debug)]
pub struct TieredBuilder<V> {
    clock: Arc<dyn Clock>,
    config: TieredConfig,
    memory: Option<Arc<dyn CacheTier<V>>>,
    disk: Option<Arc<dyn CacheTier<V>>>,
    remote: Option<Arc<dyn CacheTier<V>>>,
    notes: Option<Arc<dyn Notes>>,
    replicas: Option<Arc<dyn Replicas>>,
    leases: Option<Arc<dyn Leases>>,
}

impl<V: Clone + Send + Sync + 'static> TieredBuilder<V> {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            config: TieredConfig::default(),
            memory: None,
            disk: None,
            remote: None,
            notes: None,
            replicas: None,
            leases: None,
        }
    }

    /// How the cache behaves, instead of the default.
    #[must_use]
    pub fn config(mut self, config: TieredConfig) -> Self {
        self.config = config;
        self
    }

    /// The tier that is asked first; its methods must be done at once, without waiting for anything.
    #[must_use]
    pub fn memory(mut self, tier: Arc<dyn CacheTier<V>>) -> Self {
        self.memory = Some(tier);
        self
    }

    /// The tier on this machine's disk.
    #[must_use]
    pub fn disk(mut self, tier: Arc<dyn CacheTier<V>>) -> Self {
        self.disk = Some(tier);
        self
    }

    /// The tier that all replicas share.
    #[must_use]
    pub fn remote(mut self, tier: Arc<dyn CacheTier<V>>) -> Self {
        self.remote = Some(tier);
        self
    }

    /// Where small things are kept over a restart.
    #[must_use]
    pub fn notes(mut self, notes: Arc<dyn Notes>) -> Self {
        self.notes = Some(notes);
        self
    }

    /// Where to hear what other replicas have forgotten.
    #[must_use]
    pub fn replicas(mut self, replicas: Arc<dyn Replicas>) -> Self {
        self.replicas = Some(replicas);
        self
    }

    /// Who settles which process works a value out.
    #[must_use]
    pub fn leases(mut self, leases: Arc<dyn Leases>) -> Self {
        self.leases = Some(leases);
        self
    }

    /// The cache. With a tier below memory, or other replicas to hear, it has work to do in the background.
    ///
    /// # Panics
    ///
    /// If there is such work, and this is not called inside a tokio runtime.
    #[must_use]
    pub fn build(self) -> TieredCache<V> {
        let Self { clock, config, memory, disk, remote, notes, replicas, leases } = self;
        let levels = [(CacheLevel::L2Persistent, disk), (CacheLevel::L3Distributed, remote)];
        let lower = levels.into_iter().filter_map(|(level, tier)| {
            Some(Lower { level, queue: Queue::start(tier?, Arc::clone(&clock), config.max_queued) })
        });
        let lower = lower.collect();
        let (versions, forgets) = (Versions::new(), Versions::new());
        let shared = Arc::new(Shared { config, clock, memory, lower, notes, versions, forgets });
        let follower = replicas.map(|replicas| tokio::spawn(follow::run(Arc::clone(&shared), replicas)));
        TieredCache {
            shared,
            flights: Flights::new(),
            refreshing: Arc::new(Mutex::new(HashSet::new())),
            counters: Counters::new(),
            times: HitTimes::default(),
            leases,
            follower,
        }
    }
}
