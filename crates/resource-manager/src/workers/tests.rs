//! Tests of the worker pool, with real threads.

use std::sync::{Barrier, Mutex, mpsc};
use std::thread::ThreadId;

use futures_util::FutureExt;
use futures_util::future::join_all;
use proptest::prelude::*;

use super::*;

fn pool(max_threads: usize, max_waiting: usize) -> WorkerPool {
    WorkerPool::new(WorkerPoolConfig {
        max_threads,
        max_waiting,
        obey_cpu_quota: false,
        ..WorkerPoolConfig::default()
    })
}

/// Keeps a thread until it is dropped; says when it has begun.
fn hold(pool: &WorkerPool) -> (mpsc::Sender<()>, impl Future<Output = Result<(), WorkerError>>) {
    let (release, until) = mpsc::channel::<()>();
    let (begun, has_begun) = oneshot::channel();
    let mut run = Box::pin(pool.run(move || {
        let _ = begun.send(());
        let _ = until.recv();
    }));
    assert!(run.as_mut().now_or_never().is_none());
    assert_eq!(has_begun.blocking_recv(), Ok(()));
    (release, run)
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

#[test]
fn threads_start_on_demand_and_not_beyond_the_most() {
    let pool = pool(3, 100);
    assert_eq!(pool.n_threads(), 0);
    assert_eq!(block_on(pool.run(|| 1)), Ok(1));
    assert_eq!(pool.n_threads(), 1);
    let meeting = Arc::new(Barrier::new(3));
    let seen = Arc::new(Mutex::new(std::collections::HashSet::<ThreadId>::new()));
    let jobs = (0..9).map(|_| {
        let (meeting, seen) = (Arc::clone(&meeting), Arc::clone(&seen));
        pool.run(move || {
            seen.lock().unwrap().insert(std::thread::current().id());
            meeting.wait();
        })
    });
    assert!(block_on(join_all(jobs)).iter().all(Result::is_ok));
    assert_eq!((seen.lock().unwrap().len(), pool.n_threads()), (3, 3));
}

#[test]
fn the_quota_of_the_processor_is_obeyed_if_asked_for() {
    let config = WorkerPoolConfig { max_threads: 10_000, ..WorkerPoolConfig::default() };
    assert_eq!(WorkerPool::new(config).stats().max_threads, crate::n_cpus().get());
    assert_eq!(pool(10_000, 1).stats().max_threads, 10_000);
    assert_eq!(pool(0, 1).stats().max_threads, 1);
}

#[test]
fn idle_threads_end_and_start_again() {
    let pool = WorkerPool::new(WorkerPoolConfig {
        idle_timeout: Duration::from_millis(1),
        ..WorkerPoolConfig::default()
    });
    for round in 0..50 {
        assert_eq!(block_on(pool.run(move || round)), Ok(round));
        block_on(async {
            loop {
                let ended = pool.shared.ended.notified();
                tokio::pin!(ended);
                ended.as_mut().enable();
                if pool.n_threads() == 0 {
                    break;
                }
                ended.await;
            }
        });
    }
}

#[test]
fn too_many_are_refused_and_the_pool_goes_on() {
    let pool = pool(1, 2);
    let (release, held) = hold(&pool);
    let mut waiting: Vec<_> = (0..2).map(|n| Box::pin(pool.run(move || n))).collect();
    assert!(waiting.iter_mut().all(|run| run.as_mut().now_or_never().is_none()));
    assert_eq!(block_on(pool.run(|| 3)), Err(WorkerError::Full));
    drop(release);
    assert_eq!(block_on(join_all(waiting)), [Ok(0), Ok(1)]);
    assert_eq!(block_on(held), Ok(()));
    assert_eq!((pool.stats().n_done, pool.stats().n_refused), (3, 1));
}

#[test]
fn a_pool_at_rest_takes_as_many_as_it_has_threads_without_any_waiting() {
    let pool = pool(2, 0);
    let held: Vec<_> = (0..2).map(|_| hold(&pool)).collect();
    assert_eq!(block_on(pool.run(|| ())), Err(WorkerError::Full));
    for (release, held) in held {
        drop(release);
        assert_eq!(block_on(held), Ok(()));
    }
}

#[test]
fn a_panic_is_told_to_its_caller_alone() {
    let pool = pool(1, 10);
    assert_eq!(block_on(pool.run(|| panic!("on purpose"))), Err::<(), _>(WorkerError::Panicked));
    assert_eq!(block_on(pool.run(|| 5)), Ok(5));
    let stats = pool.stats();
    assert_eq!((stats.n_panicked, stats.n_done, stats.n_threads), (1, 1, 1));
}

#[test]
fn a_result_nobody_waits_for_may_panic_when_it_is_dropped() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let pool = pool(1, 10);
    let (release, until) = mpsc::channel::<()>();
    let mut run = Box::pin(pool.run(move || {
        let _ = until.recv();
        Bad
    }));
    assert!(run.as_mut().now_or_never().is_none());
    // The thread has it: otherwise it could not be counted as busy.
    while pool.stats().n_waiting > 0 {
        std::thread::yield_now();
    }
    drop(run);
    drop(release);
    assert_eq!(block_on(pool.run(|| 5)), Ok(5));
    assert_eq!(pool.n_threads(), 1);
}

