//! What the system lives on: threads, buffers, and a look at the machine from time to time, with what follows from it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hp_base::Clock;
use resource_manager::{
    BufferPool, Level, LogPressure, Observation, PressureConfig, PressureControl, PressureResponse,
    PressureState, ResourceMonitor, ResourceProbe, Resources, ScalingAction, ScalingAdvisor, ScalingConfig,
    ShrinkBuffers, Subscription, WorkerPool, WorkerPoolConfig,
};
use tokio::runtime::Handle;

use super::caches::Memory;
use super::counts::Counts;
use super::engine::Engine;
use super::stats::{ResourceStats, ScalingStats};
use crate::config::Config;

/// More late answers than this, as a share, and the 95th percentile of the response time is above its target.
const LATE: f64 = 0.05;
/// The share of its entries that memory keeps while it is short.
const KEPT_UNDER_PRESSURE: usize = 2;

/// A replica knows itself and none of the others; its advice is for each hundred of its kind.
const PER_HUNDRED: u32 = 100;
/// Nobody is advised more than so many times what there is.
const MOST_TIMES: u32 = 10;

/// Threads, buffers, and the look at the machine.
pub(super) struct Means {
    pub(super) workers: WorkerPool,
    pub(super) buffers: BufferPool,
    probe: Arc<dyn ResourceProbe>,
    watch: Mutex<Option<Watch>>,
    advisor: Option<Arc<Mutex<Advising>>>,
}

/// Looks at the machine until it is dropped.
struct Watch {
    // Before the monitor, which waits for those it is telling.
    _subscription: Subscription,
    monitor: ResourceMonitor,
    pressure: Arc<PressureControl>,
}

/// What advice is made of.
#[derive(Debug)]
struct Advising {
    advisor: ScalingAdvisor,
    seen: Option<Seen>,
}

/// The counts of the look before.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    n_requests: u64,
    n_not_in_time: u64,
    n_to_gate: u64,
}

impl Means {
    pub(super) fn new(config: &Config, probe: Arc<dyn ResourceProbe>) -> Self {
        let resources = &config.resources;
        let workers = WorkerPoolConfig {
            max_threads: resources.max_worker_threads,
            obey_cpu_quota: resources.cpu_optimization,
            ..WorkerPoolConfig::default()
        };
        let kept = if resources.memory_pooling { resources.memory_pool_bytes } else { 0 };
        let advisor = resources.auto_scaling.then(|| {
            let scaling = ScalingConfig {
                scale_up_threshold: resources.scale_up_threshold,
                scale_down_threshold: resources.scale_down_threshold,
                target_response_time: config.target_response_time,
                min_replicas: 1,
                max_replicas: PER_HUNDRED * MOST_TIMES,
                ..ScalingConfig::default()
            };
            Arc::new(Mutex::new(Advising { advisor: ScalingAdvisor::new(scaling), seen: None }))
        });
        Self {
            workers: WorkerPool::new(workers),
            buffers: BufferPool::new(kept as u64),
            probe,
            watch: Mutex::new(None),
            advisor,
        }
    }

    /// Looks at the machine from now on, as often as is configured.
    pub(super) fn start(
        &self,
        config: &Config,
        engine: &Arc<Engine>,
        counts: &Arc<Counts>,
        memory: Option<Memory>,
        runtime: Option<Handle>,
    ) {
        let mut watch = lock(&self.watch);
        if watch.is_some() {
            return;
        }
        let mut responses: Vec<Arc<dyn PressureResponse>> = vec![
            Arc::new(LogPressure),
            Arc::new(ShrinkBuffers::new(self.buffers.clone())),
            Arc::new(SaveCalls(engine.clone())),
        ];
        if let Some(memory) = memory {
            responses.push(Arc::new(ShrinkMemory {
                memory,
                max_entries: config.l1.max_entries,
                max_bytes: config.l1.max_bytes,
            }));
        }
        let clock = &engine.clock;
        let interval = config.resources.monitoring_interval;
        let monitor = match ResourceMonitor::start(self.probe.clone(), interval, clock.clone(), runtime) {
            Ok(monitor) => monitor,
            Err(error) => return tracing::warn!(%error, "nobody looks at processors and memory"),
        };
        let pressure = Arc::new(PressureControl::new(PressureConfig::default(), responses, clock.clone()));
        let subscription = monitor.subscribe({
            let (pressure, advisor) = (pressure.clone(), self.advisor.clone());
            let (engine, counts) = (engine.clone(), counts.clone());
            move |resources| {
                pressure.observe(resources);
                if let Some(advising) = &advisor {
                    lock(advising).observe(resources, &engine, &counts);
                }
            }
        });
        *watch = Some(Watch { _subscription: subscription, monitor, pressure });
    }

    /// Looks no more, and undoes what was done while something was short.
    pub(super) fn stop(&self) {
        drop(lock(&self.watch).take());
    }

    /// Ends the threads.
    pub(super) async fn close(&self) {
        self.workers.close().await;
    }

