//! The end of a system: what is under way is waited for, what was put is written down, and it is said what was not.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinHandle;

use super::ClassificationSystem;

/// How long [`ClassificationSystem::close`] waits.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// What a shutdown has found and left.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ShutdownReport {
    /// Questions that were waiting or under way when it began.
    pub n_open: usize,
    /// Of those, the ones given up when the time was over; whoever asked was answered by the fallback.
    pub n_given_up: usize,
    /// Whether all answers have reached the disk and Redis.
    pub all_written: bool,
    /// How long it took, in milliseconds.
    #[serde(rename = "took_ms", serialize_with = "crate::types::as_milliseconds")]
    pub took: Duration,
}

impl ClassificationSystem {
    /// [`shutdown`](Self::shutdown) within two seconds, and a line in the log where something was left.
    pub async fn close(&self) {
        let report = self.shutdown(CLOSE_WITHIN).await;
        if report.n_given_up > 0 {
            tracing::warn!(n = report.n_given_up, "questions were under way and are given up");
        }
        if !report.all_written {
            tracing::warn!("some answers were not written to the disk or to Redis in time");
        }
    }

    /// Asks the classifier nothing more and waits until what is under way is answered, for so long at the most; writes
    /// down what is asked most and what was spent; waits until the tiers below memory have what was put; ends the work
    /// in the background and its threads' tasks.
    ///
    /// It may be called again, and from several tasks. Afterwards questions are answered by memory and by the classifier that
    /// answers at once, marked as degraded where another should have.
    pub async fn shutdown(&self, within: Duration) -> ShutdownReport {
        let started = Instant::now();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.iter().for_each(JoinHandle::abort);
        for task in tasks {
            // OK to ignore: it was aborted.
            let _ = task.await;
        }
        self.means.stop();
        let gate = &self.engine.gate;
        let n_open = gate.n_open();
        let drained = async {
            let drained = tokio::time::timeout(within, gate.close()).await;
            if drained.is_ok() { 0 } else { gate.n_open() }
        };
        let n_given_up = if n_open > 0 { self.within(drained).await } else { 0 };
        gate.shut();
        let closed = async {
            self.engine.keep_asked().await;
            self.llm.close().await;
            let all_written = self.engine.cache.close().await;
            self.lower.close().await;
            all_written
        };
        let all_written = self.within(closed).await;
        self.means.close().await;
        ShutdownReport { n_open, n_given_up, all_written, took: started.elapsed() }
    }
}

impl ClassificationSystem {
    /// Tasks on the threads of the system that have not ended.
    #[doc(hidden)]
    #[must_use]
    pub fn n_tasks(&self) -> usize {
        let threads = [self.background.get(), self.alarms.get()];
        threads.into_iter().flatten().map(|thread| thread.handle().metrics().num_alive_tasks()).sum()
    }
}
