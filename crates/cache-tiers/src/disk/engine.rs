//! The thread of the tier: opens the database, writes in groups, and gets out of every trouble by itself.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use hp_base::{Backoff, Clock};

use super::place::{self, Lock, Place};
use super::shared::{Order, Request, Shared};
use super::store::{Batch, Store, Trouble};
use super::unwritten::Owed;
use crate::record::{self, Stamp};
use crate::stats::Event;
use crate::{CacheError, CacheErrorKind, DiskConfig, Forget, TierState};

/// So many writes, or so many bytes, go to the disk together at most.
const MOST_TOGETHER: usize = 512;
const MOST_BYTES_TOGETHER: usize = 4 << 20;
/// How often sizes are measured anew.
const TICK: Duration = Duration::from_secs(1);
/// How long readers are waited for when the tier is closed; a hung disk may keep them for ever.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// How long the first opening waits for the lock.
const LOCK_WAIT: Duration = Duration::from_millis(250);
/// A disk that takes this much is not full any more.
const ROOM: usize = 4 << 20;
/// Writes that fail although there is room, before the database is opened anew.
const MOST_VAIN_TRIALS: u32 = 3;
/// The same trouble is told no more often than this.
const TELL_EVERY: Duration = Duration::from_secs(10);

pub(super) struct Engine {
    config: DiskConfig,
    place: Place,
    shared: Arc<Shared>,
    requests: Receiver<Request>,
    clock: Arc<dyn Clock>,
    backoff: Backoff,
    lock: Option<Lock>,
    told: Option<Instant>,
}

/// Why a database is no longer served.
enum Next {
    Closed,
    Reopen,
    Quarantine,
}

impl Engine {
    pub(super) fn new(
        config: DiskConfig,
        shared: Arc<Shared>,
        requests: Receiver<Request>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let place = Place::new(config.path.clone());
        let backoff = Backoff::new(config.retry_first, config.retry_longest);
        Self { config, place, shared, requests, clock, backoff, lock: None, told: None }
    }

    /// Works until the other end of the channel is gone and all that is in it has been dealt with.
    pub(super) fn run(mut self) {
        loop {
            let next = match self.open() {
                Ok(store) => {
                    let store = Arc::new(store);
                    let next = self.serve(&store);
                    self.close(store, matches!(next, Next::Closed));
                    next
                }
                Err((Trouble::Damaged, reason)) => {
                    self.announce(TierState::Quarantined, &reason);
                    Next::Quarantine
                }
                Err((trouble, reason)) => {
                    self.announce(state_of(trouble), &reason);
                    self.refuse_for_backoff()
                }
            };
            match next {
                Next::Closed => break,
                Next::Reopen => {}
                Next::Quarantine if self.quarantine() => break,
                Next::Quarantine => {}
            }
        }
        self.shared.state.send_replace(TierState::Unavailable);
    }

    fn open(&mut self) -> Result<Store, (Trouble, String)> {
        if self.lock.is_none() {
            match self.lock_in_time() {
                Ok(lock) => self.lock = Some(lock),
                Err(error) => {
                    let trouble = place::trouble_of(&error);
                    let reason = format!("cannot use {}: {error}", self.place.path().display());
                    return self.open_to_read_if(trouble, reason);
                }
            }
        }
        let path = self.place.store();
        let opened = match Store::open(&path, &self.config, false) {
            Err(error) if Trouble::of(&error) == Trouble::Absent => {
                if self.place.has_remains() {
                    return Err((Trouble::Damaged, error.into_string()));
                }
                Store::open(&path, &self.config, true)
            }
            opened => opened,
        };
        let opened = opened.and_then(|store| {
            self.shared.epoch.store(store.epoch()?, Ordering::Release);
            Ok(store)
        });
        opened.or_else(|error| match Trouble::of(&error) {
            Trouble::Failing if self.place.is_no_folder() => Err((Trouble::Damaged, error.into_string())),
            trouble => self.open_to_read_if(trouble, error.into_string()),
        })
    }

    /// Takes the lock. The first time it is waited for a little: a program that was just replaced by this one may be on
    /// its way out, and a process that was just forked has what its parent had open until it runs a program of its own.
    fn lock_in_time(&self) -> io::Result<Lock> {
        let started = Instant::now();
        loop {
            match self.place.lock() {
                Err(error)
                    if place::trouble_of(&error) == Trouble::Locked
                        && self.shared.state() == TierState::Starting
                        && started.elapsed() < LOCK_WAIT =>
                {
                    thread::park_timeout(Duration::from_millis(2));
                }
                locked => return locked,
            }
        }
    }

    /// Where nothing can be written, what is there may still be read.
    fn open_to_read_if(&self, trouble: Trouble, reason: String) -> Result<Store, (Trouble, String)> {
        if trouble != Trouble::ReadOnly {
            return Err((trouble, reason));
        }
        let opened = Store::open_to_read(&self.place.store(), &self.config).and_then(|store| {
            self.shared.epoch.store(store.epoch()?, Ordering::Release);
            Ok(store)
        });
        opened.map_err(|_| (trouble, reason))
    }

