//! Resolves the configuration: flag over environment over file over default.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Serialize;
use toml::Spanned;

use super::Config;
use super::parameters::PARAMETERS;
use super::value::Value;
use crate::error::{Error, ErrorKind, Result, suggestion};

/// Variables that start so are ours.
const PREFIX: &str = "HP_";
/// Variables of ours that name no parameter: they say where to look.
const NOT_PARAMETERS: [&str; 2] = ["HP_CONFIG", "HP_LOG"];

/// Where values are taken from, least important first.
///
/// Its `Debug` names what is set and shows no value, since some are secret.
#[derive(Clone, Default)]
pub struct Layers {
    /// The file's name, for error messages, and its text.
    pub file: Option<(String, String)>,
    /// Variables of the environment; those that do not start with `HP_` are passed over.
    pub environment: Vec<(String, String)>,
    /// Names and values of flags.
    pub flags: Vec<(String, String)>,
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// It is the default.
    Default,
    /// The configuration file.
    File,
    /// A variable `HP_…`.
    Environment,
    /// A flag of the command line.
    Flag,
}

/// A configuration and where each of its values came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The values.
    pub config: Config,
    /// Name, value and origin of each parameter, in the order of the reference.
    pub origins: Vec<(&'static str, Value, Origin)>,
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            |pairs: &[(String, String)]| pairs.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        f.debug_struct("Layers")
            .field("file", &self.file.as_ref().map(|(name, _)| name))
            .field("environment", &names(&self.environment))
            .field("flags", &names(&self.flags))
            .finish()
    }
}

impl Layers {
    /// Adds the text of a file.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io) when it cannot be read.
    pub fn with_file(mut self, path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::io("read the configuration", path, error))?;
        self.file = Some((path.display().to_string(), text));
        Ok(self)
    }

    /// Resolves all layers.
    ///
    /// # Errors
    /// [`InvalidConfig`](ErrorKind::InvalidConfig) with the file and line, variable or flag, what is wrong, and the
    /// nearest right name for one that is unknown.
    pub fn resolve(&self) -> Result<Resolved> {
        let mut config = Config::default();
        let mut origins = vec![Origin::Default; PARAMETERS.len()];
        if let Some((name, text)) = &self.file {
            apply_file(name, text, &mut config, &mut origins)?;
        }
        for (name, value) in &self.environment {
            let Some(parameter) = name.strip_prefix(PREFIX) else { continue };
            if NOT_PARAMETERS.contains(&name.as_str()) {
                continue;
            }
            let at = find(&parameter.to_lowercase())
                .map_err(|hint| invalid(format!("environment variable {name} names no parameter{hint}")))?;
            PARAMETERS[at]
                .set_text(&mut config, value)
                .map_err(|problem| invalid(format!("{name}: {problem}")))?;
            origins[at] = Origin::Environment;
        }
        for (name, value) in &self.flags {
            let at = find(name).map_err(|hint| invalid(format!("`{name}` is no parameter{hint}")))?;
            PARAMETERS[at]
                .set_text(&mut config, value)
                .map_err(|problem| invalid(format!("{name}: {problem}")))?;
            origins[at] = Origin::Flag;
        }
        let shown = PARAMETERS.iter().zip(origins);
        let shown = shown.map(|(parameter, origin)| (parameter.name, (parameter.get)(&config), origin));
        Ok(Resolved { origins: shown.collect(), config: config.clone() })
    }
}

fn apply_file(name: &str, text: &str, config: &mut Config, origins: &mut [Origin]) -> Result<()> {
    let line_of = |at: usize| 1 + text.bytes().take(at).filter(|&byte| byte == b'\n').count();
    let table: BTreeMap<Spanned<String>, Spanned<toml::Value>> = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or_else(String::new, |span| format!(", line {}", line_of(span.start)));
        invalid(format!("{name}{line}: {}", error.message()))
    })?;
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let place = format!("{name}, line {}", line_of(key.span().start));
        let key = key.into_inner();
        let at = find(&key).map_err(|hint| invalid(format!("{place}: `{key}` is no parameter{hint}")))?;
        let value = value_of(value.into_inner()).map_err(|kind| {
            invalid(format!(
                "{place}: `{key}` is of type {kind}; write a number, true or false, a text or a list of texts"
            ))
        })?;
        PARAMETERS[at].set(config, value).map_err(|problem| invalid(format!("{place}: {key}: {problem}")))?;
        origins[at] = Origin::File;
    }
    Ok(())
}

/// The value, or the name of a type that no parameter has.
fn value_of(value: toml::Value) -> std::result::Result<Value, &'static str> {
    Ok(match value {
        toml::Value::Integer(value) => Value::Integer(value),
        toml::Value::Float(value) => Value::Number(value),
        toml::Value::String(value) => Value::Text(value),
        toml::Value::Boolean(value) => Value::Boolean(value),
        toml::Value::Array(values) => {
            let text = |value| match value {
                toml::Value::String(text) => Ok(text),
                _ => Err("array with something else than texts in it"),
            };
            Value::List(values.into_iter().map(text).collect::<std::result::Result<_, _>>()?)
        }
        other => return Err(other.type_str()),
    })
}

