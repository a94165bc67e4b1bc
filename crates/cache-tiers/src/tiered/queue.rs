//! Write-behind: the bounded queue of what a lower tier is still to be told, and the task that tells it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use hp_base::Clock;
use tokio::sync::{Notify, oneshot};

use crate::{CacheError, CacheErrorKind, CacheTier, Entry, Forget, Key};

/// How many writes go out at once. Tiers group those that are under way into one batch, and this is where larger
/// batches stop being cheaper.
const BATCH: usize = 256;

/// What one lower tier is still to be told. What waits can be read, so that nobody misses a write of their own.
///
/// Forgetting overtakes the writes that wait, having cancelled those it concerns, and follows those under way; hence
/// nothing that was forgotten is written again.
#[derive(Debug)]
pub(super) struct Queue<V> {
    tier: Arc<dyn CacheTier<V>>,
    clock: Arc<dyn Clock>,
    max_queued: usize,
    inner: Mutex<Inner<V>>,
    /// How many entries can be read here, so that the many look-ups that find none need no lock.
    n_readable: AtomicUsize,
    dropped: AtomicU64,
    work: Notify,
    idle: Notify,
}

#[derive(Debug)]
struct Inner<V> {
    waiting: HashMap<Key, Pending<V>>,
    /// The keys that wait, oldest first, some of them cancelled since.
    order: VecDeque<(Key, u64)>,
    writing: HashMap<Key, Pending<V>>,
    forgets: VecDeque<(Forget, oneshot::Sender<Result<(), CacheError>>)>,
    is_busy: bool,
    is_closed: bool,
    n_pushed: u64,
}

#[derive(Debug, Clone)]
struct Pending<V> {
    value: V,
    /// By [`Clock::coarse_nanos`].
    expires: u64,
    number: u64,
}

/// What a queue knows of a key.
pub(super) enum Queued<V> {
    /// It is to be written.
    Entry(Entry<V>),
    /// It was to be written, and its time is over; what the tier holds is older still.
    Expired,
    /// Nothing.
    Nothing,
}

/// What the task does next.
enum Work<V> {
    Forget(Forget, oneshot::Sender<Result<(), CacheError>>),
    Write(Vec<(Key, Entry<V>)>),
    Wait,
    End,
}