    fn serve(&mut self, store: &Arc<Store>) -> Next {
        self.shared.is_damaged.store(false, Ordering::Relaxed);
        self.measure(store);
        self.shared.publish(Some(Arc::clone(store)));
        if store.is_read_only {
            return self.serve_read_only();
        }
        self.announce(TierState::Ready, "");
        let mut measured = Instant::now();
        loop {
            let first = match self.requests.recv_timeout(TICK) {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Next::Closed,
            };
            let requests = self.gather(first);
            if self.shared.is_damaged.load(Ordering::Relaxed) {
                self.refuse(requests);
                self.announce(TierState::Quarantined, "a read met damage");
                return Next::Quarantine;
            }
            if let Err((trouble, reason)) = self.write(store, requests) {
                let next = self.wait_until_writable(store, trouble, &reason);
                if let Some(next) = next {
                    return next;
                }
            }
            // Not after each group: the disk use is asked of the file system.
            if measured.elapsed() >= TICK / 4 {
                self.measure(store);
                measured = Instant::now();
            }
        }
    }

    /// Reads go on until the place can be written to.
    fn serve_read_only(&mut self) -> Next {
        self.announce(TierState::ReadOnly, "the place cannot be written to");
        loop {
            match self.refuse_for_backoff() {
                Next::Reopen if self.shared.is_damaged.load(Ordering::Relaxed) => return Next::Reopen,
                Next::Reopen if !self.place.can_take(ROOM) => {}
                next => return next,
            }
        }
    }

    /// Reads go on while writes fail, and writes as soon as they work again: RocksDB gets out of a full disk by
    /// itself, and what it does not get out of, opening it anew does.
    fn wait_until_writable(&mut self, store: &Arc<Store>, trouble: Trouble, reason: &str) -> Option<Next> {
        if trouble == Trouble::Damaged {
            self.announce(TierState::Quarantined, reason);
            return Some(Next::Quarantine);
        }
        self.announce(TierState::ReadOnly, reason);
        let mut n_vain = 0;
        loop {
            match self.refuse_for_backoff() {
                Next::Reopen => {}
                next => return Some(next),
            }
            match store.try_write() {
                Ok(()) => break,
                Err(error) if Trouble::of(&error) == Trouble::Damaged => return Some(Next::Quarantine),
                Err(_) if self.place.can_take(ROOM) => n_vain += 1,
                Err(_) => {}
            }
            if n_vain >= MOST_VAIN_TRIALS {
                return Some(Next::Reopen);
            }
        }
        self.backoff.reset();
        self.announce(TierState::Ready, "");
        None
    }

    /// What waits, in order, after `first`.
    fn gather(&self, first: Option<Request>) -> Vec<Request> {
        let mut n_bytes = 0;
        let mut requests = Vec::new();
        let mut next = first;
        while let Some(request) = next {
            let bytes = request.order.n_bytes();
            self.shared.n_queued.fetch_sub(1, Ordering::Relaxed);
            self.shared.n_queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            n_bytes += bytes as usize;
            requests.push(request);
            let is_full = requests.len() >= MOST_TOGETHER || n_bytes >= MOST_BYTES_TOGETHER;
            next = if is_full { None } else { self.requests.try_recv().ok() };
        }
        requests
    }

    /// Writes what is owed and what is asked for, as one.
    fn write(&mut self, store: &Store, requests: Vec<Request>) -> Result<(), (Trouble, String)> {
        let owed =
            if self.shared.unwritten.is_any() { self.shared.unwritten.owed() } else { Owed::default() };
        let epoch_before = self.shared.epoch.load(Ordering::Relaxed);
        let mut epoch = epoch_before.wrapping_add(u32::from(owed.all));
        let mut is_lasting = !owed.keys.is_empty();
        let mut batch = Batch::default();
        for key in &owed.keys {
            batch.delete(store, key);
        }
        for request in &requests {
            match &request.order {
                Order::Put { key, body, codec_version, expires_ms } => {
                    let stamp = Stamp { codec_version: *codec_version, expires_ms: *expires_ms, epoch };
                    // RocksDB compresses whole blocks, which beats compressing values one by one.
                    batch.put(store, key, &record::seal(key, stamp, body, usize::MAX));
                }
                Order::Drop(key) => batch.delete(store, key),
                // A wrong entry that was forgotten must not come back with the power.
                Order::Forget(Forget::Key(key)) => {
                    batch.delete(store, key);
                    is_lasting = true;
                }
                Order::Forget(Forget::All) => epoch = epoch.wrapping_add(1),
                Order::Note { name, bytes } => batch.note(name, bytes),
                Order::Wake => {}
            }
        }
        if epoch != epoch_before {
            batch.set_epoch(epoch);
            is_lasting = true;
        }
        if !batch.is_empty()
            && let Err(error) = store.write(batch, is_lasting)
        {
            let trouble = Trouble::of(&error);
            let reason = error.into_string();
            for request in requests {
                self.fail(request, &reason);
            }
            return Err((trouble, reason));
        }
        self.backoff.reset();
        self.shared.epoch.store(epoch, Ordering::Release);
        self.shared.unwritten.settle(&owed);
        for request in requests {
            self.count(&request.order);
            answer(request, Ok(()));
        }
        Ok(())
    }

