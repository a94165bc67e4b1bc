//! The concurrent cores under a model checker, which tries every order in which two or three threads can meet.

#[path = "../src/workers/queue.rs"]
mod queue;
#[path = "../src/buffers/shelves.rs"]
mod shelves;

/// What the cores are built from here.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
    pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
}

use std::time::Duration;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use self::queue::{Counts, Push, Queue};
use self::shelves::{LARGEST, N_CLASSES, Shelves, capacity_of, class_for};

/// The model checker lets no time pass: a thread that waits is woken or waits for ever.
const IDLE: Duration = Duration::from_secs(1);

/// What a thread of the pool does; returns how many jobs it did.
fn work(queue: &Queue<u32>) -> usize {
    let mut n_done = 0;
    let mut job = queue.first(IDLE);
    while job.is_some() {
        n_done += 1;
        job = queue.next(IDLE);
    }
    n_done
}

/// Brings a job, and starts the thread that is due.
fn bring(queue: &Arc<Queue<u32>>, job: u32) -> Option<(u64, Option<thread::JoinHandle<usize>>)> {
    match queue.push(job) {
        Push::Waiting { ticket, start } => {
            let queue = Arc::clone(queue);
            Some((ticket, start.then(|| thread::spawn(move || work(&queue)))))
        }
        Push::Full(_) | Push::Closed(_) => None,
    }
}

/// No thread is left, and no job.
const EMPTY: Counts = Counts { n_threads: 0, n_idle: 0, n_waiting: 0 };

#[test]
fn every_job_is_done_once_whoever_brings_it() {
    loom::model(|| {
        let queue = Arc::new(Queue::new(1, 10));
        let other = Arc::clone(&queue);
        let bringer = thread::spawn(move || bring(&other, 1).unwrap().1);
        let mine = bring(&queue, 2).unwrap().1;
        let threads = [mine, bringer.join().unwrap()];
        let n_refused = queue.close().len();
        let n_done: usize = threads.into_iter().flatten().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(n_done + n_refused, 2);
        assert_eq!(queue.counts(), EMPTY);
    });
}

#[test]
fn a_thread_that_waits_is_woken_for_the_next_job() {
    loom::model(|| {
        let queue = Arc::new(Queue::new(1, 10));
        let n_done = Arc::new(AtomicUsize::new(0));
        let Push::Waiting { start: true, .. } = queue.push(1) else { panic!("a thread is due") };
        let (its, counted) = (Arc::clone(&queue), Arc::clone(&n_done));
        let thread = thread::spawn(move || {
            // Two jobs and no close: it would wait for ever if a waking were lost.
            assert_eq!(its.first(IDLE), Some(1));
            assert_eq!(its.next(IDLE), Some(2));
            counted.fetch_add(2, Ordering::Relaxed);
        });
        let Push::Waiting { start: false, .. } = queue.push(2) else { panic!("one thread is the most") };
        thread.join().unwrap();
        assert_eq!(n_done.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn a_job_is_taken_out_or_done_and_never_both() {
    loom::model(|| {
        let queue = Arc::new(Queue::new(1, 10));
        let (ticket, thread) = bring(&queue, 1).unwrap();
        let n_cancelled = usize::from(queue.cancel(ticket).is_some());
        assert!(queue.cancel(ticket).is_none());
        let n_refused = queue.close().len();
        assert_eq!(thread.unwrap().join().unwrap() + n_cancelled + n_refused, 1);
        assert_eq!(queue.counts(), EMPTY);
    });
}

#[test]
fn a_job_that_meets_the_closing_is_refused_or_done() {
    loom::model(|| {
        let queue = Arc::new(Queue::new(1, 10));
        let other = Arc::clone(&queue);
        let closer = thread::spawn(move || other.close().len());
        let brought = bring(&queue, 1);
        let n_here = usize::from(brought.is_none());
        let n_done = brought.and_then(|(_, thread)| thread).map_or(0, |thread| thread.join().unwrap());
        assert_eq!(n_here + n_done + closer.join().unwrap(), 1);
        assert_eq!(queue.counts(), EMPTY);
    });
}

#[test]
fn jobs_come_back_when_no_thread_can_be_started() {
    loom::model(|| {
        let queue = Arc::new(Queue::new(1, 0));
        let other = Arc::clone(&queue);
        // One of the two has a thread to start and cannot; the other relies on it, is refused, or has one too.
        let bringer = thread::spawn(move || lose(&other));
        let (n_refused, n_back) = lose(&queue);
        let (others_refused, others_back) = bringer.join().unwrap();
        assert_eq!(n_refused + n_back + others_refused + others_back, 2);
        assert_eq!(queue.counts(), EMPTY);
    });

    fn lose(queue: &Queue<u32>) -> (usize, usize) {
        match queue.push(1) {
            Push::Waiting { start: true, .. } => (0, queue.start_failed().len()),
            Push::Waiting { start: false, .. } => (0, 0),
            Push::Full(_) | Push::Closed(_) => (1, 0),
        }
    }
}

#[test]
fn the_bytes_kept_are_never_more_than_the_bound() {
    loom::model(|| {
        let shelves = Arc::new(Shelves::new(2, 256));
        let other = Arc::clone(&shelves);
        let thread = thread::spawn(move || {
            other.put(1, Vec::with_capacity(256));
            assert!(other.bytes_kept() <= 256);
        });
        shelves.put(0, Vec::with_capacity(256));
        assert!(shelves.bytes_kept() <= 256);
        thread.join().unwrap();
        assert_eq!(shelves.bytes_kept(), 256);
    });
}

#[test]
fn a_buffer_is_handed_to_one() {
    loom::model(|| {
        let class = class_for(200);
        let shelves = Arc::new(Shelves::new(2, LARGEST as u64));
        shelves.put(0, Vec::with_capacity(capacity_of(class.unwrap())));
        let other = Arc::clone(&shelves);
        let thread = thread::spawn(move || other.take(0, class).is_some());
        let mine = shelves.take(0, class).is_some();
        assert!(mine != thread.join().unwrap());
        assert_eq!(shelves.bytes_kept(), 0);
        assert!((0..N_CLASSES).all(|class| shelves.take(0, Some(class)).is_none()));
        let expected =
            shelves::Counts { n_reused: 1, n_allocated: 1 + N_CLASSES as u64, n_returned: 1, n_discarded: 0 };
        assert_eq!(shelves.counts(), expected);
    });
}

#[test]
fn a_lower_bound_holds_for_what_comes_back_meanwhile() {
    loom::model(|| {
        let shelves = Arc::new(Shelves::new(1, 256));
        let other = Arc::clone(&shelves);
        let thread = thread::spawn(move || other.put(0, Vec::with_capacity(256)));
        shelves.set_max_bytes(0);
        thread.join().unwrap();
        assert_eq!((shelves.bytes_kept(), shelves.max_bytes()), (0, 0));
    });
}
