//! The table of parameters: name, range, reason for the default, and the field of [`Config`] each one sets.

mod caches;
mod embedded;
mod endpoints;
mod general;
mod llm;
mod memory;
mod traffic;
mod warming;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::Config;
use super::value::{self, Kind, Value};

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
pub(super) static PARAMETERS: LazyLock<Vec<&'static Parameter>> = LazyLock::new(|| {
    let tables = [
        general::PARAMETERS,
        memory::PARAMETERS,
        caches::PARAMETERS,
        warming::PARAMETERS,
        traffic::PARAMETERS,
        embedded::PARAMETERS,
        llm::PARAMETERS,
        endpoints::PARAMETERS,
    ];
    tables.into_iter().flatten().collect()
});

impl Parameter {
    /// Sets the field from a value of a file.
    pub(super) fn set(&self, config: &mut Config, value: Value) -> Result<(), String> {
        (self.set)(config, self.kind.check(value)?);
        Ok(())
    }

    /// Sets the field from the text of a variable or a flag.
    pub(super) fn set_text(&self, config: &mut Config, text: &str) -> Result<(), String> {
        (self.set)(config, self.kind.read(text)?);
        Ok(())
    }
}

// What a parameter's kind lets through is of that kind, so that what these return otherwise is never seen.

fn integer(value: &Value) -> i64 {
    match value {
        Value::Integer(value) => *value,
        _ => 0,
    }
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Number(value) => *value,
        _ => 0.0,
    }
}

fn boolean(value: &Value) -> bool {
    matches!(value, Value::Boolean(true))
}

fn text(value: Value) -> String {
    match value {
        Value::Text(value) => value,
        _ => String::new(),
    }
}

fn list(value: Value) -> Vec<String> {
    match value {
        Value::List(values) => values,
        _ => Vec::new(),
    }
}

/// What a name stands for; a choice is among the names of its table.
fn choice<T: Copy + Default>(table: &[(&str, T)], value: &Value) -> T {
    let Value::Text(name) = value else { return T::default() };
    table.iter().find(|(known, _)| known == name).map_or_else(T::default, |(_, meant)| *meant)
}

/// The name of what was chosen.
fn chosen<T: PartialEq>(table: &[(&str, T)], meant: T) -> Value {
    let name = table.iter().find(|(_, known)| *known == meant).map_or("", |(name, _)| name);
    Value::Text(name.to_owned())
}

fn thresholds(value: Value) -> Vec<(String, f64)> {
    list(value).iter().filter_map(|text| value::threshold(text)).collect()
}

fn path(value: Value) -> Option<PathBuf> {
    Some(text(value)).filter(|text| !text.is_empty()).map(PathBuf::from)
}

fn path_value(path: Option<&Path>) -> Value {
    Value::Text(path.map_or_else(String::new, |path| path.display().to_string()))
}
