//! Warming: working values out before anybody asks, without being in anybody's way.

use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, join_all, select};
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

/// How fast to warm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WarmOptions {
    /// How many items are worked on at once, from 1. Default: 2.
    pub concurrency: usize,
    /// How many items are begun in a second, above 0; infinity for as many as can be. Default: 50.
    pub per_second: f64,
}

impl Default for WarmOptions {
    fn default() -> Self {
        Self { concurrency: 2, per_second: 50.0 }
    }
}

/// What became of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warmed {
    /// Its value was worked out and put into the cache.
    Warmed,
    /// Its value was there already.
    Skipped,
}

/// What became of all items so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct WarmReport {
    /// Items there are to warm.
    pub total: u64,
    /// Items whose value was worked out.
    pub warmed: u64,
    /// Items whose value was there already.
    pub skipped: u64,
    /// Items that failed.
    pub failed: u64,
    /// Whether it was cancelled before all items had their turn.
    pub cancelled: bool,
}

/// Works on all items, no more at once and no faster than the options say, and tells `progress` after each.
///
/// When `cancelled` ends, no further item is begun and those under way are dropped. An item that fails is counted, logged
/// at debug level, and does not keep the others from their turn.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::future::pending;
/// use cache_tiers::{WarmOptions, Warmed, warm};
///
/// let options = WarmOptions { per_second: f64::INFINITY, ..WarmOptions::default() };
/// let report = warm(
///     vec![1, 2, 3],
///     &options,
///     async |number| if number == 2 { Err("two") } else { Ok(Warmed::Warmed) },
///     |_| {},
///     pending(),
/// )
/// .await;
/// assert_eq!((report.warmed, report.failed, report.cancelled), (2, 1, false));
/// # }
/// ```
pub async fn warm<T, E, F>(
    items: Vec<T>,
    options: &WarmOptions,
    work: impl Fn(T) -> F,
    progress: impl Fn(&WarmReport),
    cancelled: impl Future<Output = ()>,
) -> WarmReport
where
    E: Debug,
    F: Future<Output = Result<Warmed, E>>,
{
    let report = Mutex::new(WarmReport { total: items.len() as u64, ..WarmReport::default() });
    let items = Mutex::new((items.into_iter(), Pace::new(options.per_second)));
    let next = || {
        let mut items = items.lock().unwrap_or_else(PoisonError::into_inner);
        let item = items.0.next()?;
        Some((item, items.1.next()))
    };
    let count = |result: Result<Warmed, E>| {
        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(Warmed::Warmed) => report.warmed += 1,
            Ok(Warmed::Skipped) => report.skipped += 1,
            Err(error) => {
                report.failed += 1;
                tracing::debug!(?error, "an item was not warmed");
            }
        }
        progress(&report);
    };
    let workers = (0..options.concurrency.max(1)).map(|_| async {
        while let Some((item, turn)) = next() {
            sleep_until(turn).await;
            count(work(item).await);
        }
    });
    let (all, cancelled) = (pin!(join_all(workers)), pin!(cancelled));
    let cancelled = matches!(select(all, cancelled).await, Either::Right(_));
    WarmReport { cancelled, ..*report.lock().unwrap_or_else(PoisonError::into_inner) }
}

/// When each item may begin.
struct Pace {
    next: Instant,
    interval: Duration,
}

impl Pace {
    fn new(per_second: f64) -> Self {
        let interval = if per_second > 0.0 { (1.0 / per_second).min(3600.0) } else { 3600.0 };
        Self { next: Instant::now(), interval: Duration::from_secs_f64(interval) }
    }

    /// Time that was not used is not made up for, so that there are no bursts.
    fn next(&mut self) -> Instant {
        let turn = self.next.max(Instant::now());
        self.next = turn + self.interval;
        turn
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::future::{pending, ready};

    use super::*;

    fn unhurried() -> WarmOptions {
        WarmOptions { concurrency: 3, per_second: f64::INFINITY }
    }

    #[tokio::test]
    async fn no_more_are_under_way_than_may_be() {
        let (running, most) = (Cell::new(0), Cell::new(0));
        let work = async |_: u32| {
            running.set(running.get() + 1);
            most.set(most.get().max(running.get()));
            tokio::task::yield_now().await;
            running.set(running.get() - 1);
            Ok::<_, ()>(Warmed::Warmed)
        };
        let report = warm((0..20).collect(), &unhurried(), work, |_| {}, pending()).await;
        assert_eq!((report.warmed, most.get()), (20, 3));
    }

    #[tokio::test]
    async fn cancelling_counts_what_was_done() {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let stop = Cell::new(Some(stop));
        let work = async |number: u32| {
            if number == 3 {
                stop.take().unwrap().send(()).unwrap();
                pending::<()>().await;
            }
            Ok::<_, ()>(if number == 0 { Warmed::Skipped } else { Warmed::Warmed })
        };
        let options = WarmOptions { concurrency: 1, ..unhurried() };
        let cancelled = async move { drop(stopped.await) };
        let report = warm((0..9).collect(), &options, work, |_| {}, cancelled).await;
        let expected = WarmReport { total: 9, warmed: 2, skipped: 1, failed: 0, cancelled: true };
        assert_eq!(report, expected);
    }

    #[tokio::test]
    async fn items_begin_no_faster_than_the_rate() {
        let started = Instant::now();
        let options = WarmOptions { concurrency: 8, per_second: 500.0 };
        let last = Cell::new(Duration::ZERO);
        let work = |_: u32| {
            last.set(started.elapsed());
            ready(Ok::<_, ()>(Warmed::Warmed))
        };
        warm((0..21).collect(), &options, work, |_| {}, pending()).await;
        assert!(last.get() >= Duration::from_millis(40), "21 items at 500 a second took {:?}", last.get());
    }

    #[tokio::test]
    async fn progress_is_told_after_each() {
        let seen = RefCell::new(Vec::new());
        let work = |number: u32| ready(if number == 1 { Err("one") } else { Ok(Warmed::Warmed) });
        let options = WarmOptions { concurrency: 1, ..unhurried() };
        warm(
            vec![0, 1, 2],
            &options,
            work,
            |report| seen.borrow_mut().push((report.warmed, report.failed)),
            pending(),
        )
        .await;
        assert_eq!(seen.into_inner(), [(1, 0), (1, 1), (2, 1)]);
    }
}
