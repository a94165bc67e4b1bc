//! Parameters of what shapes traffic.

use std::time::Duration;

use super::{Kind, Parameter, Value, boolean, integer, number};

/// In the order they are shown.
pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "enable_request_batching",
        kind: Kind::Boolean,
        about: "Whether questions that wait for a language model share calls. On, because a question in a batch of ten \
                takes a fourth of the tokens and a tenth of a call, and nobody waits while there is a free slot.",
        get: |config| Value::Boolean(config.traffic.batching),
        set: |config, value| config.traffic.batching = boolean(&value),
    },
    Parameter {
        name: "max_batch_size",
        kind: Kind::Integer { min: 1, max: 100 },
        about: "Questions of a call at the most. 10 is where tokens a question hardly fall any more, and small models \
                still answer every one.",
        get: |config| Value::Integer(config.traffic.max_batch_size as i64),
        set: |config, value| config.traffic.max_batch_size = integer(&value) as usize,
    },
    Parameter {
        name: "batch_timeout_ms",
        kind: Kind::Number { min: 0.0, max: 60_000.0 },
        about: "The last of parallel_llm_calls is kept for a full batch, and for a question that has waited for so many \
                milliseconds. 50 is little of the time there is, and enough for those of a burst to meet.",
        get: |config| Value::Number(config.traffic.batch_timeout.as_nanos() as f64 / 1e6),
        set: |config, value| config.traffic.batch_timeout = Duration::from_secs_f64(number(&value) / 1e3),
    },
    Parameter {
        name: "enable_deduplication",
        kind: Kind::Boolean,
        about: "Whether equal questions at the same time are answered by one computation, in all replicas that share a \
                Redis. On, because the answers would be equal too.",
        get: |config| Value::Boolean(config.traffic.deduplication),
        set: |config, value| config.traffic.deduplication = boolean(&value),
    },
    Parameter {
        name: "dedup_window_seconds",
        kind: Kind::Number { min: 0.0, max: 3_600.0 },
        about: "For so long after its computation an answer is given to equal questions even if no cache keeps it. 1 is \
                how soon one asks again who has asked twice by mistake; longer is what the caches are for.",
        get: |config| Value::Number(config.traffic.dedup_window.as_secs_f64()),
        set: |config, value| config.traffic.dedup_window = Duration::from_secs_f64(number(&value)),
    },
    Parameter {
        name: "max_waiting",
        kind: Kind::Integer { min: 1, max: 1_000_000 },
        about: "Questions that wait for a classifier that takes its time at the most; the least urgent beyond are \
                answered at once, as well as can be. 1000 is more than can be served in the time there is, so that time \
                decides.",
        get: |config| Value::Integer(config.traffic.max_waiting as i64),
        set: |config, value| config.traffic.max_waiting = integer(&value) as usize,
    },
    Parameter {
        name: "enable_memory_pooling",
        kind: Kind::Boolean,
        about: "Whether large buffers are used again instead of being asked of the system anew. On, because it is where \
                it is used that it was measured to gain.",
        get: |config| Value::Boolean(config.resources.memory_pooling),
        set: |config, value| config.resources.memory_pooling = boolean(&value),
    },
    Parameter {
        name: "memory_pool_size_mb",
        kind: Kind::Integer { min: 1, max: 1_000_000 },
        about: "What buffers that wait to be used again may take, in MiB. 100 is a bound that is not reached: what is \
                kept has been in use at the same time.",
        get: |config| Value::Integer((config.resources.memory_pool_bytes >> 20) as i64),
        set: |config, value| config.resources.memory_pool_bytes = (integer(&value) as usize) << 20,
    },
    Parameter {
        name: "cpu_optimization_enabled",
        kind: Kind::Boolean,
        about: "Whether there are never more worker threads than processors, by the affinity of the process and the \
                quota of its control group. On, because more would only be throttled.",
        get: |config| Value::Boolean(config.resources.cpu_optimization),
        set: |config, value| config.resources.cpu_optimization = boolean(&value),
    },
    Parameter {
        name: "max_worker_threads",
        kind: Kind::Integer { min: 1, max: 1_024 },
        about: "Threads at the most for work that keeps a processor busy, such as classifying many questions. They start \
                when there is work and end when there is none. 32 is the most that was asked of the original.",
        get: |config| Value::Integer(config.resources.max_worker_threads as i64),
        set: |config, value| config.resources.max_worker_threads = integer(&value) as usize,
    },
    Parameter {
        name: "enable_auto_scaling",
        kind: Kind::Boolean,
        about: "Whether it is worked out, and shown among the statistics, how many replicas there should be. On, because \
                it costs microseconds.",
        get: |config| Value::Boolean(config.resources.auto_scaling),
        set: |config, value| config.resources.auto_scaling = boolean(&value),
    },
    Parameter {
        name: "scale_up_threshold",
        kind: Kind::Number { min: 0.05, max: 1.0 },
        about: "From this utilisation on more replicas are advised. At 0.8 the wait is four times the service already.",
        get: |config| Value::Number(config.resources.scale_up_threshold),
        set: |config, value| config.resources.scale_up_threshold = number(&value),
    },
    Parameter {
        name: "scale_down_threshold",
        kind: Kind::Number { min: 0.0, max: 0.95 },
        about: "Up to this utilisation fewer replicas are advised, if the others would stay below scale_up_threshold. 0.3 \
                is less than half of that, so that advice does not swing.",
        get: |config| Value::Number(config.resources.scale_down_threshold),
        set: |config, value| config.resources.scale_down_threshold = number(&value),
    },
    Parameter {
        name: "monitoring_interval_seconds",
        kind: Kind::Number { min: 0.05, max: 3_600.0 },
        about: "How often a process that stays looks at its processors, memory and files. Every 5 seconds a look of less \
                than a millisecond is nothing.",
        get: |config| Value::Number(config.resources.monitoring_interval.as_secs_f64()),
        set: |config, value| config.resources.monitoring_interval = Duration::from_secs_f64(number(&value)),
    },
    Parameter {
        name: "target_throughput_rps",
        kind: Kind::Number { min: 0.1, max: 10_000_000.0 },
        about: "Questions a second that are to be answered; it is recommended what is missing for it. 100 is twice what \
                the original promised.",
        get: |config| Value::Number(config.resources.target_throughput),
        set: |config, value| config.resources.target_throughput = number(&value),
    },
];
