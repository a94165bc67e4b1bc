//! Values as they stand in files, variables and flags, and what a parameter lets them be.

use std::fmt;

use serde_json::{Value as Json, json};

/// A value as it stands in a file, a variable or a flag.
///
/// Displayed, it is what a configuration file would hold, except that of a [`Secret`](Value::Secret) only what may be
/// seen is shown.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// Yes or no.
    Boolean(bool),
    /// A text.
    Text(String),
    /// Several texts.
    List(Vec<String>),
    /// What may be seen of a text that holds a secret.
    Secret(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => value.fmt(f),
            Self::Number(value) => write!(f, "{value:?}"),
            Self::Boolean(value) => value.fmt(f),
            Self::Text(value) | Self::Secret(value) => write!(f, "{value:?}"),
            Self::List(values) => write!(f, "{values:?}"),
        }
    }
}

impl serde::Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Number(value) => serializer.serialize_f64(*value),
            Self::Boolean(value) => serializer.serialize_bool(*value),
            Self::Text(value) | Self::Secret(value) => serializer.serialize_str(value),
            Self::List(values) => serializer.collect_seq(values),
        }
    }
}

/// What a parameter may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Integer {
        min: i64,
        max: i64,
    },
    Number {
        min: f64,
        max: f64,
    },
    Boolean,
    Text {
        may_be_empty: bool,
    },
    /// A text that is not shown, not even when it is wrong.
    Secret,
    /// Texts, none of which is blank.
    List,
    /// One of these names.
    Choice(&'static [&'static str]),
    /// Texts of the form NAME=NUMBER, the number in [0, 1].
    Thresholds,
}

impl Kind {
    /// The value, if it is one of this kind; otherwise what is wrong with it.
    pub(super) fn check(self, value: Value) -> Result<Value, String> {
        match (self, value) {
            (Self::Integer { min, max }, Value::Integer(given)) if (min..=max).contains(&given) => {
                Ok(Value::Integer(given))
            }
            (Self::Number { min, max }, Value::Integer(given)) if (min..=max).contains(&(given as f64)) => {
                Ok(Value::Number(given as f64))
            }
            (Self::Number { min, max }, Value::Number(given)) if (min..=max).contains(&given) => {
                Ok(Value::Number(given))
            }
            (Self::Boolean, Value::Boolean(given)) => Ok(Value::Boolean(given)),
            (Self::Text { may_be_empty }, Value::Text(given)) if may_be_empty || !given.trim().is_empty() => {
                Ok(Value::Text(given))
            }
            (Self::Secret, Value::Text(given)) => Ok(Value::Text(given)),
            (Self::Secret, _) => Err(format!("it is not {}", self.expected())),
            (Self::List, Value::List(given)) if given.iter().all(|text| !text.trim().is_empty()) => {
                Ok(Value::List(given))
            }
            (Self::Choice(names), Value::Text(given)) if names.contains(&given.as_str()) => {
                Ok(Value::Text(given))
            }
            (Self::Thresholds, Value::List(given)) if given.iter().all(|text| threshold(text).is_some()) => {
                Ok(Value::List(given))
            }
            (_, given) => Err(format!("{given} is not {}", self.expected())),
        }
    }

