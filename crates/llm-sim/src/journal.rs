//! What has happened: a record of every request, and counters.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::{Fault, Provider};

/// A request as the simulator has seen it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    /// The number of the request, from 0 on; what chance does to it depends on this number.
    pub seq: u64,
    /// When it arrived, in microseconds since the start.
    pub arrived_us: u64,
    /// When its last byte was handed to the network, or the client was gone, in microseconds since the start. None
    /// while it is under way.
    pub ended_us: Option<u64>,
    /// The path it was sent to.
    pub path: String,
    /// Whose wire format it was in.
    pub provider: Provider,
    /// The model it was for; empty if the request could not be read.
    pub model: String,
    /// Whether a stream was asked for.
    pub streamed: bool,
    /// The questions found in it.
    pub queries: Vec<String>,
    /// The answers to them, in the same order.
    pub categories: Vec<String>,
    /// What was made to go wrong.
    pub fault: Option<Fault>,
    /// The status of the response. None while there is none.
    pub status: Option<u16>,
    /// Tokens of the prompt that are charged.
    pub prompt_tokens: u32,
    /// Of those, the ones that cost less because the provider knew them.
    pub cached_tokens: u32,
    /// Of those, the ones written to the provider's cache.
    pub cache_write_tokens: u32,
    /// Tokens of the reply that are charged: those there were before the client was gone.
    pub completion_tokens: u32,
    /// Whether the client went away before the end.
    pub cancelled: bool,
}

/// Counters since the start or the last [reset](crate::Simulator::clear_log).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Chat requests that arrived.
    pub requests: u64,
    /// Of those, the ones under way.
    pub in_flight: u64,
    /// The most that were under way at a time.
    pub max_in_flight: u64,
    /// Of those that have ended, the ones whose client was gone before the end.
    pub cancelled: u64,
    /// Questions answered; a batch has several.
    pub queries: u64,
    /// Connections accepted, those reset at once included.
    pub connections: u64,
    /// How often each fault happened.
    pub by_fault: BTreeMap<Fault, u64>,
    /// How many responses had each status.
    pub by_status: BTreeMap<u16, u64>,
    /// Tokens of prompts that are charged.
    pub prompt_tokens: u64,
    /// Of those, the ones that cost less because the provider knew them.
    pub cached_tokens: u64,
    /// Tokens of replies that are charged.
    pub completion_tokens: u64,
}

#[derive(Debug)]
pub(crate) struct Journal {
    started: Instant,
    capacity: usize,
    next_seq: AtomicU64,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of arrival; numbers are dense, so an entry is found by its distance from the first.
    entries: VecDeque<LogEntry>,
    stats: Stats,
}

