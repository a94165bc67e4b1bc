//! This crate alone: a service that looks things up somewhere slow, and has many who ask at once.
//!
//! `cargo run --release -p request-optimizer --example one_call_for_many`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hp_base::{Deadline, Priority, SystemClock};
use request_optimizer::{
    BatchError, BatchHandler, Batcher, BatcherConfig, CoalesceError, Coalescer, CoalescerConfig, Terms,
    Waiter,
};

/// Somewhere slow: a look-up takes 50 ms, for one or for ten.
#[derive(Debug)]
struct Catalogue;

#[async_trait]
impl BatchHandler<String, usize> for Catalogue {
    type Slot = ();
    type Error = String;

    async fn ready(&self, _urgency: Priority) {}

    async fn handle(&self, _slot: (), batch: Vec<Arc<String>>) -> Result<Vec<Result<usize, String>>, String> {
        tokio::time::sleep(Duration::from_millis(50)).await;
        println!("looked up {batch:?} in one call");
        let length =
            |name: &Arc<String>| if name.is_empty() { Err("no name".to_owned()) } else { Ok(name.len()) };
        Ok(batch.iter().map(length).collect())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let clock = Arc::new(SystemClock);
    let batcher = Arc::new(Batcher::new(Arc::new(Catalogue), BatcherConfig::default(), clock.clone()));
    let coalescer = Arc::new(Coalescer::new(CoalescerConfig::default(), clock));
    let mut asking = Vec::new();
    for name in ["glucose", "leucine", "glucose", "", "urate", "leucine", "glucose"] {
        let (batcher, coalescer) = (batcher.clone(), coalescer.clone());
        asking.push(tokio::spawn(async move {
            let deadline = Deadline::after(&SystemClock, Duration::from_secs(2));
            let waiter = Waiter { priority: Priority::Normal, deadline };
            // Equal names are looked up once, and different ones in one call.
            let found = coalescer.run(name, waiter, |urgency| async move {
                batcher.submit(name.to_owned(), Terms { urgency, deadline, ..Terms::default() }).await
            });
            match found.await {
                Ok(flown) => println!("{name:?}: {} ({:?})", flown.value.value, flown.role),
                Err(CoalesceError::Failed(BatchError::Failed(error))) => println!("{name:?}: {error}"),
                Err(error) => println!("{name:?}: {error}"),
            }
        }));
    }
    for asking in asking {
        if let Err(error) = asking.await {
            println!("a task has broken: {error}");
        }
    }
    println!("{:?}", coalescer.stats());
}
