//! The table of parameters: name, range, reason for the default, and the field of [`Config`] each one sets.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Config;

/// A value as it stands in a file, a variable or a flag.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => value.fmt(f),
            Self::Number(value) => write!(f, "{value:?}"),
            Self::Text(value) => write!(f, "{value:?}"),
        }
    }
}

impl serde::Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Number(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
        }
    }
}

/// What a parameter may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Integer { min: i64, max: i64 },
    Number { min: f64, max: f64 },
    Text { may_be_empty: bool },
}

/// One parameter.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What it does, its unit, and why the default is what it is.
    pub(super) about: &'static str,
    pub(super) get: fn(&Config) -> Value,
    set: fn(&mut Config, Value),
}

/// All parameters, in the order they are shown.
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
    Parameter {
        name: "recent_from_year",
        kind: Kind::Integer { min: 0, max: 2050 },
        about: "Years from this one on ask for news, earlier ones for history. 0 is two years before the current one, \
                so that it needs no care.",
        get: |config| Value::Integer(config.embedded.recent_from_year.map_or(0, i64::from)),
        set: |config, value| {
            config.embedded.recent_from_year = Some(integer(&value) as u16).filter(|&year| year > 0);
        },
    },
    Parameter {
        name: "low_confidence_threshold",
        kind: Kind::Number { min: 0.0, max: 1.0 },
        about: "Answers less confident than this are marked low_confidence. At 0.6 about one in twenty held-out \
                everyday questions is marked.",
        get: |config| Value::Number(config.embedded.low_confidence_threshold),
        set: |config, value| config.embedded.low_confidence_threshold = number(&value),
    },
    Parameter {
        name: "close_alternatives_margin",
        kind: Kind::Number { min: 0.0, max: 1.0 },
        about: "Answers whose second category is nearer than this are marked close_alternatives. 0.2 goes with a \
                confidence of at most 0.6 between two categories.",
        get: |config| Value::Number(config.embedded.close_alternatives_margin),
        set: |config, value| config.embedded.close_alternatives_margin = number(&value),
    },
    Parameter {
        name: "hybrid_threshold",
        kind: Kind::Number { min: 0.0, max: 0.5 },
        about: "A question is hybrid when the second category of a declared pair has this probability. 0.25 is where \
                the model gives the pair as much as the first category alone.",
        get: |config| Value::Number(config.embedded.hybrid_threshold),
        set: |config, value| config.embedded.hybrid_threshold = number(&value),
    },
];

impl Parameter {
    /// Sets the field from a value of a file.
    pub(super) fn set(&self, config: &mut Config, value: Value) -> Result<(), String> {
        let value = match (self.kind, value) {
            (Kind::Integer { min, max }, Value::Integer(given)) if (min..=max).contains(&given) => {
                Value::Integer(given)
            }
            (Kind::Number { min, max }, Value::Integer(given)) if (min..=max).contains(&(given as f64)) => {
                Value::Number(given as f64)
            }
            (Kind::Number { min, max }, Value::Number(given)) if (min..=max).contains(&given) => {
                Value::Number(given)
            }
            (Kind::Text { may_be_empty }, Value::Text(given)) if may_be_empty || !given.trim().is_empty() => {
                Value::Text(given)
            }
            (_, given) => return Err(format!("{given} is not {}", self.expected())),
        };
        (self.set)(config, value);
        Ok(())
    }

    /// Sets the field from the text of a variable or a flag.
    pub(super) fn set_text(&self, config: &mut Config, text: &str) -> Result<(), String> {
        let value = match self.kind {
            Kind::Text { .. } => Some(Value::Text(text.to_owned())),
            Kind::Integer { .. } => text.trim().parse().ok().map(Value::Integer),
            Kind::Number { .. } => {
                text.trim().parse().ok().filter(|n: &f64| n.is_finite()).map(Value::Number)
            }
        };
        match value {
            Some(value) => self.set(config, value),
            None => Err(format!("{text:?} is not {}", self.expected())),
        }
    }

    fn expected(&self) -> String {
        match self.kind {
            Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Number { min, max } => format!("a number from {min} to {max}"),
            Kind::Text { may_be_empty: true } => "a text".to_owned(),
            Kind::Text { may_be_empty: false } => "a text that is not empty".to_owned(),
        }
    }
}

fn integer(value: &Value) -> i64 {
    match value {
        Value::Integer(value) => *value,
        Value::Number(value) => *value as i64,
        Value::Text(_) => 0,
    }
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Integer(value) => *value as f64,
        Value::Number(value) => *value,
        Value::Text(_) => 0.0,
    }
}

fn text(value: Value) -> String {
    match value {
        Value::Text(value) => value,
        other => other.to_string(),
    }
}

fn path(value: Value) -> Option<PathBuf> {
    Some(text(value)).filter(|text| !text.is_empty()).map(PathBuf::from)
}

fn path_value(path: Option<&Path>) -> Value {
    Value::Text(path.map_or_else(String::new, |path| path.display().to_string()))
}
