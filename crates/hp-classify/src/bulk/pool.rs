//! Works on items with several threads and delivers the results in the items' order.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, anyhow};

/// How much may be under way at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Threads that work, besides the one that reads and the one that delivers.
    pub(super) n_threads: usize,
    /// The sum of the costs of all items that are read and not yet delivered; one item of a higher cost goes alone.
    pub(super) budget: u64,
}

/// An item on its way to a worker, and where its result goes.
type Job<T, R> = (T, SyncSender<R>);

/// Reads `items`, works on them with several threads, and delivers the results one by one in the items' order.
///
/// # Errors
/// The first error of `items` or `deliver`; results of the items before a bad one have been delivered.
pub(super) fn in_order<T: Send, R: Send>(
    limits: Limits,
    items: impl Iterator<Item = anyhow::Result<T>> + Send,
    cost: impl Fn(&T) -> u64 + Send,
    work: impl Fn(T) -> R + Sync,
    mut deliver: impl FnMut(R) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let budget = Arc::new(Budget::new(limits.budget));
    let work = &work;
    thread::scope(|scope| {
        let (jobs, queue) = mpsc::sync_channel::<Job<T, R>>(limits.n_threads);
        // The queue belongs to the workers alone, so that sending fails when none is left.
        let queue = Arc::new(Mutex::new(queue));
        let mut workers = Vec::with_capacity(limits.n_threads);
        for _ in 0..limits.n_threads {
            let queue = queue.clone();
            let worker = thread::Builder::new()
                .name("bulk-worker".to_owned())
                .spawn_scoped(scope, move || while serve(&queue, work) {})
                .context("cannot start a worker thread; try a smaller --concurrency")?;
            workers.push(worker);
        }
        drop(queue);

        let (order, slots) = mpsc::sync_channel(4 * limits.n_threads);
        let reader = thread::Builder::new()
            .name("bulk-reader".to_owned())
            .spawn_scoped(scope, move || {
                for item in items {
                    let item = item?;
                    let permit = budget.acquire(cost(&item));
                    let (result, slot) = mpsc::sync_channel(1);
                    // Nobody listens when delivering has failed, which is reported there.
                    if order.send((slot, permit)).is_err() || jobs.send((item, result)).is_err() {
                        break;
                    }
                }
                Ok(())
            })
            .context("cannot start the reading thread")?;

        let delivered = deliver_all(&slots, &mut deliver);
        drop(slots);
        let read = reader.join().unwrap_or_else(|_| Err(anyhow!("the reading thread stopped")));
        for worker in workers {
            // A worker that panicked has left a result open, which is reported by now.
            drop(worker.join());
        }
        delivered.and(read)
    })
}

/// Does one job; false when there will be no more.
fn serve<T, R>(queue: &Mutex<Receiver<Job<T, R>>>, work: impl Fn(T) -> R) -> bool {
    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
    let Ok((item, result)) = job else { return false };
    // Nobody listens when delivering has failed.
    drop(result.send(work(item)));
    true
}

fn deliver_all<R>(
    slots: &Receiver<(Receiver<R>, Permit)>,
    mut deliver: impl FnMut(R) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for (slot, _permit) in slots {
        deliver(slot.recv().map_err(|_| anyhow!("a worker thread stopped"))?)?;
    }
    Ok(())
}

/// A sum that is handed out in parts.
#[derive(Debug)]
struct Budget {
    total: u64,
    free: Mutex<u64>,
    returned: Condvar,
}

impl Budget {
    fn new(total: u64) -> Self {
        Self { total, free: Mutex::new(total), returned: Condvar::new() }
    }

    /// Waits until `cost`, or the whole, is free.
    fn acquire(self: &Arc<Self>, cost: u64) -> Permit {
        let cost = cost.min(self.total);
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = self.returned.wait_while(free, |free| *free < cost);
        *enough.unwrap_or_else(PoisonError::into_inner) -= cost;
        Permit { budget: self.clone(), cost }
    }
}

/// A part of a [`Budget`], given back when dropped.
#[derive(Debug)]
struct Permit {
    budget: Arc<Budget>,
    cost: u64,
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.budget.free.lock().unwrap_or_else(PoisonError::into_inner) += self.cost;
        self.budget.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use anyhow::bail;

    use super::{Limits, in_order};

    fn squares(
        limits: Limits,
        items: impl Iterator<Item = anyhow::Result<u64>> + Send,
    ) -> (Vec<u64>, anyhow::Result<()>) {
        let mut results = Vec::new();
        let outcome = in_order(
            limits,
            items,
            |&item| item,
            |item| item * item,
            |result| {
                results.push(result);
                Ok(())
            },
        );
        (results, outcome)
    }

    #[test]
    fn order_is_kept() {
        let expected: Vec<u64> = (0..2000).map(|item| item * item).collect();
        for n_threads in [1, 2, 7] {
            for budget in [1, 3000, u64::MAX] {
                let (results, outcome) = squares(Limits { n_threads, budget }, (0..2000).map(Ok));
                outcome.unwrap();
                assert_eq!(results, expected);
            }
        }
    }

    #[test]
    fn the_budget_bounds_what_is_under_way() {
        let under_way = AtomicU64::new(0);
        let most = AtomicU64::new(0);
        let work = |item: u64| {
            most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            item
        };
        let deliver = |_| {
            under_way.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        };
        in_order(Limits { n_threads: 4, budget: 10 }, (0..500).map(Ok), |_| 5, work, deliver).unwrap();
        assert!(most.load(Ordering::SeqCst) <= 2, "{most:?}");
    }

    #[test]
    fn errors_end_it_and_what_came_before_is_delivered() {
        let limits = Limits { n_threads: 3, budget: 100 };
        let items = (0..).map(|item| if item == 57 { bail!("unreadable") } else { Ok(item) });
        let (results, outcome) = squares(limits, items);
        assert_eq!((results.len(), outcome.unwrap_err().to_string()), (57, "unreadable".to_owned()));

        let full = |item| if item == 30 { bail!("full") } else { Ok(()) };
        let outcome = in_order(limits, (0..).map(Ok), |_| 10, |item| item, full);
        assert_eq!(outcome.unwrap_err().to_string(), "full");
    }

    #[test]
    fn a_panicking_worker_is_an_error() {
        for n_threads in [1, 3] {
            let work = |item: u64| assert!(item != 20, "for the test");
            let outcome =
                in_order(Limits { n_threads, budget: 100 }, (0..).map(Ok), |_| 1, work, |()| Ok(()));
            assert_eq!(outcome.unwrap_err().to_string(), "a worker thread stopped");
        }
    }
}
