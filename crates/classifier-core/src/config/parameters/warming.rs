//! Parameters of filling the caches before anybody asks.

use super::{Kind, Parameter, Value, boolean, integer, list, number};

/// In the order they are shown.
pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "enable_cache_warming",
        kind: Kind::Boolean,
        about: "Whether a process that stays fills its caches in the background once it is ready: with \
                cache_warm_queries, and with what was asked most before. On, because it gives way to those who ask.",
        get: |config| Value::Boolean(config.warming.enabled),
        set: |config, value| config.warming.enabled = boolean(&value),
    },
    Parameter {
        name: "cache_warm_queries",
        kind: Kind::List,
        about: "Questions to warm the caches with. In a variable or a flag: between semicolons, or as a JSON array. \
                Empty, because only you know what you will be asked.",
        get: |config| Value::List(config.warming.queries.clone()),
        set: |config, value| config.warming.queries = list(value),
    },
    Parameter {
        name: "predictive_cache_depth",
        kind: Kind::Integer { min: 0, max: 20 },
        about: "How many variations of each question are warmed besides, made by the taxonomy's templates in their \
                order. 3 takes the likeliest, each of which costs as much as a question.",
        get: |config| Value::Integer(config.warming.depth as i64),
        set: |config, value| config.warming.depth = integer(&value) as usize,
    },
    Parameter {
        name: "warm_concurrency",
        kind: Kind::Integer { min: 1, max: 256 },
        about: "Questions that are warmed at a time. 2 leaves room for those who ask.",
        get: |config| Value::Integer(config.warming.concurrency as i64),
        set: |config, value| config.warming.concurrency = integer(&value) as usize,
    },
    Parameter {
        name: "warm_per_second",
        kind: Kind::Number { min: 0.01, max: 1_000_000.0 },
        about: "Questions that are warmed a second at the most. 500 take a hundredth of a core and are done before \
                the second thousand is asked.",
        get: |config| Value::Number(config.warming.per_second),
        set: |config, value| config.warming.per_second = number(&value),
    },
];
