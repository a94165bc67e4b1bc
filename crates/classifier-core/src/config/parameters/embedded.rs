//! Parameters of the embedded classifier.

use super::{Kind, Parameter, Value, integer, number};

/// In the order they are shown.
pub(super) const PARAMETERS: &[Parameter] = &[
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
