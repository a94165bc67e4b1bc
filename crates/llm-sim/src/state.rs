//! What all connections share: what the model knows, what is set, what has happened.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

use crate::config::{self, ApiKeys};
use crate::journal::Journal;
use crate::quota::Quota;
use crate::random::{self, Purpose};
use crate::tokens::Tokens;
use crate::{Brain, Config, Fault, Faults, Latency, Limits, SimError};

/// What all connections share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) seed: u64,
    pub(crate) brain: Brain,
    pub(crate) api_keys: ApiKeys,
    pub(crate) models: Vec<String>,
    pub(crate) tokens: Tokens,
    pub(crate) journal: Arc<Journal>,
    /// Whether the port of the providers is to be closed, and whether it is.
    pub(crate) closing: watch::Sender<bool>,
    pub(crate) closed: watch::Sender<bool>,
    /// How often it was closed; connections end when this goes on.
    pub(crate) n_closings: watch::Sender<u64>,
    settings: RwLock<Arc<Settings>>,
    /// What happens to the next requests, ahead of chance.
    script: Mutex<VecDeque<Option<Fault>>>,
}

/// What can be set while it runs.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) latency: Latency,
    pub(crate) per_token: Duration,
    pub(crate) error_rate: f64,
    pub(crate) faults: Faults,
    pub(crate) limits: Limits,
    pub(crate) retry_after: Duration,
    pub(crate) slow_drip: Duration,
    pub(crate) enormous_reply_bytes: usize,
    /// Permits for `max_concurrent`.
    pub(crate) slots: Option<Arc<Semaphore>>,
    pub(crate) requests: Option<Arc<Mutex<Quota>>>,
    pub(crate) tokens: Option<Arc<Mutex<Quota>>>,
}

/// The settings under the names they have over HTTP; the faults have an address of their own.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    latency: String,
    per_token_ms: f64,
    error_rate: f64,
    max_concurrent: Option<usize>,
    queue: bool,
    requests_per_minute: Option<u32>,
    tokens_per_minute: Option<u32>,
    retry_after_s: u64,
    slow_drip_ms: f64,
    enormous_reply_bytes: usize,
}

