//! Budgets in a file and on a server.

use std::time::{Duration, Instant};

mod calls;
mod local;
mod processes;
#[cfg(feature = "remote")]
mod remote;
#[cfg(feature = "remote")]
mod server;

/// The longest any condition is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until a condition holds, without holding up the other tasks.
async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "in vain was it waited until {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