impl<V: Clone + Send + Sync + 'static> Queue<V> {
    /// A queue and its task, which ends when the queue is closed and empty.
    pub(super) fn start(tier: Arc<dyn CacheTier<V>>, clock: Arc<dyn Clock>, max_queued: usize) -> Arc<Self> {
        let inner = Inner {
            waiting: HashMap::new(),
            order: VecDeque::new(),
            writing: HashMap::new(),
            forgets: VecDeque::new(),
            is_busy: false,
            is_closed: false,
            n_pushed: 0,
        };
        let queue = Arc::new(Self {
            tier,
            clock,
            max_queued: max_queued.max(1),
            inner: Mutex::new(inner),
            n_readable: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            work: Notify::new(),
            idle: Notify::new(),
        });
        tokio::spawn(Arc::clone(&queue).run());
        queue
    }

    /// Adds a write, in place of one that waits under the same key.
    pub(super) fn push(&self, key: Key, entry: Entry<V>) {
        let expires = self.clock.coarse_nanos().saturating_add(nanos(entry.ttl));
        let mut dropped = None;
        let mut inner = self.lock();
        if inner.is_closed {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        inner.n_pushed += 1;
        let number = inner.n_pushed;
        let pending = Pending { value: entry.value, expires, number };
        let is_first = inner.waiting.is_empty() && !inner.is_busy;
        match inner.waiting.get_mut(&key) {
            // It keeps the place, and so the number, of the one before it.
            Some(waiting) => {
                let pending = Pending { number: waiting.number, ..pending };
                dropped = Some(std::mem::replace(waiting, pending));
            }
            None => {
                if inner.waiting.len() >= self.max_queued {
                    dropped = inner.pop_oldest().map(|(_, pending)| pending);
                    self.dropped.fetch_add(u64::from(dropped.is_some()), Ordering::Relaxed);
                }
                inner.order.push_back((key, number));
                inner.waiting.insert(key, pending);
            }
        }
        self.publish(&inner);
        drop(inner);
        drop(dropped);
        if is_first {
            self.work.notify_one();
        }
    }

    /// What is to be written under the key, if anything is.
    pub(super) fn get(&self, key: &Key) -> Queued<V> {
        if self.n_readable.load(Ordering::Acquire) == 0 {
            return Queued::Nothing;
        }
        let inner = self.lock();
        let Some(pending) = inner.waiting.get(key).or_else(|| inner.writing.get(key)) else {
            return Queued::Nothing;
        };
        match pending.expires.saturating_sub(self.clock.coarse_nanos()) {
            0 => Queued::Expired,
            left => Queued::Entry(Entry { value: pending.value.clone(), ttl: Duration::from_nanos(left) }),
        }
    }

    /// Cancels what waits and has the tier forget; the receiver gets the tier's answer.
    pub(super) fn forget(&self, what: Forget) -> oneshot::Receiver<Result<(), CacheError>> {
        let (told, answer) = oneshot::channel();
        let mut inner = self.lock();
        match what {
            Forget::Key(key) => {
                inner.waiting.remove(&key);
                inner.writing.remove(&key);
            }
            Forget::All => {
                inner.waiting.clear();
                inner.order.clear();
                inner.writing.clear();
            }
        }
        if inner.is_closed {
            let _ = told.send(Err(CacheError::new(CacheErrorKind::Unavailable, "the cache has been closed")));
        } else {
            inner.forgets.push_back((what, told));
        }
        self.publish(&inner);
        drop(inner);
        self.work.notify_one();
        answer
    }

    /// Waits until nothing is left to do.
    pub(super) async fn drained(&self) {
        loop {
            let idle = self.idle.notified();
            if self.lock().is_idle() {
                return;
            }
            idle.await;
        }
    }

    pub(super) fn tier(&self) -> &Arc<dyn CacheTier<V>> {
        &self.tier
    }

    /// How many writes wait or are under way, and how many have been given up.
    pub(super) fn counts(&self) -> (u64, u64) {
        let inner = self.lock();
        let depth = inner.waiting.len() + inner.writing.len();
        (depth as u64, self.dropped.load(Ordering::Relaxed))
    }

    async fn run(self: Arc<Self>) {
        loop {
            match self.next() {
                Work::Wait => self.work.notified().await,
                Work::End => return self.idle.notify_waiters(),
                Work::Forget(what, told) => {
                    let result = self.tier.forget(what).await;
                    // OK to ignore: whoever asked may have gone.
                    let _ = told.send(result);
                    self.done();
                }
                Work::Write(batch) => {
                    let writes = batch.into_iter().map(|(key, entry)| self.tier.put(key, entry));
                    let failures: Vec<CacheError> =
                        join_all(writes).await.into_iter().filter_map(Result::err).collect();
                    if let Some(error) = failures.first() {
                        tracing::debug!(%error, n_dropped = failures.len(), "entries were not written");
                        self.dropped.fetch_add(failures.len() as u64, Ordering::Relaxed);
                    }
                    self.done();
                }
            }
        }
    }

    fn next(&self) -> Work<V> {
        let now = self.clock.coarse_nanos();
        let mut inner = self.lock();
        if let Some((what, told)) = inner.forgets.pop_front() {
            inner.is_busy = true;
            return Work::Forget(what, told);
        }
        let mut batch = Vec::new();
        while batch.len() < BATCH
            && let Some((key, pending)) = inner.pop_oldest()
        {
            // Without any time left it still takes the place of what the tier holds: by dropping that.
            let left = Duration::from_nanos(pending.expires.saturating_sub(now));
            batch.push((key, Entry { value: pending.value.clone(), ttl: left }));
            inner.writing.insert(key, pending);
        }
        self.publish(&inner);
        if !batch.is_empty() {
            inner.is_busy = true;
            return Work::Write(batch);
        }
        let is_closed = inner.is_closed;
        drop(inner);
        self.idle.notify_waiters();
        if is_closed { Work::End } else { Work::Wait }
    }

    fn done(&self) {
        let mut inner = self.lock();
        inner.is_busy = false;
        let written = std::mem::take(&mut inner.writing);
        self.publish(&inner);
        drop(inner);
        drop(written);
    }

    fn publish(&self, inner: &Inner<V>) {
        self.n_readable.store(inner.waiting.len() + inner.writing.len(), Ordering::Release);
    }
}

impl<V> Queue<V> {
    /// Takes nothing more; the task ends when it has done what is there.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.work.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner<V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Inner<V> {
    /// The write that has waited longest, passing over those that were cancelled.
    fn pop_oldest(&mut self) -> Option<(Key, Pending<V>)> {
        while let Some((key, number)) = self.order.pop_front() {
            if self.waiting.get(&key).is_some_and(|pending| pending.number == number) {
                return self.waiting.remove(&key).map(|pending| (key, pending));
            }
        }
        None
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.forgets.is_empty() && !self.is_busy
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