impl Journal {
    pub(crate) fn new(capacity: usize) -> Self {
        let next_seq = AtomicU64::new(0);
        Self {
            started: Instant::now(),
            capacity: capacity.max(1),
            next_seq,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Begins a record; it ends when it is finished or dropped.
    pub(crate) fn begin(self: &Arc<Self>, path: &str, provider: Provider) -> Record {
        let arrived = Instant::now();
        let mut state = self.state();
        let seq = self.next_seq.fetch_add(1, Ordering::Relaxed);
        let entry = LogEntry {
            seq,
            arrived_us: micros(arrived - self.started),
            ended_us: None,
            path: path.to_owned(),
            provider,
            model: String::new(),
            streamed: false,
            queries: Vec::new(),
            categories: Vec::new(),
            fault: None,
            status: None,
            prompt_tokens: 0,
            cached_tokens: 0,
            cache_write_tokens: 0,
            completion_tokens: 0,
            cancelled: false,
        };
        if state.entries.len() == self.capacity {
            state.entries.pop_front();
        }
        state.entries.push_back(entry.clone());
        let stats = &mut state.stats;
        stats.requests += 1;
        stats.in_flight += 1;
        stats.max_in_flight = stats.max_in_flight.max(stats.in_flight);
        drop(state);
        self.changed.notify_waiters();
        Record { journal: Some(Arc::clone(self)), entry, generation: None, permit: None }
    }

    pub(crate) fn count_connection(&self) {
        self.state().stats.connections += 1;
    }

    pub(crate) fn count_refused(&self) {
        *self.state().stats.by_fault.entry(Fault::ConnectionRefused).or_default() += 1;
    }

    pub(crate) fn entries(&self) -> Vec<LogEntry> {
        self.state().entries.iter().cloned().collect()
    }

    /// Waits until the entries are as the condition wants them.
    pub(crate) async fn entries_when(&self, mut condition: impl FnMut(&[LogEntry]) -> bool) -> Vec<LogEntry> {
        loop {
            let changed = self.changed.notified();
            let entries = self.entries();
            if condition(&entries) {
                return entries;
            }
            changed.await;
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.state().stats.clone()
    }

    /// Forgets everything but what is under way.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        state.entries.clear();
        let in_flight = state.stats.in_flight;
        state.stats = Stats { in_flight, max_in_flight: in_flight, ..Stats::default() };
    }

    fn end(&self, entry: &LogEntry) {
        let mut state = self.state();
        let stats = &mut state.stats;
        stats.in_flight -= 1;
        stats.cancelled += u64::from(entry.cancelled);
        stats.queries += entry.categories.len() as u64;
        stats.prompt_tokens += u64::from(entry.prompt_tokens);
        stats.cached_tokens += u64::from(entry.cached_tokens);
        stats.completion_tokens += u64::from(entry.completion_tokens);
        if let Some(fault) = entry.fault {
            *stats.by_fault.entry(fault).or_default() += 1;
        }
        if let Some(status) = entry.status {
            *stats.by_status.entry(status).or_default() += 1;
        }
        state.replace(entry);
        drop(state);
        self.changed.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn replace(&mut self, entry: &LogEntry) {
        // Not there any more if the log was cleared or is full.
        let at = self.entries.front().and_then(|first| entry.seq.checked_sub(first.seq));
        let at = at.and_then(|at| usize::try_from(at).ok());
        if let Some(kept) = at.and_then(|at| self.entries.get_mut(at)) {
            kept.clone_from(entry);
        }
    }
}

/// The record of a request under way. One that is dropped before it is finished says that the client went away.
#[derive(Debug)]
pub(crate) struct Record {
    journal: Option<Arc<Journal>>,
    pub(crate) entry: LogEntry,
    /// How a reply that is sent whole comes about, while it does.
    pub(crate) generation: Option<Generation>,
    /// Its place among those that are served at a time.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// A reply that is being generated and not yet sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Generation {
    pub(crate) began: Instant,
    pub(crate) first_token: Duration,
    pub(crate) per_token: Duration,
    pub(crate) n_tokens: u32,
}

impl Generation {
    /// The tokens there are by now.
    fn so_far(self) -> u32 {
        let Some(since_first) = self.began.elapsed().checked_sub(self.first_token) else { return 0 };
        let further = since_first.as_nanos().checked_div(self.per_token.as_nanos());
        further
            .and_then(|further| u32::try_from(further).ok())
            .map_or(self.n_tokens, |n| n.min(self.n_tokens))
    }
}

impl Record {
    /// Shows in the log what is known by now.
    pub(crate) fn publish(&self) {
        if let Some(journal) = &self.journal {
            journal.state().replace(&self.entry);
            journal.changed.notify_waiters();
        }
    }

    /// Ends it: everything that was to be sent is sent.
    pub(crate) fn finish(mut self) {
        self.end(false);
    }

    fn end(&mut self, is_cancelled: bool) {
        if let Some(journal) = self.journal.take() {
            if let Some(generation) = self.generation.filter(|_| is_cancelled) {
                self.entry.completion_tokens = generation.so_far();
            }
            self.entry.cancelled = is_cancelled;
            self.entry.ended_us = Some(micros(journal.started.elapsed()));
            journal.end(&self.entry);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.end(true);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
