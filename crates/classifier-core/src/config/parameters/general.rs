//! Parameters of the system as a whole.

use std::time::Duration;

use super::{Kind, Parameter, Value, integer, number, path, path_value, text};

/// In the order they are shown.
pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "target_response_time_ms",
        kind: Kind::Number { min: 0.001, max: 600_000.0 },
        about: "A response within this many milliseconds meets its target (metadata.target_met). 1500 is the average \
                the system promises.",
        get: |config| Value::Number(config.target_response_time.as_nanos() as f64 / 1e6),
        set: |config, value| config.target_response_time = Duration::from_secs_f64(number(&value) / 1e3),
    },
    Parameter {
        name: "max_response_time_ms",
        kind: Kind::Number { min: 10.0, max: 600_000.0 },
        about: "No response takes more milliseconds than this: what a slower classifier has not said by then is answered \
                by the embedded one and marked as degraded. 2000 is what the system promises.",
        get: |config| Value::Number(config.max_response_time.as_nanos() as f64 / 1e6),
        set: |config, value| config.max_response_time = Duration::from_secs_f64(number(&value) / 1e3),
    },
    Parameter {
        name: "max_query_chars",
        kind: Kind::Integer { min: 1, max: 1_000_000 },
        about: "A query of more characters, context included, is refused. 8192 is a long pasted abstract, and is \
                classified in about a millisecond.",
        get: |config| Value::Integer(config.max_query_chars as i64),
        set: |config, value| config.max_query_chars = integer(&value) as usize,
    },
    Parameter {
        name: "tenant",
        kind: Kind::Text { may_be_empty: false },
        about: "Keeps the cache entries of one tenant apart from those of another. One tenant needs no name of its own.",
        get: |config| Value::Text(config.tenant.clone()),
        set: |config, value| config.tenant = text(value),
    },
    Parameter {
        name: "taxonomy",
        kind: Kind::Text { may_be_empty: true },
        about: "A taxonomy file; empty for the built-in one of clinical metabolomics, which needs no file.",
        get: |config| path_value(config.taxonomy.as_deref()),
        set: |config, value| config.taxonomy = path(value),
    },
    Parameter {
        name: "model",
        kind: Kind::Text { may_be_empty: true },
        about: "A model file made by `hp-classify train`; empty for the built-in one.",
        get: |config| path_value(config.model.as_deref()),
        set: |config, value| config.model = path(value),
    },
];