    /// Reads the text of a variable or a flag.
    pub(super) fn read(self, text: &str) -> Result<Value, String> {
        let value = match self {
            Self::Text { .. } | Self::Secret => Some(Value::Text(text.to_owned())),
            Self::Choice(_) => Some(Value::Text(text.trim().to_ascii_lowercase())),
            Self::Integer { .. } => text.trim().parse().ok().map(Value::Integer),
            Self::Number { .. } => {
                text.trim().parse().ok().filter(|n: &f64| n.is_finite()).map(Value::Number)
            }
            Self::Boolean => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Some(Value::Boolean(true)),
                "false" | "0" | "no" | "off" => Some(Value::Boolean(false)),
                _ => None,
            },
            Self::List | Self::Thresholds => list(text).map(Value::List),
        };
        let value = value.ok_or_else(|| format!("{text:?} is not {}", self.expected()))?;
        self.check(value)
    }

    fn expected(self) -> String {
        match self {
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Number { min, max } => format!("a number from {min} to {max}"),
            Self::Boolean => "true or false".to_owned(),
            Self::Text { may_be_empty: true } | Self::Secret => "a text".to_owned(),
            Self::Text { may_be_empty: false } => "a text that is not empty".to_owned(),
            Self::List => "a list of texts, none of them empty".to_owned(),
            Self::Choice(names) => format!("one of {}", names.join(", ")),
            Self::Thresholds => "a list of CATEGORY=THRESHOLD, each threshold from 0 to 1".to_owned(),
        }
    }

    /// What a JSON Schema says of this kind.
    pub(super) fn schema(self) -> Json {
        match self {
            Self::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
            Self::Number { min, max } => json!({"type": "number", "minimum": min, "maximum": max}),
            Self::Boolean => json!({"type": "boolean"}),
            Self::Text { may_be_empty: true } => json!({"type": "string"}),
            Self::Text { may_be_empty: false } => json!({"type": "string", "pattern": "\\S"}),
            Self::Secret => json!({"type": "string", "writeOnly": true}),
            Self::Choice(names) => json!({"type": "string", "enum": names}),
            Self::Thresholds => {
                json!({"type": "array", "items": {"type": "string", "pattern": "^[^=]+=[0-9.]+$"}})
            }
            Self::List => json!({"type": "array", "items": {"type": "string", "pattern": "\\S"}}),
        }
    }
}

/// A name and the number behind it.
pub(super) fn threshold(text: &str) -> Option<(String, f64)> {
    let (name, number) = text.split_once('=')?;
    let number = number.trim().parse().ok().filter(|number| (0.0..=1.0).contains(number))?;
    Some((name.trim().to_owned(), number)).filter(|(name, _)| !name.is_empty())
}

/// A JSON array of texts, or texts between semicolons, where a last semicolon may close the list.
fn list(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    if text.starts_with('[') {
        return serde_json::from_str(text).ok();
    }
    let text = text.strip_suffix(';').unwrap_or(text);
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    Some(text.split(';').map(|text| text.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::{Kind, Value};

    #[track_caller]
    fn check(kind: Kind, text: &str, expected: Expect) {
        let read = kind.read(text);
        expected.assert_eq(&read.map_or_else(|problem| problem, |value| value.to_string()));
    }

    #[test]
    fn yes_and_no_have_a_few_spellings() {
        for (text, expected) in [("true", true), ("1", true), (" ON ", true), ("no", false), ("False", false)]
        {
            assert_eq!(Kind::Boolean.read(text), Ok(Value::Boolean(expected)));
        }
        check(Kind::Boolean, "maybe", expect![[r#""maybe" is not true or false"#]]);
        check(Kind::Boolean, "", expect![[r#""" is not true or false"#]]);
    }

    #[test]
    fn lists_are_json_or_stand_between_semicolons() {
        check(Kind::List, "", expect!["[]"]);
        check(Kind::List, "what is gout; LC-MS, GC-MS ;", expect![[r#"["what is gout", "LC-MS, GC-MS"]"#]]);
        check(Kind::List, r#"["a;b", "c"]"#, expect![[r#"["a;b", "c"]"#]]);
        check(Kind::List, "[]", expect!["[]"]);
        check(Kind::List, "[1]", expect![[r#""[1]" is not a list of texts, none of them empty"#]]);
        check(Kind::List, "a;;b", expect![[r#"["a", "", "b"] is not a list of texts, none of them empty"#]]);
    }

    #[test]
    fn names_are_chosen_from_a_list() {
        let kind = Kind::Choice(&["off", "cut"]);
        check(kind, " CUT", expect![[r#""cut""#]]);
        check(kind, "cute", expect![[r#""cute" is not one of off, cut"#]]);
    }

    #[test]
    fn thresholds_are_names_with_numbers() {
        check(Kind::Thresholds, "A=0.5; B = 1", expect![[r#"["A=0.5", "B = 1"]"#]]);
        for wrong in ["A", "A=", "=0.5", "A=1.5", "A=NaN"] {
            assert!(
                Kind::Thresholds.read(wrong).unwrap_err().ends_with("each threshold from 0 to 1"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_secret_of_another_kind_is_refused_unseen() {
        let refused = Kind::Secret.check(Value::Integer(1234)).unwrap_err();
        assert_eq!(refused, "it is not a text");
    }
}
