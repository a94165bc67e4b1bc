//! Rows that are JSON objects: the object as it was written, and the answer as one more field.

use std::fmt;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::answer::Asker;

/// The field that answers are written to.
pub(super) const ANSWER_FIELD: &str = "classification";

/// Appends the object `text` with its answer to `output`, or says why it has none.
pub(super) fn answer(text: &str, column: &str, asker: &Asker, output: &mut Vec<u8>) -> Result<(), String> {
    let object = Object::read(text.trim_ascii(), column).map_err(|error| spell(&error))?;
    let classification = asker.ask(&object.question()?)?;
    object.copy_without_answer(output).map_err(|error| spell(&error))?;
    output.extend_from_slice(b",\"classification\":");
    serde_json::to_writer(&mut *output, &classification)
        .map_err(|error| format!("the answer cannot be written: {error}"))?;
    output.extend_from_slice(b"}\n");
    Ok(())
}

/// The message without serde's "at line 1", which is not the line of the input.
fn spell(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Data => "not a JSON object".to_owned(),
        Category::Eof => "not JSON: the row ends too early".to_owned(),
        Category::Io | Category::Syntax => {
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            format!("not JSON: {message} at byte {}", error.column())
        }
    }
}

/// An object as it is written, and what has been found in it.
struct Object<'a> {
    text: &'a str,
    column: &'a str,
    /// The last field named `column`, as JSON readers have it.
    question: Option<&'a RawValue>,
    has_answer: bool,
}

impl<'a> Object<'a> {
    fn read(text: &'a str, column: &'a str) -> serde_json::Result<Self> {
        let mut object = Self { text, column, question: None, has_answer: false };
        for_each_field(text, |key, value| {
            if is_key(key, column) {
                object.question = Some(value);
            }
            object.has_answer |= is_key(key, ANSWER_FIELD);
        })?;
        Ok(object)
    }

    fn question(&self) -> Result<String, String> {
        let column = self.column;
        let question = self.question.ok_or_else(|| format!("the field `{column}` is missing"))?.get();
        let kind = match question.as_bytes().first() {
            Some(b'"') => {
                return serde_json::from_str(question)
                    .map_err(|_| format!("the field `{column}` has an escape that is not Unicode"));
            }
            Some(b'{') => "an object",
            Some(b'[') => "a list",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            _ => "a number",
        };
        Err(format!("the field `{column}` is {kind}, not a string"))
    }

    /// Appends the object up to its closing brace to `output`; an answer that is there already is left out.
    fn copy_without_answer(&self, output: &mut Vec<u8>) -> serde_json::Result<()> {
        if !self.has_answer {
            let body = self.text.strip_suffix('}').unwrap_or(self.text);
            output.extend_from_slice(body.trim_ascii_end().as_bytes());
            return Ok(());
        }
        let mut separator = b'{';
        for_each_field(self.text, |key, value| {
            if !is_key(key, ANSWER_FIELD) {
                output.push(separator);
                separator = b',';
                output.extend_from_slice(key.get().as_bytes());
                output.push(b':');
                output.extend_from_slice(value.get().as_bytes());
            }
        })
    }
}

/// Calls `visit` with each key and value of the object `text`, as they are written; nothing is kept of them, however
/// many there are.
fn for_each_field<'a>(
    text: &'a str,
    visit: impl FnMut(&'a RawValue, &'a RawValue),
) -> serde_json::Result<()> {
    struct Fields<F>(F);

    impl<'de, F: FnMut(&'de RawValue, &'de RawValue)> Visitor<'de> for Fields<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some((key, value)) = map.next_entry()? {
                (self.0)(key, value);
            }
            Ok(())
        }
    }

    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.deserialize_map(Fields(visit))?;
    deserializer.end()
}

/// Whether `key`, a JSON string, spells `name`.
fn is_key(key: &RawValue, name: &str) -> bool {
    let key = key.get();
    if key.contains('\\') {
        return serde_json::from_str::<String>(key).is_ok_and(|key| key == name);
    }
    key.strip_prefix('"').and_then(|key| key.strip_suffix('"')) == Some(name)
}

#[cfg(test)]
mod tests {
    use super::{Object, spell};

    #[track_caller]
    fn check(text: &str, question: Result<&str, &str>, copy: &str) {
        let object = Object::read(text, "query").unwrap();
        assert_eq!(object.question().as_deref().map_err(String::as_str), question);
        let mut output = Vec::new();
        object.copy_without_answer(&mut output).unwrap();
        assert_eq!(String::from_utf8(output).unwrap(), copy);
    }

    #[test]
    fn fields_stay_as_they_are_written() {
        check(r#"{"query":"a"}"#, Ok("a"), r#"{"query":"a""#);
        check(
            r#"{ "z": 1.50e+2, "query" :"\u00e4\n", "a": {"b":[ 1 , -0.0 ]} }"#,
            Ok("ä\n"),
            r#"{ "z": 1.50e+2, "query" :"\u00e4\n", "a": {"b":[ 1 , -0.0 ]}"#,
        );
        check(
            r#"{"\u0071uery":"a","n":123456789012345678901234567890}"#,
            Ok("a"),
            r#"{"\u0071uery":"a","n":123456789012345678901234567890"#,
        );
        check(r#"{"query":"a","query":"b"}"#, Ok("b"), r#"{"query":"a","query":"b""#);
    }

    #[test]
    fn an_answer_that_is_there_is_replaced() {
        check(r#"{"classification":1}"#, Err("the field `query` is missing"), "");
        check(
            r#"{"classification":1, "query": "a", "\u0063lassification": {}, "x": 1e3, "classification":2}"#,
            Ok("a"),
            r#"{"query":"a","x":1e3"#,
        );
        check(
            r#"{"query":"a","x":{"classification":1}}"#,
            Ok("a"),
            r#"{"query":"a","x":{"classification":1}"#,
        );
    }

    #[test]
    fn what_is_no_string_is_named() {
        for (value, kind) in [
            ("1", "a number"),
            ("null", "null"),
            ("true", "a boolean"),
            ("[\"a\"]", "a list"),
            ("{}", "an object"),
        ] {
            let text = format!("{{\"query\":{value}}}");
            let object = Object::read(&text, "query").unwrap();
            assert_eq!(object.question().unwrap_err(), format!("the field `query` is {kind}, not a string"));
        }
    }

    #[test]
    fn what_is_no_object_is_named() {
        for (text, reason) in [
            ("[1]", "not a JSON object"),
            ("\"query\"", "not a JSON object"),
            ("{\"query\":", "not JSON: the row ends too early"),
            ("{\"query\":x}", "not JSON: expected value at byte 10"),
            ("{} {}", "not JSON: trailing characters at byte 4"),
            ("{\"a\":1,}", "not JSON: trailing comma at byte 8"),
        ] {
            assert_eq!(Object::read(text, "query").map_err(|error| spell(&error)).err().unwrap(), reason);
        }
    }
}
