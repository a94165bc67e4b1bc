//! This crate alone: a limit that finds out by itself how many calls a server takes at once.
//!
//! `cargo run --release -p resource-manager --example admission`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::time::Duration;

use hp_base::{Deadline, Priority, SystemClock};
use resource_manager::{AdaptiveAdmission, Admission, AdmissionConfig, Applicant};
use tokio::sync::Semaphore;
use tokio::time::Instant;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // A server that works on six at once; the others wait in front of it.
    let server = Arc::new(Semaphore::new(6));
    let config = AdmissionConfig { initial: 40, ..AdmissionConfig::default() };
    let admission = Arc::new(AdaptiveAdmission::new(config, Arc::new(SystemClock)));
    let until = Instant::now() + Duration::from_secs(20);
    for _ in 0..60 {
        let (server, admission) = (server.clone(), admission.clone());
        tokio::spawn(async move {
            while Instant::now() < until {
                let deadline = Deadline::after(&SystemClock, Duration::from_secs(2));
                match admission.admit(Applicant { priority: Priority::Normal, deadline }).await {
                    Ok(permit) => {
                        let working = server.acquire().await;
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        drop(working);
                        // How long it took counts.
                        permit.done();
                    }
                    Err(rejected) => {
                        let pause = rejected.retry_after().unwrap_or(Duration::from_millis(10));
                        tokio::time::sleep(pause).await;
                    }
                }
            }
        });
    }
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let stats = admission.stats();
        println!(
            "limit {}, under way {}, waiting {}, admitted {}, rejected {}",
            stats.limit,
            stats.n_in_flight,
            stats.n_waiting,
            stats.n_admitted,
            stats.n_rejected.total()
        );
    }
}