/// The number of a parameter, or a hint which one was meant.
fn find(name: &str) -> std::result::Result<usize, String> {
    PARAMETERS
        .iter()
        .position(|parameter| parameter.name == name)
        .ok_or_else(|| suggestion(name, PARAMETERS.iter().map(|parameter| parameter.name)))
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidConfig, message)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::{Config, Layers, Origin, PARAMETERS};

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn later_layers_win() {
        let layers = Layers {
            file: Some(pair("hp.toml", "l1_cache_size = 5\nl1_cache_ttl = 60\nmax_query_chars = 100")),
            environment: vec![
                pair("HP_L1_CACHE_TTL", "61.5"),
                pair("PATH", "x"),
                pair("HP_MAX_QUERY_CHARS", "101"),
            ],
            flags: vec![pair("max_query_chars", "102")],
        };
        let resolved = layers.resolve().unwrap();
        let origin = |name| resolved.origins.iter().find(|(known, ..)| *known == name).unwrap().2;
        assert_eq!(resolved.config.l1.max_entries, 5);
        assert_eq!(resolved.config.l1.ttl.as_secs_f64(), 61.5);
        assert_eq!(resolved.config.max_query_chars, 102);
        assert_eq!(origin("l1_cache_size"), Origin::File);
        assert_eq!(origin("l1_cache_ttl"), Origin::Environment);
        assert_eq!(origin("max_query_chars"), Origin::Flag);
        assert_eq!(origin("tenant"), Origin::Default);
    }

    #[test]
    fn every_default_survives_being_written_and_read() {
        let defaults = Layers::default().resolve().unwrap();
        assert_eq!(defaults.config, Config::default());
        let file: String =
            defaults.origins.iter().map(|(name, value, _)| format!("{name} = {value}\n")).collect();
        let read = Layers { file: Some(pair("f", &file)), ..Layers::default() }.resolve().unwrap();
        assert_eq!(read.config, Config::default());
        assert_eq!(read.origins.len(), PARAMETERS.len());
    }

    #[test]
    fn yes_or_no_and_lists_are_read_from_every_layer() {
        let layers = Layers {
            file: Some(pair("hp.toml", "l2_cache_enabled = false\ncache_warm_queries = [\"a;b\", \"c\"]")),
            environment: vec![pair("HP_ENABLE_CACHE_WARMING", "no")],
            ..Layers::default()
        };
        let config = layers.resolve().unwrap().config;
        assert_eq!((config.l2.enabled, config.warming.enabled), (false, false));
        assert_eq!(config.warming.queries, ["a;b", "c"]);
        let flags = vec![pair("cache_warm_queries", "a; b"), pair("l2_cache_enabled", "true")];
        let config = Layers { flags, ..layers }.resolve().unwrap().config;
        assert_eq!((config.l2.enabled, config.warming.queries), (true, vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn secrets_reach_the_configuration_and_nothing_that_is_shown() {
        let layers = Layers {
            file: Some(pair("hp.toml", "redis_url = \"redis://ada:hunter2@host:1\"")),
            environment: vec![pair("HP_REDIS_PASSWORD", "hunter2")],
            flags: vec![pair("redis_password", "hunter2")],
        };
        let resolved = layers.resolve().unwrap();
        assert_eq!(resolved.config.l3.url.expose(), "redis://ada:hunter2@host:1");
        assert_eq!(resolved.config.l3.password.expose(), "hunter2");
        let values: Vec<String> = resolved.origins.iter().map(|(_, value, _)| value.to_string()).collect();
        let json = serde_json::to_string(&resolved.origins).unwrap();
        let shown = format!("{layers:?} {resolved:?} {values:?} {json}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("redis://ada:…@host:1"), "{shown}");
    }

    #[track_caller]
    fn check(layers: Layers, expected: Expect) {
        expected.assert_eq(&layers.resolve().unwrap_err().to_string());
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        let file = |text: &str| Layers { file: Some(pair("hp.toml", text)), ..Layers::default() };
        check(
            file("\nl1_cach_size = 5"),
            expect![["hp.toml, line 2: `l1_cach_size` is no parameter; did you mean `l1_cache_size`?"]],
        );
        check(
            file("l1_cache_size = 0"),
            expect![["hp.toml, line 1: l1_cache_size: 0 is not a whole number from 1 to 100000000"]],
        );
        check(
            file("tenant = [1]"),
            expect![[
                "hp.toml, line 1: `tenant` is of type array with something else than texts in it; write a number, true or false, a text or a list of texts"
            ]],
        );
        check(file("redis_password = 1234"), expect![["hp.toml, line 1: redis_password: it is not a text"]]);
        check(
            file("cache_warm_queries = \"what is gout\""),
            expect![[
                r#"hp.toml, line 1: cache_warm_queries: "what is gout" is not a list of texts, none of them empty"#
            ]],
        );
        check(
            file("tenant = "),
            expect![["hp.toml, line 1: string values must be quoted, expected literal string"]],
        );
        check(
            Layers { environment: vec![pair("HP_L1_CACHE_SIZ", "1")], ..Layers::default() },
            expect![[
                "environment variable HP_L1_CACHE_SIZ names no parameter; did you mean `l1_cache_size`?"
            ]],
        );
        check(
            Layers { flags: vec![pair("l1_cache_ttl", "NaN")], ..Layers::default() },
            expect![[r#"l1_cache_ttl: "NaN" is not a number from 0.001 to 31536000"#]],
        );
    }
}
