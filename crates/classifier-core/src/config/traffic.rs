//! Configuration of what shapes traffic: coalescing, batching, workers, buffers, probes, advice.

use std::time::Duration;

/// Doing less for the same questions.
#[derive(Debug, Clone, PartialEq)]
pub struct TrafficConfig {
    /// Whether questions that wait for a language model share calls. Default: yes.
    pub batching: bool,
    /// Questions of a call at the most. Default: 10.
    pub max_batch_size: usize,
    /// How long a question waits before the slot that is kept for batches is opened for it. Default: 50 ms.
    pub batch_timeout: Duration,
    /// Whether equal questions at the same time are answered by one computation. Default: yes.
    pub deduplication: bool,
    /// How long after its computation an answer is given to equal questions, whatever the caches keep. Default: 1 s.
    pub dedup_window: Duration,
    /// Questions that wait for the classifier at the most. Default: 1,000.
    pub max_waiting: usize,
}

impl Default for TrafficConfig {
    fn default() -> Self {
        Self {
            batching: true,
            max_batch_size: 10,
            batch_timeout: Duration::from_millis(50),
            deduplication: true,
            dedup_window: Duration::from_secs(1),
            max_waiting: 1_000,
        }
    }
}

/// Living within one's means.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceConfig {
    /// Whether large buffers are used again. Default: yes.
    pub memory_pooling: bool,
    /// What buffers that wait to be used again may take, in bytes. Default: 100 MiB.
    pub memory_pool_bytes: usize,
    /// Whether there are never more worker threads than the machine and its control group give processors.
    /// Default: yes.
    pub cpu_optimization: bool,
    /// Threads for work that takes long at the most. Default: 32.
    pub max_worker_threads: usize,
    /// Whether it is worked out how many replicas there should be. Default: yes.
    pub auto_scaling: bool,
    /// From this utilisation on more replicas are advised; in (0, 1]. Default: 0.8.
    pub scale_up_threshold: f64,
    /// Up to this utilisation fewer replicas are advised; in [0, 1). Default: 0.3.
    pub scale_down_threshold: f64,
    /// How often processor, memory and files are looked at. Default: 5 s.
    pub monitoring_interval: Duration,
    /// Questions a second that are to be answered. Default: 100.
    pub target_throughput: f64,
}

impl Default for ResourceConfig {
    fn default() -> Self {
        Self {
            memory_pooling: true,
            memory_pool_bytes: 100 << 20,
            cpu_optimization: true,
            max_worker_threads: 32,
            auto_scaling: true,
            scale_up_threshold: 0.8,
            scale_down_threshold: 0.3,
            monitoring_interval: Duration::from_secs(5),
            target_throughput: 100.0,
        }
    }
}
