//! What has become of the requests, counted on their way.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;

use crate::types::{Metadata, Source};

/// What has become of the requests so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct RequestStats {
    /// All of them.
    pub total: u64,
    /// Those that were answered, as a share of those that were questions; 1 before there was one.
    pub success_rate: f64,
    /// Refused, since they were no questions.
    pub refused: u64,
    /// Questions without an answer: only classifiers of one's own leave any.
    pub failed: u64,
    /// Answered, by what answered them.
    pub by_source: SourceCounts,
    /// Answered by something less good than should have.
    pub degraded: u64,
    /// Of those, the ones for which there was no room.
    pub shed: u64,
    /// Answered in one call with others.
    pub batched: u64,
    /// Answered by the computation of an equal question.
    pub deduplicated: u64,
}

/// Answers by their source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SourceCounts {
    /// The memory of this process.
    pub l1: u64,
    /// The disk of this machine.
    pub l2: u64,
    /// The server that replicas share.
    pub l3: u64,
    /// The embedded classifier.
    pub embedded: u64,
    /// A language model.
    pub llm: u64,
    /// The computation of an equal question.
    pub coalesced: u64,
}

impl SourceCounts {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.l1 + self.l2 + self.l3 + self.embedded + self.llm + self.coalesced
    }
}

/// How long answers took. Times are in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct ResponseTimes {
    /// The mean; 0 before there was an answer.
    pub avg_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// Answers within `target_response_time_ms`, as a share of all; 1 before there was one.
    pub target_compliance_rate: f64,
}

/// Counts without a lock; one request touches a handful of numbers.
#[derive(Debug, Default)]
pub(super) struct Counts {
    by_source: [AtomicU64; 6],
    n_refused: AtomicU64,
    n_failed: AtomicU64,
    n_degraded: AtomicU64,
    n_shed: AtomicU64,
    n_batched: AtomicU64,
    n_late: AtomicU64,
    total_nanos: AtomicU64,
    longest_nanos: AtomicU64,
}

impl Counts {
    #[inline]
    pub(super) fn answered(&self, metadata: &Metadata) {
        let source = match metadata.source {
            Source::L1 => 0,
            Source::L2 => 1,
            Source::L3 => 2,
            Source::Embedded => 3,
            Source::Llm => 4,
            Source::Coalesced => 5,
        };
        self.by_source[source].fetch_add(1, Relaxed);
        for (holds, counter) in [
            (metadata.degraded, &self.n_degraded),
            (metadata.retry_after.is_some(), &self.n_shed),
            (metadata.batched, &self.n_batched),
            (!metadata.target_met, &self.n_late),
        ] {
            if holds {
                counter.fetch_add(1, Relaxed);
            }
        }
        let nanos = nanos(metadata.response_time);
        self.total_nanos.fetch_add(nanos, Relaxed);
        if nanos > self.longest_nanos.load(Relaxed) {
            self.longest_nanos.fetch_max(nanos, Relaxed);
        }
    }

    #[cold]
    pub(super) fn refused(&self) {
        self.n_refused.fetch_add(1, Relaxed);
    }

    #[cold]
    pub(super) fn failed(&self) {
        self.n_failed.fetch_add(1, Relaxed);
    }

    pub(super) fn requests(&self) -> RequestStats {
        let [l1, l2, l3, embedded, llm, coalesced] = self.by_source();
        let answered = self.n_answered();
        let (refused, failed) = (self.n_refused.load(Relaxed), self.n_failed.load(Relaxed));
        RequestStats {
            total: answered + refused + failed,
            success_rate: share(answered, answered + failed),
            refused,
            failed,
            by_source: SourceCounts { l1, l2, l3, embedded, llm, coalesced },
            degraded: self.n_degraded.load(Relaxed),
            shed: self.n_shed.load(Relaxed),
            batched: self.n_batched.load(Relaxed),
            deduplicated: coalesced,
        }
    }

    pub(super) fn response_times(&self) -> ResponseTimes {
        let answered = self.n_answered();
        let milliseconds = |nanos: &AtomicU64| nanos.load(Relaxed) as f64 / 1e6;
        ResponseTimes {
            avg_ms: if answered == 0 { 0.0 } else { milliseconds(&self.total_nanos) / answered as f64 },
            max_ms: milliseconds(&self.longest_nanos),
            target_compliance_rate: share(answered.saturating_sub(self.n_late.load(Relaxed)), answered),
        }
    }

    fn by_source(&self) -> [u64; 6] {
        self.by_source.each_ref().map(|counter| counter.load(Relaxed))
    }

    fn n_answered(&self) -> u64 {
        self.by_source().iter().sum()
    }
}

fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 1.0 } else { part as f64 / all as f64 }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
