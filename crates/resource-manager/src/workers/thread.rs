//! What the threads of a pool share, and what each of them does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{AssertUnwindSafe, Duration, Push, Queue, WorkerError, WorkerStats, catch_unwind};

/// A job: told to run, or that it will not.
pub(super) type Job = Box<dyn FnOnce(Turn<'_>) + Send>;

/// What a job is told.
pub(super) enum Turn<'a> {
    Run(&'a Counters),
    Refused(WorkerError),
}

/// How jobs ended.
#[derive(Debug, Default)]
pub(super) struct Counters {
    n_done: AtomicU64,
    n_panicked: AtomicU64,
    n_refused: AtomicU64,
    n_cancelled: AtomicU64,
}

pub(super) struct Shared {
    pub(super) max_threads: usize,
    idle_timeout: Duration,
    pub(super) queue: Queue<Job>,
    pub(super) counters: Counters,
    /// Notified by every thread that ends.
    pub(super) ended: tokio::sync::Notify,
}

impl Counters {
    /// Runs what may panic, and counts how it ended.
    pub(super) fn catch<T>(&self, f: impl FnOnce() -> T) -> Result<T, WorkerError> {
        // OK to assert: what `f` has broken is dropped with it.
        let result = catch_unwind(AssertUnwindSafe(f));
        let counter = if result.is_ok() { &self.n_done } else { &self.n_panicked };
        counter.fetch_add(1, Ordering::Relaxed);
        result.map_err(|_| WorkerError::Panicked)
    }
}

impl Shared {
    pub(super) fn new(max_threads: usize, max_waiting: usize, idle_timeout: Duration) -> Self {
        Self {
            max_threads,
            idle_timeout,
            queue: Queue::new(max_threads, max_waiting),
            counters: Counters::default(),
            ended: tokio::sync::Notify::new(),
        }
    }

    /// Queues a job and starts a thread for it where one is due.
    pub(super) fn push(self: &Arc<Self>, job: Job) -> Result<u64, WorkerError> {
        let (error, job) = match self.queue.push(job) {
            Push::Waiting { ticket, start } => {
                if start {
                    self.start_thread();
                }
                return Ok(ticket);
            }
            Push::Full(job) => (WorkerError::Full, job),
            Push::Closed(job) => (WorkerError::Closed, job),
        };
        drop(job);
        self.counters.n_refused.fetch_add(1, Ordering::Relaxed);
        Err(error)
    }

    pub(super) fn cancel(&self, ticket: u64) {
        if let Some(job) = self.queue.cancel(ticket) {
            self.counters.n_cancelled.fetch_add(1, Ordering::Relaxed);
            drop(job);
        }
    }

    pub(super) fn close(&self) {
        self.refuse(self.queue.close(), WorkerError::Closed);
    }

    pub(super) fn stats(&self) -> WorkerStats {
        let counts = self.queue.counts();
        let counters = &self.counters;
        WorkerStats {
            max_threads: self.max_threads,
            n_threads: counts.n_threads,
            n_idle: counts.n_idle,
            n_waiting: counts.n_waiting,
            n_done: counters.n_done.load(Ordering::Relaxed),
            n_panicked: counters.n_panicked.load(Ordering::Relaxed),
            n_refused: counters.n_refused.load(Ordering::Relaxed),
            n_cancelled: counters.n_cancelled.load(Ordering::Relaxed),
        }
    }

    fn start_thread(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        let started = std::thread::Builder::new().name("worker".to_owned()).spawn(move || shared.work());
        if let Err(error) = started {
            tracing::warn!(%error, "no worker thread could be started");
            self.refuse(self.queue.start_failed(), WorkerError::NoThread);
            self.ended.notify_waiters();
        }
    }

    /// The life of a thread.
    fn work(&self) {
        let mut job = self.queue.first(self.idle_timeout);
        while let Some(current) = job {
            // The result of a job that nobody waits for is dropped here, and that may panic too.
            let _ = catch_unwind(AssertUnwindSafe(|| current(Turn::Run(&self.counters))));
            job = self.queue.next(self.idle_timeout);
        }
        self.ended.notify_waiters();
    }

    fn refuse(&self, jobs: Vec<Job>, error: WorkerError) {
        for job in jobs {
            self.counters.n_refused.fetch_add(1, Ordering::Relaxed);
            job(Turn::Refused(error));
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
