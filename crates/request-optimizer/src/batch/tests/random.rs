//! Submits, drops and failures at random, on several threads.

use std::task::Poll;

use proptest::prelude::*;

use super::*;
use crate::lanes::LanesConfig;

/// Fails and panics at some numbers; gives each number back, after some turns of the runtime.
#[derive(Debug)]
struct Moody {
    n_slots: Arc<AtomicUsize>,
}

#[async_trait]
impl BatchHandler<u32, u32> for Moody {
    type Slot = Slot;
    type Error = u32;

    async fn ready(&self, _: Priority) -> Slot {
        tokio::task::yield_now().await;
        self.n_slots.fetch_add(1, Ordering::Relaxed);
        Slot(Arc::clone(&self.n_slots))
    }

    async fn handle(&self, _slot: Slot, batch: Vec<Arc<u32>>) -> Result<Vec<Result<u32, u32>>, u32> {
        let sum: u32 = batch.iter().map(|item| **item).sum();
        for _ in 0..sum % 7 {
            tokio::task::yield_now().await;
        }
        assert_ne!(sum % 11, 3, "as asked");
        match sum % 13 {
            1 => Err(sum),
            2 => Ok(Vec::new()),
            _ => {
                Ok(batch.iter().map(|item| if **item % 5 == 4 { Err(**item) } else { Ok(**item) }).collect())
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Submit {
    urgency: usize,
    rises: bool,
    weight: u64,
    group: u64,
    alone: bool,
    /// Dropped after so many polls.
    dropped_after: Option<usize>,
    pause: usize,
    due_in: Option<u64>,
}

fn submits() -> impl Strategy<Value = Vec<Submit>> {
    let submit = (
        0..3_usize,
        any::<bool>(),
        0..5_u64,
        0..2_u64,
        any::<bool>(),
        proptest::option::weighted(0.2, 0..6_usize),
        0..3_usize,
        proptest::option::weighted(0.2, 0..10_u64),
    )
        .prop_map(|(urgency, rises, weight, group, alone, dropped_after, pause, due_in)| Submit {
            urgency,
            rises,
            weight,
            group,
            alone: alone && weight == 1,
            dropped_after,
            pause,
            due_in,
        });
    proptest::collection::vec(submit, 1..80)
}

async fn check(submits: Vec<Submit>, config: BatcherConfig) {
    let n_slots = Arc::default();
    let handler = Arc::new(Moody { n_slots: Arc::clone(&n_slots) });
    let clock = Arc::new(hp_base::SystemClock);
    let batcher = Arc::new(Batcher::new(handler, config, Arc::clone(&clock) as Arc<dyn Clock>));
    let mut tasks = Vec::new();
    for (number, submit) in (0_u32..).zip(submits) {
        for _ in 0..submit.pause {
            tokio::task::yield_now().await;
        }
        let deadline = submit
            .due_in
            .map_or(Deadline::never(), |due| Deadline::after(&*clock, Duration::from_millis(due)));
        let urgency = crate::Urgency::new(Priority::ALL[submit.urgency]);
        let terms = Terms {
            grace: Duration::ZERO,
            urgency: urgency.clone(),
            deadline,
            weight: submit.weight,
            group: submit.group,
            alone: submit.alone,
        };
        let batcher = Arc::clone(&batcher);
        tasks.push(tokio::spawn(async move {
            let mut answer = Box::pin(batcher.submit(number, terms));
            if let Poll::Ready(answer) = futures_util::poll!(&mut answer) {
                return (number, Some(answer));
            }
            if submit.rises {
                urgency.raise(Priority::High);
            }
            if let Some(n_polls) = submit.dropped_after {
                for _ in 0..n_polls {
                    if futures_util::poll!(&mut answer).is_ready() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                return (number, None);
            }
            (number, Some(answer.await))
        }));
    }
    for task in tasks {
        match task.await.unwrap() {
            (number, Some(Ok(done))) => assert_eq!(done.value, number),
            // One that fails by itself, or all of its batch if it is of one.
            (number, Some(Err(BatchError::Failed(error)))) => assert_eq!(error, number),
            (number, Some(Err(BatchError::Panicked))) => assert!(number % 11 == 3 || number % 13 == 2),
            (_, Some(Err(error))) => assert_ne!(error, BatchError::Closed),
            (_, None) => {}
        }
    }
    batcher.close().await;
    let stats = batcher.stats();
    assert_eq!((stats.n_in_flight, stats.n_waiting), (0, PerLane::default()));
    assert_eq!(n_slots.load(Ordering::Relaxed), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_submit_ends_and_nothing_leaks(
        submits in submits(),
        max_in_flight in 1..4_usize,
        max_batch_size in 1..6_usize,
        max_waiting in prop_oneof![Just(5_usize), Just(1_000)],
        is_threaded: bool,
    ) {
        let config = BatcherConfig {
            max_in_flight,
            max_batch_size,
            max_weight: 8,
            batch_timeout: Duration::from_millis(1),
            lanes: LanesConfig { max_waiting, ..LanesConfig::default() },
            ..BatcherConfig::default()
        };
        let mut builder = if is_threaded {
            tokio::runtime::Builder::new_multi_thread()
        } else {
            tokio::runtime::Builder::new_current_thread()
        };
        let runtime = builder.worker_threads(2).enable_time().build().unwrap();
        runtime.block_on(check(submits, config));
    }
}
