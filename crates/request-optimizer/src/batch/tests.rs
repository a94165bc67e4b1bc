//! Batches through a gate: each call says that it has begun, and waits to be told how to end.

mod deadlines;
mod failures;
mod random;
mod slots;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use hp_base::{Clock, Deadline, ManualClock, Priority};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::lanes::PerLane;

/// How a call ends.
#[derive(Debug)]
enum Ending {
    /// Each number times ten.
    Well,
    /// The same but for one number, which fails.
    BadItem(u32),
    /// As a whole.
    Err,
    /// With one result too few.
    Short,
    Panic,
}

/// A call that has begun.
#[derive(Debug)]
struct Begun {
    items: Vec<u32>,
    end: oneshot::Sender<Ending>,
}

impl Begun {
    fn end(self, ending: Ending) {
        self.end.send(ending).unwrap();
    }
}

/// Counts the slots that are out.
#[derive(Debug)]
struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Gate {
    begun: mpsc::UnboundedSender<Begun>,
    n_slots: Arc<AtomicUsize>,
    /// One permit for each slot that may be had.
    room: Semaphore,
    asked: mpsc::UnboundedSender<Priority>,
}

#[async_trait]
impl BatchHandler<u32, u32> for Gate {
    type Slot = Slot;
    type Error = String;

    async fn ready(&self, urgency: Priority) -> Slot {
        let _ = self.asked.send(urgency);
        self.room.acquire().await.unwrap().forget();
        self.n_slots.fetch_add(1, Ordering::Relaxed);
        Slot(Arc::clone(&self.n_slots))
    }

    async fn handle(&self, _slot: Slot, batch: Vec<Arc<u32>>) -> Result<Vec<Result<u32, String>>, String> {
        let (end, ending) = oneshot::channel();
        let items = batch.iter().map(|item| **item).collect();
        self.begun.send(Begun { items, end }).map_err(|_| "nobody looks")?;
        let results = batch.iter().map(|item| **item * 10);
        match ending.await.map_err(|_| "nobody ends it")? {
            Ending::Well => Ok(results.map(Ok).collect()),
            Ending::BadItem(bad) => {
                Ok(results.map(|n| if n == bad * 10 { Err("bad".to_owned()) } else { Ok(n) }).collect())
            }
            Ending::Err => Err("all bad".to_owned()),
            Ending::Short => Ok(results.skip(1).map(Ok).collect()),
            Ending::Panic => panic!("as asked"),
        }
    }
}

type Answer = Result<Done<u32>, BatchError<String>>;

/// A batcher at a gate, and its clock.
struct Bench {
    batcher: Arc<Batcher<u32, u32, Gate>>,
    handler: Arc<Gate>,
    clock: Arc<ManualClock>,
    calls: mpsc::UnboundedReceiver<Begun>,
    asked: mpsc::UnboundedReceiver<Priority>,
}

impl Bench {
    fn new(config: BatcherConfig) -> Self {
        Self::with_room(config, Semaphore::MAX_PERMITS)
    }

    fn with_room(config: BatcherConfig, room: usize) -> Self {
        let (begun, calls) = mpsc::unbounded_channel();
        let (asked_sender, asked) = mpsc::unbounded_channel();
        let clock = Arc::new(ManualClock::new());
        let n_slots = Arc::default();
        let handler = Arc::new(Gate { begun, n_slots, room: Semaphore::new(room), asked: asked_sender });
        let batcher = Batcher::new(Arc::clone(&handler), config, Arc::clone(&clock) as Arc<dyn Clock>);
        Self { batcher: Arc::new(batcher), handler, clock, calls, asked }
    }

    fn submit(&self, item: u32) -> JoinHandle<Answer> {
        self.submit_on(item, Terms::default())
    }

    fn submit_on(&self, item: u32, terms: Terms) -> JoinHandle<Answer> {
        let batcher = Arc::clone(&self.batcher);
        tokio::spawn(async move { batcher.submit(item, terms).await })
    }

    /// Terms of an urgency, and of a deadline in so many milliseconds.
    fn terms(&self, urgency: Priority, due_in: Option<u64>) -> Terms {
        let deadline =
            due_in.map_or(Deadline::never(), |due| Deadline::after(&*self.clock, Duration::from_millis(due)));
        Terms { urgency: urgency.into(), deadline, ..Terms::default() }
    }

    async fn call(&mut self) -> Begun {
        self.calls.recv().await.unwrap()
    }

    /// The next call, which must be for these items.
    #[track_caller]
    fn call_of(&mut self, items: &[u32]) -> impl Future<Output = Begun> {
        let caller = std::panic::Location::caller();
        async move {
            let begun = self.call().await;
            assert_eq!(begun.items, items, "at {caller}");
            begun
        }
    }

    /// Lets everything happen that can happen without time or another call's end.
    async fn settled(&mut self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    async fn no_call(&mut self) {
        self.settled().await;
        assert!(self.calls.try_recv().is_err());
    }

    /// Nothing waits, nothing is under way, and no slot is out.
    async fn is_clean(&self) {
        self.batcher.close().await;
        let stats = self.batcher.stats();
        assert_eq!((stats.n_in_flight, stats.n_waiting), (0, PerLane::default()));
        assert_eq!(self.handler.n_slots.load(Ordering::Relaxed), 0);
    }
}

fn one_slot() -> BatcherConfig {
    BatcherConfig { max_in_flight: 1, ..BatcherConfig::default() }
}