    fn count(&self, order: &Order) {
        match order {
            Order::Put { .. } => self.shared.counters.count(Event::Inserted),
            Order::Forget(Forget::Key(_)) => self.shared.counters.count(Event::Forgotten),
            _ => {}
        }
    }

    fn fail(&self, request: Request, reason: &str) {
        if let Order::Wake = request.order {
            return;
        }
        self.shared.counters.count(Event::Error);
        self.shared.n_dropped_writes.fetch_add(1, Ordering::Relaxed);
        if let Order::Drop(key) = request.order {
            self.shared.unwritten.add(key);
        }
        let error = CacheError::new(CacheErrorKind::Unavailable, "the disk tier cannot write")
            .with_source(reason.to_owned());
        answer(request, Err(error));
    }

    fn refuse(&self, requests: Vec<Request>) {
        for request in requests {
            self.shared.counters.count(Event::Bypassed);
            if let Order::Drop(key) = request.order {
                self.shared.unwritten.add(key);
            }
            let message = "the disk tier is out of service";
            answer(request, Err(CacheError::new(CacheErrorKind::Unavailable, message)));
        }
    }

    /// Turns everybody away for a while; then it is time to try again.
    fn refuse_for_backoff(&mut self) -> Next {
        let until = Instant::now() + self.backoff.next();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.requests.recv_timeout(left) {
                Ok(request) => {
                    let is_wake = matches!(request.order, Order::Wake);
                    self.refuse(self.gather(Some(request)));
                    if is_wake && self.shared.is_damaged.load(Ordering::Relaxed) {
                        return Next::Reopen;
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Next::Reopen,
                Err(RecvTimeoutError::Disconnected) => return Next::Closed,
            }
        }
    }

    /// Closes the database as soon as nobody reads it any more; says nothing, and can be called with any.
    fn close(&mut self, mut store: Arc<Store>, is_last: bool) {
        self.shared.publish(None);
        if is_last && let Err(error) = store.sync() {
            tracing::warn!(%error, "the last writes of the disk cache may not outlast a loss of power");
        }
        let started = Instant::now();
        loop {
            match Arc::try_unwrap(store) {
                Ok(_) => return,
                // The last reader closes it then.
                Err(_) if is_last && started.elapsed() >= CLOSE_WAIT => return,
                Err(shared) => store = shared,
            }
            if started.elapsed() >= CLOSE_WAIT && self.shared.state() != TierState::Unavailable {
                self.announce(TierState::Unavailable, "reads of the old database do not end");
            }
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Puts the database aside. True if the tier is to close.
    fn quarantine(&mut self) -> bool {
        match self.place.quarantine(self.config.max_bytes / 20) {
            Ok(()) => {
                self.shared.n_quarantines.fetch_add(1, Ordering::Relaxed);
                // A new database that is damaged at once is no reason to make new ones without a pause.
                let is_first = self.shared.n_quarantines.load(Ordering::Relaxed) == 1;
                !is_first && matches!(self.refuse_for_backoff(), Next::Closed)
            }
            Err(error) => {
                let reason = format!("cannot put the damaged database aside: {error}");
                self.announce(TierState::Unavailable, &reason);
                matches!(self.refuse_for_backoff(), Next::Closed)
            }
        }
    }

    fn measure(&self, store: &Store) {
        self.shared.n_entries.store(store.n_entries(), Ordering::Relaxed);
        self.shared.n_bytes.store(self.place.n_bytes(), Ordering::Relaxed);
    }

    fn announce(&mut self, state: TierState, reason: &str) {
        let before = self.shared.state.send_replace(state);
        let now = self.clock.now();
        let is_due = self.told.is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY);
        if state == before || !is_due {
            return;
        }
        let path = self.place.path().display();
        match (before, state) {
            (TierState::Starting, TierState::Ready) => tracing::debug!(%path, "the disk cache is open"),
            (_, TierState::Ready) => tracing::info!(%path, "the disk cache is at work again"),
            _ => {
                self.told = Some(now);
                tracing::warn!(%path, ?state, reason, "the disk cache is not fully at work; it will be as soon as it can");
            }
        }
    }
}

fn state_of(trouble: Trouble) -> TierState {
    match trouble {
        Trouble::Locked => TierState::Locked,
        Trouble::ReadOnly => TierState::ReadOnly,
        Trouble::Damaged => TierState::Quarantined,
        Trouble::Incomplete | Trouble::Absent | Trouble::Failing => TierState::Unavailable,
    }
}

fn answer(request: Request, result: Result<(), CacheError>) {
    if let Some(done) = request.done {
        // Whoever has stopped waiting does not want to know.
        let _ = done.send(result);
    }
}