    pub(super) fn stats(&self, clock: &dyn Clock) -> ResourceStats {
        let (workers, buffers) = (self.workers.stats(), self.buffers.stats());
        let mut stats = ResourceStats {
            n_worker_threads: workers.n_threads,
            max_worker_threads: workers.max_threads,
            n_jobs: workers.n_done,
            n_buffers_reused: buffers.n_reused,
            n_buffers_allocated: buffers.n_allocated,
            buffer_bytes_kept: buffers.bytes_kept,
            buffer_bytes_most: buffers.max_bytes,
            ..ResourceStats::default()
        };
        if let Some(watch) = &*lock(&self.watch) {
            let (seen, pressure) = (watch.monitor.latest(), watch.pressure.stats());
            stats = ResourceStats {
                n_samples: watch.monitor.n_samples(),
                process_cpu_cores: seen.process_cpu,
                cpu_quota_cores: Some(seen.cpu_quota),
                cpu_share: seen.cpu_share_used,
                throttled_share: seen.throttled_share,
                process_memory_bytes: seen.process_memory,
                memory_limit_bytes: seen.memory_limit,
                memory_share: seen.memory_share_used,
                n_open_files: seen.n_open_files,
                open_files_limit: seen.open_files_limit,
                loop_lag_ms: seen.loop_lag.map(|lag| lag.as_secs_f64() * 1e3),
                memory_pressure: pressure.state.memory == Level::High,
                cpu_pressure: pressure.state.cpu == Level::High,
                n_memory_pressures: pressure.n_memory_high,
                n_cpu_pressures: pressure.n_cpu_high,
                ..stats
            };
        }
        stats.scaling = self.advisor.as_ref().and_then(|advising| lock(advising).stats(clock));
        stats
    }
}

impl Advising {
    /// Makes an observation of whichever is nearer to its limit: the processors, or the calls to the classifier.
    fn observe(&mut self, resources: &Resources, engine: &Engine, counts: &Counts) {
        let (requests, times, gate) = (counts.requests(), counts.response_times(), engine.gate.stats());
        let answered = requests.by_source.total();
        let late = (1.0 - times.target_compliance_rate) * answered as f64;
        let now = Seen {
            at: engine.clock.now(),
            n_requests: requests.total,
            n_not_in_time: late.round() as u64 + requests.shed,
            n_to_gate: gate.n_items,
        };
        let Some(before) = self.seen.replace(now) else { return };
        let seconds = now.at.saturating_duration_since(before.at).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let n_requests = (now.n_requests - before.n_requests) as f64;
        let not_in_time = now.n_not_in_time.saturating_sub(before.n_not_in_time) as f64;
        let is_late = not_in_time > n_requests * LATE;
        // Of the gate: questions that come, how long a call takes, and how many it has at once.
        let to_gate = (now.n_to_gate - before.n_to_gate) as f64 / seconds;
        let call = gate.service_time;
        let n_calls = engine.gate.admission().limit.min(engine.gate.max_in_flight());
        let at_once = n_calls.saturating_mul(engine.gate.max_batch_size()).max(1) as f64;
        let of_gate = to_gate * call.as_secs_f64() / at_once;
        let of_cpu = resources.cpu_share_used.unwrap_or(0.0);
        let (utilisation, arrival_rate, service_time, concurrency_per_replica) = if of_gate > of_cpu {
            (of_gate.min(1.0), to_gate, call, at_once)
        } else {
            let rate = n_requests / seconds;
            let busy = of_cpu * resources.cpu_quota;
            let service = if rate > 0.0 { busy / rate } else { 0.0 };
            (of_cpu.min(1.0), rate, std::time::Duration::from_secs_f64(service), resources.cpu_quota)
        };
        self.advisor.observe(Observation {
            now: now.at,
            n_replicas: PER_HUNDRED,
            utilisation,
            n_waiting: gate.n_waiting.high + gate.n_waiting.normal + gate.n_waiting.low,
            arrival_rate: arrival_rate * f64::from(PER_HUNDRED),
            service_time,
            concurrency_per_replica,
            p95_response_time: is_late.then_some(std::time::Duration::MAX),
        });
    }

    fn stats(&self, clock: &dyn Clock) -> Option<ScalingStats> {
        let advice = self.advisor.advice();
        let since = advice.since?;
        Some(ScalingStats {
            action: match advice.action {
                ScalingAction::ScaleUp => "scale_up",
                ScalingAction::ScaleDown => "scale_down",
                ScalingAction::Steady => "steady",
            },
            factor: f64::from(advice.n_replicas) / f64::from(PER_HUNDRED),
            reason: advice.reason.to_string(),
            for_seconds: clock.now().saturating_duration_since(since).as_secs_f64(),
        })
    }
}

/// While processors are short: fewer calls at once, and more questions in each.
#[derive(Debug)]
struct SaveCalls(Arc<Engine>);

impl PressureResponse for SaveCalls {
    fn name(&self) -> &'static str {
        "fewer_calls_larger_batches"
    }

    fn respond(&self, state: PressureState) {
        self.0.gate.save(state.cpu == Level::High);
    }
}

/// While memory is short: half of the entries in the memory tier.
#[derive(Debug)]
struct ShrinkMemory {
    memory: Memory,
    max_entries: usize,
    max_bytes: u64,
}

impl PressureResponse for ShrinkMemory {
    fn name(&self) -> &'static str {
        "shrink_memory_tier"
    }

    fn respond(&self, state: PressureState) {
        let by = if state.memory == Level::High { KEPT_UNDER_PRESSURE } else { 1 };
        self.memory.resize(self.max_entries / by, self.max_bytes / by as u64);
    }
}

impl fmt::Debug for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Means").field("workers", &self.workers).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
