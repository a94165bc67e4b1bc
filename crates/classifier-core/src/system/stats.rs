//! What a system has done so far and how it is, in one look.

use cache_tiers::CacheStats;
use request_optimizer::PerLane;
use serde::Serialize;

use super::ClassificationSystem;
use super::counts::{RequestStats, ResponseTimes};
use super::gate::Gate;

/// What a system has done so far and how it is.
#[derive(Debug, Clone, Serialize)]
pub struct SystemStats {
    /// What has become of the requests.
    pub requests: RequestStats,
    /// How long answers took.
    pub response_times: ResponseTimes,
    /// What the caches have done.
    pub cache: CacheStats,
    /// Equal questions at the same time.
    pub coalescing: CoalescingStats,
    /// Questions on their way to a classifier that takes its time.
    pub gate: GateStats,
    /// What has become of the questions put to a language model, where there is one.
    #[cfg(feature = "llm")]
    pub llm: Option<crate::llm::LlmStats>,
    /// Processor, memory, files, threads and buffers.
    pub resources: ResourceStats,
}

/// Equal questions at the same time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CoalescingStats {
    /// Computations begun.
    pub n_led: u64,
    /// Questions answered by the computation of another.
    pub n_joined: u64,
    /// Questions answered by one that had just ended.
    pub n_repeated: u64,
    /// Computations taken over because whoever began them went away.
    pub n_handed_over: u64,
    /// Computations under way now.
    pub n_in_flight: usize,
    /// Questions that wait for the computation of another now.
    pub n_waiting: usize,
}

/// Questions on their way to a classifier that takes its time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct GateStats {
    /// Questions that came.
    pub n_questions: u64,
    /// Calls made.
    pub n_calls: u64,
    /// Questions that shared a call.
    pub n_batched: u64,
    /// Calls that failed as a whole, so that their questions were asked one by one.
    pub n_fallen_apart: u64,
    /// Questions turned away for want of room, or for more urgent ones.
    pub n_full: u64,
    /// Questions turned away because they could not be answered in time.
    pub n_late: u64,
    /// Questions that wait now, by urgency.
    pub n_waiting: WaitingCounts,
    /// Calls under way now.
    pub n_in_flight: usize,
    /// Calls that may be under way at once now.
    pub limit: usize,
    /// The most that may be, whatever the limit finds.
    pub ceiling: usize,
    /// Questions that may share a call now.
    pub max_batch_size: usize,
    /// How long a call takes, in milliseconds: three in four are faster. Null before there was one.
    pub call_p75_ms: Option<f64>,
}

/// Questions that wait, by urgency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct WaitingCounts {
    /// The urgent.
    pub high: usize,
    /// Those as usual.
    pub normal: usize,
    /// Those that can wait.
    pub low: usize,
}

/// Processor, memory, files, threads and buffers.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ResourceStats {
    /// Processor cores the process keeps busy.
    pub process_cpu_cores: Option<f64>,
    /// Processor cores it may keep busy.
    pub cpu_quota_cores: Option<f64>,
    /// Of those, the share that is busy; in [0, 1] but for the error of measuring.
    pub cpu_share: Option<f64>,
    /// The share of time in which the control group was held back; in [0, 1].
    pub throttled_share: Option<f64>,
    /// Memory of the process in bytes.
    pub process_memory_bytes: Option<u64>,
    /// Memory there is for it in bytes: the control group's limit, or the machine's memory.
    pub memory_limit_bytes: Option<u64>,
    /// The share of it that is in use; in [0, 1].
    pub memory_share: Option<f64>,
    /// Files, sockets and the like that are open.
    pub n_open_files: Option<u64>,
    /// The most that may be.
    pub open_files_limit: Option<u64>,
    /// How long a task that is ready waits for its turn, in milliseconds.
    pub loop_lag_ms: Option<f64>,
    /// Looks taken at all of that.
    pub n_samples: u64,
    /// Whether memory is short.
    pub memory_pressure: bool,
    /// Whether processors are.
    pub cpu_pressure: bool,
    /// How often memory has become short.
    pub n_memory_pressures: u64,
    /// How often processors have.
    pub n_cpu_pressures: u64,
    /// Worker threads now.
    pub n_worker_threads: usize,
    /// The most there may be.
    pub max_worker_threads: usize,
    /// Jobs they have done.
    pub n_jobs: u64,
    /// Buffers used again.
    pub n_buffers_reused: u64,
    /// Buffers asked of the system.
    pub n_buffers_allocated: u64,
    /// Bytes of buffers that wait to be used again.
    pub buffer_bytes_kept: u64,
    /// The most that may wait.
    pub buffer_bytes_most: u64,
    /// How many replicas there should be, once there has been a look.
    pub scaling: Option<ScalingStats>,
}

/// How many replicas there should be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScalingStats {
    /// `scale_up`, `scale_down` or `steady`.
    pub action: &'static str,
    /// How many replicas there should be for each there is, if they are all like this one: 1.5 is six in place of four.
    pub factor: f64,
    /// Why, in words and numbers.
    pub reason: String,
    /// For how many seconds this has been the advice.
    pub for_seconds: f64,
}

impl SystemStats {
    /// Whether nobody waits for a classifier and nothing is under way to it.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let WaitingCounts { high, normal, low } = self.gate.n_waiting;
        high + normal + low + self.gate.n_in_flight + self.coalescing.n_in_flight + self.coalescing.n_waiting
            == 0
    }
}

impl ClassificationSystem {
    /// What the system has done so far and how it is. Cheap enough for every scrape, not for every request.
    #[must_use]
    pub fn stats(&self) -> SystemStats {
        let coalescer = self.engine.coalescer.stats();
        SystemStats {
            requests: self.counts.requests(),
            response_times: self.counts.response_times(),
            cache: self.cache_stats(),
            coalescing: CoalescingStats {
                n_led: coalescer.n_led,
                n_joined: coalescer.n_joined,
                n_repeated: coalescer.n_repeated,
                n_handed_over: coalescer.n_handed_over,
                n_in_flight: coalescer.n_in_flight,
                n_waiting: self.engine.n_coalescing().saturating_sub(coalescer.n_in_flight),
            },
            gate: gate(&self.engine.gate),
            #[cfg(feature = "llm")]
            llm: self.llm().map(super::LlmPath::stats),
            resources: self.means.stats(&*self.engine.clock),
        }
    }
}

fn gate(gate: &Gate) -> GateStats {
    let (batcher, admission) = (gate.stats(), gate.admission());
    let PerLane { high, normal, low } = batcher.n_waiting;
    GateStats {
        n_questions: batcher.n_items,
        n_calls: batcher.n_batches,
        n_batched: batcher.n_batched_items,
        n_fallen_apart: batcher.n_fallen_apart,
        n_full: batcher.n_refused_full + batcher.n_displaced,
        n_late: batcher.n_refused_late + batcher.n_expired,
        n_waiting: WaitingCounts { high, normal, low },
        n_in_flight: batcher.n_in_flight,
        limit: admission.limit.min(gate.max_in_flight()),
        ceiling: gate.max_in_flight(),
        max_batch_size: gate.max_batch_size(),
        call_p75_ms: (batcher.n_batches > 0).then_some(batcher.service_time.as_secs_f64() * 1e3),
    }
}
