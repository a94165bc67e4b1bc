//! The JSON Schema of a configuration file.

use serde_json::{Map, Value as Json, json};

use super::Config;
use super::parameters::PARAMETERS;

/// The JSON Schema (draft 2020-12) of a configuration file: every parameter with its meaning, range and default.
#[must_use]
pub fn schema() -> Json {
    let defaults = Config::default();
    let mut properties = Map::new();
    for parameter in PARAMETERS.iter() {
        let mut property = parameter.kind.schema();
        property["description"] = json!(parameter.about);
        property["default"] = json!((parameter.get)(&defaults));
        properties.insert(parameter.name.to_owned(), property);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hp-classify configuration",
        "description": "A TOML file with these keys; each can also be set by an environment variable HP_ and its name \
                        in capitals, or by --set NAME=VALUE.",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_parameter_has_a_meaning_and_a_default() {
        let schema = super::schema();
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(properties.len(), super::PARAMETERS.len());
        for (name, property) in properties {
            assert!(property["description"].as_str().unwrap().ends_with('.'), "{name}");
            assert!(!property["default"].is_null(), "{name}");
        }
    }
}
