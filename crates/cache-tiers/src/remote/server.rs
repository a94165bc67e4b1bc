//! The tier's side of the server: the connections, what is known of the server, and the gates before it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fred::clients::{Client, WithOptions};
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, LuaInterface};
use fred::prelude::Builder;
use fred::types::Value;
use fred::types::config::Options;
use hp_base::{Call, Clock};
use tokio::sync::{Notify, watch};

use super::config::RemoteConfig;
use super::gate::Gate;
use super::lease::Waiters;
use super::names::Names;
use super::owed::Owed;
use crate::stats::{Counters, Event};
use crate::{CacheError, CacheErrorKind};

pub(super) type Connection = WithOptions<Client>;

/// An epoch that nobody has told yet.
const UNKNOWN: u64 = 0;

pub(super) struct Server {
    pub(super) config: RemoteConfig,
    pub(super) names: Names,
    /// Who this replica is among the others, by lot.
    pub(super) origin: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) connections: Vec<Connection>,
    /// The connection that listens; nothing else can be sent on it.
    pub(super) listener: Client,
    pub(super) reads: Gate,
    pub(super) writes: Gate,
    pub(super) counters: Counters,
    pub(super) owed: Owed,
    pub(super) waiters: Waiters,
    /// Wakes the task that looks after the server.
    pub(super) alarm: Notify,
    /// Grows whenever the history may have.
    pub(super) doorbell: watch::Sender<u64>,
    /// Whether reads are let through, for those who wait for a change of it.
    pub(super) is_usable: watch::Sender<bool>,
    /// Whether the doorbell can be heard.
    pub(super) is_listening: AtomicBool,
    next: AtomicUsize,
    epoch: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Server {
    pub(super) fn new(config: RemoteConfig, clock: Arc<dyn Clock>) -> Result<Self, CacheError> {
        config.validate()?;
        let client_config = config.client()?;
        let is_clustered = client_config.server.is_clustered();
        let mut builder = Builder::from_config(client_config);
        builder.set_policy(RemoteConfig::reconnecting());
        builder.set_connection_config(config.connection());
        builder.set_performance_config(config.performance());
        let build = || {
            builder.build().map_err(|error| {
                CacheError::new(CacheErrorKind::InvalidConfig, "the client of the server cannot be set up")
                    .with_source(error)
            })
        };
        let options = Options {
            // A command that a Cluster redirects is written once more.
            max_attempts: Some(if is_clustered { 3 } else { 1 }),
            timeout: Some(config.operation_timeout),
            fail_fast: true,
            ..Options::default()
        };
        let connections = (0..config.pool_size)
            .map(|_| build().map(|client| client.with_options(&options)))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            names: Names::new(&config.prefix),
            origin: random_token(),
            connections,
            listener: build()?,
            reads: Gate::new(config.breaker, Arc::clone(&clock)),
            writes: Gate::new(config.breaker, Arc::clone(&clock)),
            counters: Counters::new(),
            owed: Owed::default(),
            waiters: Waiters::default(),
            alarm: Notify::new(),
            doorbell: watch::Sender::new(0),
            is_usable: watch::Sender::new(false),
            is_listening: AtomicBool::new(false),
            next: AtomicUsize::new(0),
            epoch: AtomicU64::new(UNKNOWN),
            last_error: Mutex::new(None),
            config,
            clock,
        })
    }

    /// A connection that is up, in turns.
    pub(super) fn connection(&self) -> Option<&Connection> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let n = self.connections.len();
        (0..n)
            .map(|number| &self.connections[first.wrapping_add(number) % n])
            .find(|connection| connection.is_connected())
    }

    /// The epoch entries are read and written in, if it is known.
    #[inline]
    pub(super) fn epoch(&self) -> Option<u64> {
        Some(self.epoch.load(Ordering::Acquire)).filter(|&epoch| epoch != UNKNOWN)
    }

    /// Takes note of an epoch. They only grow: one that is smaller comes from a server that forgot a flush.
    pub(super) fn learn_epoch(&self, epoch: u64) {
        self.epoch.fetch_max(epoch, Ordering::AcqRel);
    }

    /// Runs a command of a request through a gate, and counts how it went.
    pub(super) async fn run<T>(
        &self,
        gate: &Gate,
        call: Call<'_>,
        command: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, CacheError> {
        match command.await {
            Ok(value) => {
                if gate.succeeded(call) {
                    self.after_shutting("answers are slow");
                }
                Ok(value)
            }
            Err(error) => Err(self.failed(gate, call, &error)),
        }
    }

    /// Counts a failure of a request.
    pub(super) fn failed(&self, gate: &Gate, call: Call<'_>, error: &Error) -> CacheError {
        if gate.failed(call) {
            self.after_shutting(&error.to_string());
        }
        self.counted(error)
    }

    /// Counts a failure, and translates it.
    pub(super) fn counted(&self, error: &Error) -> CacheError {
        let is_timeout = *error.kind() == ErrorKind::Timeout;
        self.counters.count(if is_timeout { Event::Timeout } else { Event::Error });
        self.note_error(&error.to_string());
        if is_timeout {
            let message = format!("no reply within {:?}", self.config.operation_timeout);
            CacheError::new(CacheErrorKind::Timeout, message)
        } else {
            CacheError::new(CacheErrorKind::Unavailable, "the server could not be asked")
                .with_source(error.clone())
        }
    }

    /// Counts what was not tried.
    pub(super) fn bypassed(&self) -> CacheError {
        self.counters.count(Event::Bypassed);
        CacheError::new(CacheErrorKind::Unavailable, "the server is out of service for now")
    }

    /// A connection was lost: nobody else shall find that out by waiting.
    pub(super) fn connection_lost(&self, reason: &str) {
        self.note_error(reason);
        let is_news = [self.reads.shut(), self.writes.shut()];
        if is_news.contains(&true) {
            self.after_shutting(reason);
        }
    }

    /// To be called by whoever has shut a gate.
    pub(super) fn after_shutting(&self, reason: &str) {
        self.note_error(reason);
        let is_usable = self.reads.lets_through();
        let was_usable = self.is_usable.send_replace(is_usable);
        if was_usable && !is_usable {
            tracing::warn!(reason, "the cache on the server is out of service");
        } else if was_usable {
            tracing::warn!(reason, "the cache on the server is only read");
        }
        self.alarm.notify_one();
    }

    pub(super) fn note_error(&self, reason: &str) {
        let mut last = self.lock_last_error();
        if last.as_deref() != Some(reason) {
            *last = Some(reason.to_owned());
        }
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.lock_last_error().clone()
    }

    fn lock_last_error(&self) -> MutexGuard<'_, Option<String>> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rings the doorbell by hand.
    pub(super) fn ring(&self) {
        self.doorbell.send_modify(|n_rings| *n_rings = n_rings.wrapping_add(1));
    }

    /// Runs a script on a connection that is up.
    pub(super) async fn script(&self, script: &str, keys: &[&str], args: &[&str]) -> Result<Value, Error> {
        let connection = self.connection().ok_or_else(not_connected)?;
        script_on(connection, script, keys, args).await
    }
}

pub(super) async fn script_on(
    connection: &Connection,
    script: &str,
    keys: &[&str],
    args: &[&str],
) -> Result<Value, Error> {
    let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    connection.eval(script, keys, args).await
}

pub(super) fn not_connected() -> Error {
    Error::new(ErrorKind::IO, "not connected")
}

pub(super) fn garbled() -> Error {
    Error::new(ErrorKind::Protocol, "the answer is none to the question")
}

/// 128 bits that no other process will draw, as digits.
pub(super) fn random_token() -> String {
    use std::hash::{BuildHasher, RandomState};
    let state = RandomState::new();
    format!("{:016x}{:016x}", state.hash_one(0_u8), state.hash_one(1_u8))
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("prefix", &self.config.prefix)
            .field("epoch", &self.epoch())
            .field("reads", &self.reads.state())
            .field("writes", &self.writes.state())
            .finish_non_exhaustive()
    }
}