#[test]
fn dropping_the_future_takes_a_waiting_job_out_and_frees_what_it_holds() {
    let pool = pool(1, 10);
    let (release, held) = hold(&pool);
    let owned = Arc::new(());
    let its = Arc::clone(&owned);
    let mut run = Box::pin(pool.run(move || drop(its)));
    assert!(run.as_mut().now_or_never().is_none());
    assert_eq!(pool.stats().n_waiting, 1);
    drop(run);
    assert_eq!(Arc::strong_count(&owned), 1);
    drop(release);
    assert_eq!(block_on(held), Ok(()));
    let stats = pool.stats();
    assert_eq!((stats.n_waiting, stats.n_cancelled, stats.n_done), (0, 1, 1));
}

#[test]
fn closing_refuses_what_waits_and_waits_for_what_runs() {
    let pool = pool(1, 10);
    let (release, held) = hold(&pool);
    let mut waiting = Box::pin(pool.run(|| ()));
    assert!(waiting.as_mut().now_or_never().is_none());
    let mut close = Box::pin(pool.close());
    assert!(close.as_mut().now_or_never().is_none(), "a job is under way");
    assert_eq!(block_on(waiting), Err(WorkerError::Closed));
    assert_eq!(block_on(pool.run(|| ())), Err(WorkerError::Closed));
    drop(release);
    block_on(close);
    assert_eq!((pool.n_threads(), block_on(held)), (0, Ok(())));
    block_on(pool.close());
}

#[test]
fn dropping_the_pool_waits_for_nobody_and_its_threads_end() {
    let pool = pool(2, 10);
    assert_eq!(block_on(pool.run(|| ())), Ok(()));
    let (release, until) = mpsc::channel::<()>();
    let (ended, end) = mpsc::channel::<()>();
    let mut run = Box::pin(pool.run(move || {
        let _ = until.recv();
        drop(ended);
    }));
    assert!(run.as_mut().now_or_never().is_none());
    while pool.stats().n_waiting > 0 {
        std::thread::yield_now();
    }
    drop(run);
    let shared = Arc::downgrade(&pool.shared);
    drop(pool);
    drop(release);
    assert_eq!(end.recv(), Err(mpsc::RecvError), "what runs ends by itself");
    while shared.upgrade().is_some() {
        std::thread::yield_now();
    }
}

#[test]
fn a_map_keeps_the_order_and_a_panic_spoils_one_item() {
    let pool = pool(4, 1_000);
    let results = block_on(pool.map((0..1_000).collect(), |n: u32| {
        assert_ne!(n, 517, "on purpose");
        n * 2
    }));
    for (n, result) in (0..1_000).zip(results) {
        assert_eq!(result, if n == 517 { Err(WorkerError::Panicked) } else { Ok(n * 2) });
    }
    assert_eq!((pool.stats().n_done, pool.stats().n_panicked), (999, 1));
    assert!(block_on(pool.map(Vec::<u32>::new(), |n| n)).is_empty());
}

proptest! {
    #[test]
    fn a_map_has_a_result_for_every_item(n_items in 0..300_usize, max_threads in 1..6_usize, max_waiting in 0..30_usize) {
        let pool = pool(max_threads, max_waiting);
        let results = block_on(pool.map((0..n_items).collect(), |n| n));
        prop_assert_eq!(results.len(), n_items);
        for (n, result) in results.into_iter().enumerate() {
            prop_assert!(result == Ok(n) || result == Err(WorkerError::Full));
        }
    }
}
