//! The tier on a server that replicas share: Redis or Valkey, alone, under Sentinel or as a Cluster.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use fred::error::Error;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::{Expiration, InfoKind, Value};
use hp_base::{BreakerState, Clock};
use tokio::task::JoinSet;

use crate::record::{self, Stamp};
use crate::stats::Event;
use crate::tier::StoredEntry;
use crate::{CacheError, CacheErrorKind, CacheTier, Codec, Entry, Forget, Key, Probe, TierState, TierStats};

mod config;
mod gate;
mod history;
mod info;
mod lease;
mod names;
mod owed;
mod server;
mod tasks;

pub use config::RemoteConfig;
pub use info::ServerInfo;

use server::Server;

/// A [`CacheTier`] on a server that replicas share, which also tells them [what was forgotten](crate::Replicas) and
/// [who works out what](crate::Leases).
///
/// It never waits for the server to come up, and goes on without it: while the server cannot be reached, is slow or
/// answers nonsense, [`probe`](CacheTier::probe) says `Miss` at once and writes fail at once, until a task of the tier
/// has seen the server well again. Reads and writes have a breaker each, since a server that is full can still be read.
///
/// # The server
///
/// Redis 6.2 or later, or Valkey. Let it evict (`maxmemory-policy allkeys-lru` or `volatile-ttl`); with `noeviction`
/// a full server refuses writes, and the tier is [read only](TierState::ReadOnly) until there is room. Persistence is
/// not needed. An ACL user needs the keys and channels of the [prefix](RemoteConfig::prefix), as `~hp:*`, `~{hp}:*` and
/// `&{hp}:*`, and `+get +set +del +pttl +pexpire +eval +time +xadd +xrange +xrevrange +publish +subscribe +info +ping`,
/// besides what a client needs to log in.
///
/// # Limits
///
/// A write that fails may leave an older value under the key, except where the server is full: then the tier drops it.
/// Times left are told by this machine's clock, so machines that share a server should agree on the time to the second.
pub struct RemoteTier<V> {
    server: Arc<Server>,
    codec: Arc<dyn Codec<V>>,
    _tasks: JoinSet<()>,
}

impl<V: Send + Sync + 'static> RemoteTier<V> {
    /// A tier that begins to connect. To be called inside a tokio runtime, whose tasks keep it connected until the tier
    /// is dropped.
    ///
    /// # Errors
    ///
    /// `InvalidConfig`.
    pub fn new(
        config: RemoteConfig,
        codec: Arc<dyn Codec<V>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CacheError> {
        if tokio::runtime::Handle::try_current().is_err() {
            let message = "the tier is made outside of a tokio runtime, make it inside of one";
            return Err(CacheError::new(CacheErrorKind::InvalidConfig, message));
        }
        let server = Arc::new(Server::new(config, clock)?);
        let tasks = tasks::start(&server);
        Ok(Self { server, codec, _tasks: tasks })
    }

    /// Waits until the tier is in service: connected, seen well, and sure of what was flushed.
    pub async fn in_service(&self) {
        // OK to ignore: the sender lives as long as the tier.
        let _ = self.server.is_usable.subscribe().wait_for(|&is_usable| is_usable).await;
    }

    /// What went wrong last, in the server's or the system's words, if anything ever did.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.server.last_error()
    }

    /// How many keys are being waited for by those whose claim somebody else has.
    #[must_use]
    pub fn n_awaited_leases(&self) -> usize {
        self.server.waiters.len()
    }

    /// What is stored under the key, whether or not it can be decoded. Counts no look-up.
    ///
    /// # Errors
    ///
    /// `Unavailable`, `Timeout` or `Corrupt`.
    pub async fn inspect(&self, key: &Key) -> Result<Option<StoredEntry>, CacheError> {
        let server = &*self.server;
        let Some((epoch, connection)) = server.epoch().zip(server.connection()) else {
            return Err(server.bypassed());
        };
        let value: Result<Value, Error> = connection.get(server.names.entry(epoch, key)).await;
        let value = value.map_err(|error| server.counted(&error))?;
        if value.is_null() || server.owed.includes(key) {
            return Ok(None);
        }
        let bytes = value.as_bytes().ok_or_else(no_value)?;
        let Some(record) = record::open(key, self.codec.version(), bytes)? else { return Ok(None) };
        let ttl = record::time_left(server.clock.wall(), record.stamp.expires_ms);
        Ok(ttl.map(|ttl| StoredEntry { bytes: bytes.len() as u64, ttl }))
    }

    /// What the server says of itself; of a Cluster, one of its nodes.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Timeout`.
    pub async fn server_info(&self) -> Result<ServerInfo, CacheError> {
        let server = &*self.server;
        let Some(connection) = server.connection() else {
            return Err(server.bypassed());
        };
        let text: Result<String, Error> = connection.info(Some(InfoKind::Default)).await;
        Ok(ServerInfo::read(&text.map_err(|error| server.counted(&error))?))
    }

    async fn read(&self, key: &Key) -> Result<Option<Entry<V>>, CacheError> {
        let server = &*self.server;
        if server.owed.includes(key) {
            return Ok(None);
        }
        let Some((epoch, connection)) = server.epoch().zip(server.connection()) else {
            return Err(server.bypassed());
        };
        let Some(call) = server.reads.enter() else {
            return Err(server.bypassed());
        };
        let value: Value = match connection.get(server.names.entry(epoch, key)).await {
            Ok(value) => value,
            Err(error) => return Err(server.failed(&server.reads, call, &error)),
        };
        let read = self.decode(key, epoch, &value);
        match &read {
            Ok(_) => {
                if server.reads.succeeded(call) {
                    server.after_shutting("answers are slow");
                }
            }
            // Answers that have got out of step look like this; a server that sends such is not well.
            Err(error) => {
                server.counters.count(Event::Error);
                if server.reads.failed(call) {
                    server.after_shutting(&error.to_string());
                }
            }
        }
        read
    }

    fn decode(&self, key: &Key, epoch: u64, value: &Value) -> Result<Option<Entry<V>>, CacheError> {
        if value.is_null() {
            return Ok(None);
        }
        let bytes = value.as_bytes().ok_or_else(no_value)?;
        let Some(record) = record::open(key, self.codec.version(), bytes)? else { return Ok(None) };
        let Some(ttl) = record::time_left(self.server.clock.wall(), record.stamp.expires_ms) else {
            return Ok(None);
        };
        if record.stamp.epoch != epoch as u32 {
            return Ok(None);
        }
        Ok(Some(Entry { value: self.codec.decode(&record.body)?, ttl }))
    }

    /// What is under the key is out of date and cannot be replaced; dropping it needs no room.
    async fn drop_outdated(&self, name: String) {
        if let Some(connection) = self.server.connection() {
            let dropped: Result<i64, Error> = connection.del(name).await;
            if let Err(error) = dropped {
                self.server.note_error(&error.to_string());
            }
        }
    }
}

