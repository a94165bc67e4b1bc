//! Looking a value up and, where nobody has it, working it out once for all who ask, in all processes.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::flight::{Leading, Turn};
use super::queue::Queued;
use super::{Hit, Retention, TieredCache};
use crate::stats::Event;
use crate::{CacheLevel, Claim, Entry, Key, Lease};

/// A value, and how it was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaded<V> {
    /// The value.
    pub value: V,
    /// The time it has left; zero if it is stale.
    pub ttl: Duration,
    /// How it was had.
    pub origin: Origin,
}

/// How a value was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was in a tier.
    Cached(CacheLevel),
    /// It was worked out for somebody else who asked at the same time.
    Coalesced,
    /// It was worked out for this caller.
    Loaded,
}

/// No value was had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadError<E> {
    /// Working it out failed.
    Load(E),
    /// Somebody else is at it, and was not done in time.
    OutOfTime,
}

impl<V: Clone + Send + Sync + 'static> TieredCache<V> {
    /// The value under the key, from a tier, from somebody who is working it out already, or from `load`.
    ///
    /// Of all who miss at once, one loads: within the process always, and among processes if the cache has
    /// [leases](super::TieredBuilder::leases) and whoever grants them can be reached; else each process goes alone. If
    /// the one who loads fails or is dropped, one of those who wait takes over; if its process dies, when its lease
    /// ends. Failures are not kept. Waiting is bounded by `patience`, loading is not: bound that yourself.
    ///
    /// # Errors
    ///
    /// `Load` with what `load` failed with, or `OutOfTime` when the patience is over.
    pub async fn get_or_load<E, F>(
        &self,
        key: &Key,
        patience: Duration,
        load: impl FnOnce() -> F + Send,
    ) -> Result<Loaded<V>, LoadError<E>>
    where
        F: Future<Output = Result<(V, Retention), E>> + Send,
    {
        match self.get(key).await {
            Some(hit) => Ok(hit.into()),
            None => self.load(key, patience, load).await,
        }
    }

    /// As [`get_or_load`](Self::get_or_load), for a caller who has looked already and found nothing.
    ///
    /// # Errors
    ///
    /// As [`get_or_load`](Self::get_or_load).
    pub async fn load<E, F>(
        &self,
        key: &Key,
        patience: Duration,
        load: impl FnOnce() -> F + Send,
    ) -> Result<Loaded<V>, LoadError<E>>
    where
        F: Future<Output = Result<(V, Retention), E>> + Send,
    {
        let deadline = Instant::now() + patience;
        let leading = loop {
            match self.flights.join(key) {
                Turn::Lead(leading) => break leading,
                Turn::Follow(following) => {
                    let landed =
                        timeout_at(deadline, following.value()).await.map_err(|_| LoadError::OutOfTime)?;
                    if let Some((value, ttl)) = landed {
                        return Ok(Loaded { value, ttl, origin: Origin::Coalesced });
                    }
                }
            }
        };
        // Whoever led before may have landed between our look and our turn.
        if let Some(hit) = self.at_hand(key) {
            leading.land((hit.value.clone(), hit.ttl));
            return Ok(Loaded { origin: Origin::Coalesced, ..hit.into() });
        }
        let lease = match self.lease(key, deadline).await? {
            Leased::Found(hit) => {
                leading.land((hit.value.clone(), hit.ttl));
                return Ok(hit.into());
            }
            Leased::Mine(lease) => Some(lease),
            Leased::Alone => None,
        };
        let (value, retention) = load().await.map_err(LoadError::Load)?;
        Ok(self.land(key, value, retention, leading, lease).await)
    }

    /// What is in memory or waits to be written.
    fn at_hand(&self, key: &Key) -> Option<Hit<V>> {
        if let Some(memory) = &self.shared.memory {
            if let crate::Probe::Hit(entry) = memory.probe(key) {
                return Some(self.shared.hit(entry, CacheLevel::L1Memory)).filter(|hit| !hit.is_stale);
            }
            // It has missed the key once already, for the same caller.
            self.counters.count(Event::LookedAgain);
        }
        let queued = self.shared.lower.iter().find_map(|lower| match lower.queue.get(key) {
            Queued::Entry(entry) => Some(entry),
            Queued::Expired | Queued::Nothing => None,
        })?;
        Some(self.shared.hit(queued, CacheLevel::L1Memory)).filter(|hit| !hit.is_stale)
    }

    /// Claims the key among all processes, or finds what another one has put there meanwhile.
    async fn lease<E>(&self, key: &Key, deadline: Instant) -> Result<Leased<V>, LoadError<E>> {
        let Some(leases) = &self.leases else { return Ok(Leased::Alone) };
        loop {
            let claim = timeout_at(deadline, leases.claim(key)).await.map_err(|_| LoadError::OutOfTime)?;
            let lease = match claim {
                Ok(Claim::Mine(lease)) => Some(lease),
                Ok(Claim::Theirs(done)) => {
                    timeout_at(deadline, done).await.map_err(|_| LoadError::OutOfTime)?;
                    None
                }
                Err(error) => {
                    tracing::debug!(%error, "no lease can be had; this process goes alone");
                    return Ok(Leased::Alone);
                }
            };
            // Others put what they work out on the shared tier before they let go of the lease.
            if let Some(hit) = self.on_shared_tier(key).await {
                return Ok(Leased::Found(hit));
            }
            if let Some(lease) = lease {
                return Ok(Leased::Mine(lease));
            }
        }
    }

    async fn on_shared_tier(&self, key: &Key) -> Option<Hit<V>> {
        let lower = self.shared.lower.iter().position(|lower| lower.level == CacheLevel::L3Distributed)?;
        let version = self.shared.versions.of(key);
        let hit = self.shared.fetch(key, super::Resume { lower, version }).await;
        hit.filter(|hit| !hit.is_stale)
    }

    /// Keeps what was worked out and hands it to all who wait.
    async fn land(
        &self,
        key: &Key,
        value: V,
        retention: Retention,
        leading: Leading<(V, Duration)>,
        lease: Option<Lease>,
    ) -> Loaded<V> {
        self.shared.put_in_memory(*key, value.clone(), retention.l1).await;
        let shared_tier = self.tier(CacheLevel::L3Distributed).filter(|_| lease.is_some());
        match shared_tier {
            // Those who wait in other processes look there as soon as the lease is gone.
            Some(tier) if !retention.l3.is_zero() => {
                let entry = Entry { value: value.clone(), ttl: self.shared.kept_for(retention.l3) };
                let retention = match tier.put(*key, entry).await {
                    Ok(()) => Retention { l3: Duration::ZERO, ..retention },
                    Err(_) => retention,
                };
                self.shared.put_below(*key, value.clone(), retention);
            }
            _ => self.shared.put_below(*key, value.clone(), retention),
        }
        drop(lease);
        leading.land((value.clone(), retention.l1));
        Loaded { value, ttl: retention.l1, origin: Origin::Loaded }
    }
}

impl<V> From<Hit<V>> for Loaded<V> {
    fn from(hit: Hit<V>) -> Self {
        Self { value: hit.value, ttl: hit.ttl, origin: Origin::Cached(hit.level) }
    }
}

/// What came of asking for a lease.
enum Leased<V> {
    Mine(Lease),
    Found(Hit<V>),
    Alone,
}

impl<E: fmt::Display> fmt::Display for LoadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(error) => error.fmt(f),
            Self::OutOfTime => {
                f.write_str("somebody else is working the value out, and was not done in time")
            }
        }
    }
}

impl<E: Error + 'static> Error for LoadError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Load(error) => Some(error),
            Self::OutOfTime => None,
        }
    }
}
