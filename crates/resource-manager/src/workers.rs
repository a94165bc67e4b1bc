//! Threads for work that takes the processor, so that those of the async runtime stay free.

pub(crate) mod queue;
mod thread;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use self::queue::{Push, Queue};
use self::thread::{Counters, Job, Shared, Turn};

/// How a [`WorkerPool`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerPoolConfig {
    /// Threads at the most; 0 counts as 1. Default: 32.
    pub max_threads: usize,
    /// Never more threads than [`n_cpus`](crate::n_cpus), whatever `max_threads` says: more of them would only take
    /// turns. Default: true.
    pub obey_cpu_quota: bool,
    /// Jobs that wait for a thread, at the most; those beyond are refused. Default: 10,000.
    pub max_waiting: usize,
    /// How long a thread waits for work before it ends. Default: 30 s.
    pub idle_timeout: Duration,
}

impl Default for WorkerPoolConfig {
    fn default() -> Self {
        Self {
            max_threads: 32,
            obey_cpu_quota: true,
            max_waiting: 10_000,
            idle_timeout: Duration::from_secs(30),
        }
    }
}

/// Why a job has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// Too many jobs are waiting.
    #[error("too many jobs are waiting for a thread; try again later, or allow more to wait")]
    Full,
    /// The job panicked; the pool goes on.
    #[error("the job panicked; its message is on standard error")]
    Panicked,
    /// The pool takes no more jobs.
    #[error("the worker pool is closed; make another")]
    Closed,
    /// There is no thread, and the system gives none.
    #[error("no thread could be started; raise the limit of processes or of memory")]
    NoThread,
}

/// How a [`WorkerPool`] stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerStats {
    /// Threads at the most.
    pub max_threads: usize,
    /// Threads there are now.
    pub n_threads: usize,
    /// Of them, those that wait for work.
    pub n_idle: usize,
    /// Jobs that wait for a thread now.
    pub n_waiting: usize,
    /// Jobs that ended well.
    pub n_done: u64,
    /// Jobs that panicked.
    pub n_panicked: u64,
    /// Jobs that were refused: too many were waiting, the pool was closed, or no thread could be had.
    pub n_refused: u64,
    /// Jobs taken out before a thread had them, since nobody waited for them any more.
    pub n_cancelled: u64,
}

/// Runs work on threads of its own, which start on demand and end when they are idle.
///
/// Dropping the pool refuses what waits and lets what runs end, without waiting for it; [`close`](WorkerPool::close)
/// waits.
///
/// ```
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
/// # runtime.block_on(async {
/// use resource_manager::{WorkerPool, WorkerPoolConfig};
///
/// let pool = WorkerPool::new(WorkerPoolConfig::default());
/// assert_eq!(pool.run(|| (1..=20_u64).product::<u64>()).await, Ok(2_432_902_008_176_640_000));
/// assert_eq!(pool.map(vec![1, 2, 3], |n| n * n).await, [Ok(1), Ok(4), Ok(9)]);
/// # });
/// ```
#[derive(Debug)]
pub struct WorkerPool {
    shared: Arc<Shared>,
}

/// A job on its way; dropping it takes the job out, if no thread has it yet.
struct Pending<'a, T> {
    shared: &'a Shared,
    ticket: u64,
    result: oneshot::Receiver<Result<T, WorkerError>>,
    is_over: bool,
}

impl WorkerPool {
    /// A pool without threads yet.
    #[must_use]
    pub fn new(config: WorkerPoolConfig) -> Self {
        let most = if config.obey_cpu_quota { crate::n_cpus().get() } else { usize::MAX };
        let max_threads = config.max_threads.min(most).max(1);
        Self { shared: Arc::new(Shared::new(max_threads, config.max_waiting, config.idle_timeout)) }
    }

    /// Runs `f` on a thread of the pool. Dropping the future takes the job out unless it has begun; then it runs to its
    /// end, and its result is dropped.
    ///
    /// # Errors
    /// Those of [`WorkerError`].
    pub async fn run<T, F>(&self, f: F) -> Result<T, WorkerError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.submit(|counters| counters.catch(f))?.result().await
    }

    /// Runs `f` on every item, in chunks over all threads. The results stand in the order of the items; one that
    /// panics does not spoil its neighbours.
    pub async fn map<I, T, F>(&self, items: Vec<I>, f: F) -> Vec<Result<T, WorkerError>>
    where
        I: Send + 'static,
        T: Send + 'static,
        F: Fn(I) -> T + Send + Sync + 'static,
    {
        let f = Arc::new(f);
        let n_items = items.len();
        // Several chunks a thread, so that a slow one is made up for by the others.
        let length = n_items.div_ceil(self.shared.max_threads * 4).max(1);
        let mut items = items.into_iter();
        let mut chunks = Vec::new();
        for start in (0..n_items).step_by(length) {
            let chunk: Vec<I> = items.by_ref().take(length).collect();
            let (n_here, f) = (length.min(n_items - start), Arc::clone(&f));
            let work = move |counters: &Counters| {
                Ok(chunk.into_iter().map(|item| counters.catch(|| f(item))).collect::<Vec<_>>())
            };
            chunks.push((n_here, self.submit(work)));
        }
        let mut results = Vec::with_capacity(n_items);
        for (n_here, chunk) in chunks {
            let outcome = match chunk {
                Ok(pending) => pending.result().await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(chunk) => results.extend(chunk),
                Err(error) => results.extend((0..n_here).map(|_| Err(error))),
            }
        }
        results
    }

    /// Takes no more jobs, refuses those that wait, and waits for those under way and for the threads to end. Dropping
    /// the future stops the waiting, not the closing.
    pub async fn close(&self) {
        self.shared.close();
        loop {
            let ended = self.shared.ended.notified();
            tokio::pin!(ended);
            // Before looking, so that an end in between is not missed.
            ended.as_mut().enable();
            if self.shared.queue.counts().n_threads == 0 {
                return;
            }
            ended.await;
        }
    }

    /// Threads there are now.
    #[must_use]
    pub fn n_threads(&self) -> usize {
        self.shared.queue.counts().n_threads
    }

    /// How things stand.
    #[must_use]
    pub fn stats(&self) -> WorkerStats {
        self.shared.stats()
    }

    fn submit<T, F>(&self, work: F) -> Result<Pending<'_, T>, WorkerError>
    where
        T: Send + 'static,
        F: FnOnce(&Counters) -> Result<T, WorkerError> + Send + 'static,
    {
        let (sender, result) = oneshot::channel();
        let job: Job = Box::new(move |turn: Turn<'_>| {
            // OK if nobody listens any more: the result is dropped here.
            let _ = sender.send(match turn {
                Turn::Run(counters) => work(counters),
                Turn::Refused(error) => Err(error),
            });
        });
        let ticket = self.shared.push(job)?;
        Ok(Pending { shared: &self.shared, ticket, result, is_over: false })
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl<T> Pending<'_, T> {
    async fn result(mut self) -> Result<T, WorkerError> {
        let result = (&mut self.result).await;
        self.is_over = true;
        // OK: a job that went without a word took its thread with it.
        result.unwrap_or(Err(WorkerError::Panicked))
    }
}

impl<T> Drop for Pending<'_, T> {
    fn drop(&mut self) {
        if !self.is_over {
            self.shared.cancel(self.ticket);
        }
    }
}

#[cfg(test)]
mod tests;