#[async_trait]
impl<V: Send + Sync + 'static> CacheTier<V> for RemoteTier<V> {
    fn probe(&self, key: &Key) -> Probe<V> {
        let server = &*self.server;
        if !server.reads.lets_through() {
            server.counters.count(Event::Bypassed);
        } else if !server.owed.includes(key) {
            return Probe::Pending;
        }
        server.counters.count(Event::Miss);
        Probe::Miss
    }

    async fn fetch(&self, key: &Key) -> Result<Option<Entry<V>>, CacheError> {
        let read = self.read(key).await;
        let is_hit = matches!(read, Ok(Some(_)));
        self.server.counters.count(if is_hit { Event::Hit } else { Event::Miss });
        read
    }

    async fn put(&self, key: Key, entry: Entry<V>) -> Result<(), CacheError> {
        let server = &*self.server;
        let Some((epoch, connection)) = server.epoch().zip(server.connection()) else {
            return Err(server.bypassed());
        };
        let ttl = entry.ttl.min(server.config.ttl);
        let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let mut body = Vec::new();
        if ttl_ms > 0 {
            self.codec.encode(&entry.value, &mut body)?;
        }
        // It is to be forgotten first, and that would take the new value with it.
        if server.owed.includes(&key) {
            return Err(server.bypassed());
        }
        let Some(call) = server.writes.enter() else {
            return Err(server.bypassed());
        };
        let name = server.names.entry(epoch, &key);
        if ttl_ms <= 0 {
            let dropping = async { connection.del::<i64, _>(name).await };
            return server.run(&server.writes, call, dropping).await.map(|_| ());
        }
        let expires_ms = record::expiry_ms(server.clock.wall(), ttl);
        let stamp = Stamp { codec_version: self.codec.version(), expires_ms, epoch: epoch as u32 };
        let bytes = record::seal(&key, stamp, &body, server.config.compress_above);
        let bytes = fred::bytes::Bytes::from(bytes);
        match connection.set::<(), _, _>(&*name, bytes, Some(Expiration::PX(ttl_ms)), None, false).await {
            Ok(()) => {
                if server.writes.succeeded(call) {
                    server.after_shutting("answers are slow");
                }
                server.counters.count(Event::Inserted);
                Ok(())
            }
            Err(error) => {
                let is_full = error.details().starts_with("OOM");
                let failure = server.failed(&server.writes, call, &error);
                if is_full {
                    self.drop_outdated(name).await;
                }
                Err(failure)
            }
        }
    }

    async fn forget(&self, what: Forget) -> Result<(), CacheError> {
        let server = &*self.server;
        if !server.reads.lets_through() {
            server.owed.add(what);
            return Err(server.bypassed());
        }
        match server.forget(what).await {
            Ok(()) => {
                server.counters.count(Event::Forgotten);
                Ok(())
            }
            Err(error) => {
                server.owed.add(what);
                server.alarm.notify_one();
                Err(server.counted(&error))
            }
        }
    }

    fn stats(&self) -> TierStats {
        let server = &*self.server;
        let sum = |event| server.counters.sum(event);
        let (reads, writes) = (server.reads.state(), server.writes.state());
        let state = match (reads, writes) {
            (BreakerState::Closed, BreakerState::Closed) => TierState::Ready,
            (BreakerState::Closed, _) => TierState::ReadOnly,
            _ if server.epoch().is_none() && server.last_error().is_none() => TierState::Starting,
            _ => TierState::Unavailable,
        };
        let openness = |state: &BreakerState| match state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        };
        TierStats {
            enabled: true,
            inserted: sum(Event::Inserted),
            forgotten: sum(Event::Forgotten),
            state,
            breaker: [reads, writes].into_iter().max_by_key(openness),
            errors: sum(Event::Error),
            timeouts: sum(Event::Timeout),
            bypassed: sum(Event::Bypassed),
            ..TierStats::of_lookups(sum(Event::Hit), sum(Event::Miss))
        }
    }
}

fn no_value() -> CacheError {
    CacheError::new(CacheErrorKind::Corrupt, "the server answered with what is no value")
}

impl<V> fmt::Debug for RemoteTier<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTier").field("server", &self.server).finish_non_exhaustive()
    }
}