impl State {
    pub(crate) fn new(config: Config) -> Result<Self, SimError> {
        config::check_error_rate(config.error_rate)?;
        let mut settings = Settings {
            latency: config.latency,
            per_token: config.per_token,
            error_rate: config.error_rate,
            faults: config.faults,
            limits: Limits::default(),
            retry_after: config.retry_after,
            slow_drip: config.slow_drip,
            enormous_reply_bytes: config.enormous_reply_bytes,
            slots: None,
            requests: None,
            tokens: None,
        };
        settings.limit(config.limits);
        Ok(Self {
            seed: config.seed,
            brain: config.brain,
            api_keys: config.api_keys,
            models: config.models,
            tokens: Tokens::load(),
            journal: Arc::new(Journal::new(config.log_capacity)),
            closing: watch::Sender::new(settings.closes()),
            closed: watch::Sender::new(false),
            n_closings: watch::Sender::new(0),
            settings: RwLock::new(Arc::new(settings)),
            script: Mutex::default(),
        })
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the settings; those that limit begin anew only when they are changed.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Settings)) {
        let mut current = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        let mut settings = Settings::clone(&current);
        change(&mut settings);
        self.closing.send_replace(settings.closes());
        *current = Arc::new(settings);
    }

    /// Waits until the port is as open or closed as it is set to be.
    pub(crate) async fn settle(&self) {
        let closing = *self.closing.borrow();
        // OK to ignore: the sender lives as long as the state.
        let _ = self.closed.subscribe().wait_for(|closed| *closed == closing).await;
    }

    pub(crate) fn script(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.scripted().extend(faults);
    }

    /// What happens to a request.
    pub(crate) fn fault(&self, settings: &Settings, seq: u64) -> Option<Fault> {
        if let Some(scripted) = self.scripted().pop_front() {
            return scripted;
        }
        settings.faults.pick(random::unit(self.seed, seq, Purpose::Fault))
    }

    fn scripted(&self) -> MutexGuard<'_, VecDeque<Option<Fault>>> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The settings as JSON.
    pub(crate) fn settings_json(&self) -> serde_json::Value {
        serde_json::to_value(self.settings().wire()).unwrap_or_default()
    }

    /// Changes those settings that the JSON object names.
    pub(crate) fn change_json(&self, changes: &[u8]) -> Result<(), SimError> {
        let changes: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(changes)
            .map_err(|error| SimError::invalid(format!("the settings are not a JSON object: {error}")))?;
        let latency = changes.get("latency").map(|latency| match latency {
            serde_json::Value::String(text) => text.parse::<Latency>(),
            other => other.to_string().parse(),
        });
        let latency = latency.transpose()?;
        let mut all = self.settings_json();
        if let Some(members) = all.as_object_mut() {
            members.extend(changes.into_iter().filter(|(name, _)| name != "latency"));
        }
        let wire: Wire = serde_json::from_value(all)
            .map_err(|error| SimError::invalid(format!("the settings cannot be used: {error}")))?;
        config::check_error_rate(wire.error_rate)?;
        let per_token = duration(wire.per_token_ms)?;
        let slow_drip = duration(wire.slow_drip_ms)?;
        self.change(|settings| {
            if let Some(latency) = latency {
                settings.latency = latency;
            }
            settings.per_token = per_token;
            settings.slow_drip = slow_drip;
            settings.error_rate = wire.error_rate;
            settings.retry_after = Duration::from_secs(wire.retry_after_s);
            settings.enormous_reply_bytes = wire.enormous_reply_bytes;
            settings.limit(Limits {
                max_concurrent: wire.max_concurrent,
                queue: wire.queue,
                requests_per_minute: wire.requests_per_minute,
                tokens_per_minute: wire.tokens_per_minute,
            });
        });
        Ok(())
    }
}

impl Settings {
    /// Sets limits; a limit that is the same goes on where it is.
    pub(crate) fn limit(&mut self, limits: Limits) {
        let now = Instant::now();
        let quota = |per_minute: Option<u32>| per_minute.map(|n| Arc::new(Mutex::new(Quota::new(n, now))));
        if limits.max_concurrent != self.limits.max_concurrent {
            self.slots =
                limits.max_concurrent.map(|n| Arc::new(Semaphore::new(n.min(Semaphore::MAX_PERMITS))));
        }
        if limits.requests_per_minute != self.limits.requests_per_minute {
            self.requests = quota(limits.requests_per_minute);
        }
        if limits.tokens_per_minute != self.limits.tokens_per_minute {
            self.tokens = quota(limits.tokens_per_minute);
        }
        self.limits = limits;
    }

    /// Whether no connection at all is let in.
    fn closes(&self) -> bool {
        self.faults.probability(Fault::ConnectionRefused) >= 1.0
    }

    fn wire(&self) -> Wire {
        Wire {
            latency: self.latency.to_string(),
            per_token_ms: self.per_token.as_secs_f64() * 1e3,
            error_rate: self.error_rate,
            max_concurrent: self.limits.max_concurrent,
            queue: self.limits.queue,
            requests_per_minute: self.limits.requests_per_minute,
            tokens_per_minute: self.limits.tokens_per_minute,
            retry_after_s: self.retry_after.as_secs(),
            slow_drip_ms: self.slow_drip.as_secs_f64() * 1e3,
            enormous_reply_bytes: self.enormous_reply_bytes,
        }
    }
}

fn duration(ms: f64) -> Result<Duration, SimError> {
    Duration::try_from_secs_f64(ms / 1e3)
        .map_err(|_| SimError::invalid(format!("{ms} is no time, write milliseconds from 0 on")))
}
