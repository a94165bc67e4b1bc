//! Parameters of the cache in memory.

use std::time::Duration;

use super::{Kind, Parameter, Value, integer, number};

/// In the order they are shown.
pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "l1_cache_size",
        kind: Kind::Integer { min: 1, max: 100_000_000 },
        about: "Entries the memory cache holds at the most. 10000 answers take some 10 MB and cover the questions of \
                a busy day.",
        get: |config| Value::Integer(config.l1.max_entries as i64),
        set: |config, value| config.l1.max_entries = integer(&value) as usize,
    },
    Parameter {
        name: "l1_cache_size_mb",
        kind: Kind::Integer { min: 1, max: 1_048_576 },
        about: "MiB the memory cache holds at the most, whatever the number of entries. 32 leaves room for 10000 \
                answers of twice the usual length.",
        get: |config| Value::Integer((config.l1.max_bytes >> 20) as i64),
        set: |config, value| config.l1.max_bytes = (integer(&value) as u64) << 20,
    },
    Parameter {
        name: "l1_cache_ttl",
        kind: Kind::Number { min: 0.001, max: 31_536_000.0 },
        about: "Seconds an answer stays in the memory cache. 300 bounds how long a corrected answer can be wrong.",
        get: |config| Value::Number(config.l1.ttl.as_secs_f64()),
        set: |config, value| config.l1.ttl = Duration::from_secs_f64(number(&value)),
    },
    Parameter {
        name: "l1_cache_ttl_jitter",
        kind: Kind::Number { min: 0.0, max: 0.9 },
        about: "Share of the time to live by which entries expire early, at random. 0.1 spreads the entries of one \
                warming over half a minute.",
        get: |config| Value::Number(config.l1.ttl_jitter),
        set: |config, value| config.l1.ttl_jitter = number(&value),
    },
];
