//! What a reply must look like, and what one says.

use std::collections::HashMap;
use std::sync::Arc;

use llm_optimizer::{JsonPrefix, PrefixState, ReplySchema};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::prompt::is_unseen;
use crate::taxonomy::Taxonomy;

/// A longer reason is cut, in characters.
const MAX_REASON_CHARS: usize = 300;
/// A longer reply to many questions is not read, in bytes.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// A reply to many questions.
#[derive(Deserialize)]
struct Batch {
    items: Vec<Item>,
}

/// An item of it. One in which a member comes twice is of the second kind.
#[derive(Deserialize)]
#[serde(untagged)]
enum Item {
    Known { id: String, category: Option<Value>, confidence: Option<Value> },
    Other(IgnoredAny),
}

/// What a model has said of one question: a category of the taxonomy, by its index, and a confidence in [0, 1].
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    pub(super) category: usize,
    pub(super) confidence: f64,
    /// Another category that is asked for as well.
    pub(super) also: Option<usize>,
    pub(super) reason: Option<String>,
}

/// Why a reply is no answer; never with the reply's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Invalid {
    NotAnObject,
    NoCategory,
    UnknownCategory,
    NoConfidence,
    ConfidenceOutOfRange,
    NoItems,
    /// It was cut at its length limit.
    Cut,
    /// The provider has withheld it.
    Withheld,
}

impl Invalid {
    /// In a clause about the reply.
    pub(super) const fn in_words(self) -> &'static str {
        match self {
            Self::NotAnObject => "is not one JSON object",
            Self::NoCategory => "names no category",
            Self::UnknownCategory => "names a category that does not exist",
            Self::NoConfidence => "gives no confidence",
            Self::ConfidenceOutOfRange => "gives a confidence that is not between 0 and 1",
            Self::NoItems => "has no list of items",
            Self::Cut => "was cut at its length limit",
            Self::Withheld => "was withheld by the provider",
        }
    }
}

/// The form of a reply to one question: category and confidence first, so that they arrive first.
pub(super) fn single_schema(taxonomy: &Taxonomy) -> Arc<ReplySchema> {
    let categories = category_names(taxonomy);
    let schema = format!(
        r#"{{"type":"object","properties":{{"category":{{"type":"string","enum":[{categories}]}},"confidence":{{"type":"number"}},"also":{{"type":["string","null"]}},"reason":{{"type":"string"}}}},"required":["category","confidence","also","reason"],"additionalProperties":false}}"#
    );
    Arc::new(ReplySchema {
        name: "classification".to_owned(),
        description: "Where the question belongs.".to_owned(),
        schema,
    })
}

/// The form of a reply to many questions.
pub(super) fn batch_schema(taxonomy: &Taxonomy) -> Arc<ReplySchema> {
    let categories = category_names(taxonomy);
    let schema = format!(
        r#"{{"type":"object","properties":{{"items":{{"type":"array","items":{{"type":"object","properties":{{"id":{{"type":"string"}},"category":{{"type":"string","enum":[{categories}]}},"confidence":{{"type":"number"}}}},"required":["id","category","confidence"],"additionalProperties":false}}}}}},"required":["items"],"additionalProperties":false}}"#
    );
    Arc::new(ReplySchema {
        name: "classifications".to_owned(),
        description: "Where each question belongs.".to_owned(),
        schema,
    })
}

fn category_names(taxonomy: &Taxonomy) -> String {
    // OK to unwrap to nothing: a string is always JSON.
    let names = taxonomy.categories().iter().map(|category| category.id.as_str());
    names.map(|name| serde_json::to_string(name).unwrap_or_default()).collect::<Vec<_>>().join(",")
}

/// What a whole reply to one question says.
pub(super) fn read_single(text: &str, taxonomy: &Taxonomy) -> Result<Said, Invalid> {
    let mut prefix = JsonPrefix::new();
    if prefix.push(text) != PrefixState::Complete {
        return Err(Invalid::NotAnObject);
    }
    let mut said = judge(prefix.get("category"), prefix.get("confidence"), taxonomy)?;
    let also = prefix.get("also").and_then(Value::as_str);
    said.also = also.and_then(|label| taxonomy.index_of(label)).filter(|&also| also != said.category);
    said.reason = prefix.get("reason").and_then(Value::as_str).map(tidy).filter(|reason| !reason.is_empty());
    Ok(said)
}

/// What a reply says that was cut because it had said enough.
pub(super) fn read_cut(text: &str, taxonomy: &Taxonomy) -> Result<Said, Invalid> {
    let mut prefix = JsonPrefix::new();
    prefix.push(text);
    read_early(&prefix, taxonomy).ok_or(Invalid::NotAnObject)
}

/// What the part of a reply that has arrived says already: something once category and confidence are there.
pub(super) fn read_early(prefix: &JsonPrefix, taxonomy: &Taxonomy) -> Option<Said> {
    if prefix.state() == PrefixState::Broken {
        return None;
    }
    judge(prefix.get("category"), prefix.get("confidence"), taxonomy).ok()
}

/// What a whole reply to many questions says of each id: nothing of one that is missing, that comes more than once, or
/// whose item is not valid. Ids nobody has asked for count for nothing.
pub(super) fn read_batch(text: &str, taxonomy: &Taxonomy) -> Result<HashMap<String, Said>, Invalid> {
    if text.len() > MAX_BATCH_BYTES {
        return Err(Invalid::NotAnObject);
    }
    let reply = serde_json::from_str::<Batch>(unfenced(text)).map_err(|error| match error.is_data() {
        true => Invalid::NoItems,
        false => Invalid::NotAnObject,
    })?;
    let mut said: HashMap<String, Option<Said>> = HashMap::new();
    for item in reply.items {
        let Item::Known { id, category, confidence } = item else { continue };
        let judged = judge(category.as_ref(), confidence.as_ref(), taxonomy).ok();
        said.entry(id).and_modify(|known| *known = None).or_insert(judged);
    }
    Ok(said.into_iter().filter_map(|(id, said)| Some((id, said?))).collect())
}

/// A text without the code fence that some models put around JSON.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix("```json").and_then(|text| text.strip_suffix("```"));
    inner.unwrap_or(text)
}

fn judge(category: Option<&Value>, confidence: Option<&Value>, taxonomy: &Taxonomy) -> Result<Said, Invalid> {
    let label = category.and_then(Value::as_str).ok_or(Invalid::NoCategory)?;
    let category = taxonomy.index_of(label).ok_or(Invalid::UnknownCategory)?;
    let confidence = confidence.and_then(Value::as_f64).ok_or(Invalid::NoConfidence)?;
    if !(0.0..=1.0).contains(&confidence) {
        return Err(Invalid::ConfidenceOutOfRange);
    }
    Ok(Said { category, confidence, also: None, reason: None })
}

/// A reason in one line of bearable length, with nothing in it that cannot be seen.
fn tidy(reason: &str) -> String {
    let reason: String = reason.chars().filter(|&c| !is_unseen(c)).collect();
    let words: Vec<&str> = reason.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    line.chars().take(MAX_REASON_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taxonomy() -> Taxonomy {
        Taxonomy::clinical_metabolomics()
    }

    #[track_caller]
    fn check(text: &str, expected: Result<(usize, f64, Option<usize>), Invalid>) {
        let said = read_single(text, &taxonomy());
        assert_eq!(said.map(|said| (said.category, said.confidence, said.also)), expected, "{text}");
    }

    #[test]
    fn a_reply_of_the_form_is_an_answer() {
        check(
            r#"{"category":"REAL_TIME","confidence":0.9,"also":"KNOWLEDGE_GRAPH","reason":"x"}"#,
            Ok((1, 0.9, Some(0))),
        );
        check("```json\n{\"category\":\"GENERAL\",\"confidence\":1}\n```", Ok((2, 1.0, None)));
        check(r#"{"category":"GENERAL","confidence":0.5,"also":"GENERAL"}"#, Ok((2, 0.5, None)));
        check(r#"{"category":"GENERAL","confidence":0.5,"also":"POLITICS"}"#, Ok((2, 0.5, None)));
    }

    #[test]
    fn anything_else_is_a_failed_attempt_and_never_a_guess() {
        use Invalid::{ConfidenceOutOfRange, NoCategory, NoConfidence, NotAnObject, UnknownCategory};
        check("", Err(NotAnObject));
        check("GENERAL", Err(NotAnObject));
        check(r#"I think: {"category":"GENERAL","confidence":0.9}"#, Err(NotAnObject));
        check(r#"{"category":"GENERAL","confidence":0.9"#, Err(NotAnObject));
        check(r#"{"category":"GENERAL","confidence":0.9} {"category":"REAL_TIME"}"#, Err(NotAnObject));
        check(r#"{"category":"GENERAL","category":"REAL_TIME","confidence":0.9}"#, Err(NotAnObject));
        check(r#"{"confidence":0.9}"#, Err(NoCategory));
        check(r#"{"category":0,"confidence":0.9}"#, Err(NoCategory));
        check(r#"{"category":null,"confidence":0.9}"#, Err(NoCategory));
        check(r#"{"category":"general","confidence":0.9}"#, Err(UnknownCategory));
        check(r#"{"category":"POLITICS","confidence":0.9}"#, Err(UnknownCategory));
        check(r#"{"category":"GENERAL"}"#, Err(NoConfidence));
        check(r#"{"category":"GENERAL","confidence":"0.9"}"#, Err(NoConfidence));
        check(r#"{"category":"GENERAL","confidence":1e15}"#, Err(ConfidenceOutOfRange));
        check(r#"{"category":"GENERAL","confidence":-0.1}"#, Err(ConfidenceOutOfRange));
        check(r#"{"category":"GENERAL","confidence":90}"#, Err(ConfidenceOutOfRange));
    }

    #[test]
    fn an_item_is_known_by_its_id_and_only_if_there_is_one_of_it() {
        let text = r#"{"items":[
            {"id":"c","category":"GENERAL","confidence":0.7},
            {"id":"a","category":"REAL_TIME","confidence":0.9},
            {"id":"b","category":"GENERAL","confidence":0.7},
            {"id":"b","category":"GENERAL","confidence":0.7},
            {"id":"d","category":"POLITICS","confidence":0.7},
            {"id":"e","category":"GENERAL","category":"REAL_TIME","confidence":0.7},
            {"id":"f","id":"a","category":"GENERAL","confidence":0.7}, 7, null, ["a"],
            {"id":5,"category":"GENERAL","confidence":0.7},
            {"category":"GENERAL","confidence":0.7}]}"#;
        let said = read_batch(text, &taxonomy()).unwrap();
        let mut ids: Vec<&str> = said.keys().map(String::as_str).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["a", "c"]);
        assert_eq!((said["a"].category, said["c"].category), (1, 2));
        assert_eq!(read_batch("[]", &taxonomy()), Err(Invalid::NoItems));
        assert_eq!(read_batch("{\"items\":", &taxonomy()), Err(Invalid::NotAnObject));
        assert_eq!(read_batch("{\"items\":[],\"items\":[]}", &taxonomy()), Err(Invalid::NoItems));
        let long = format!("{{\"items\":[]}}{}", " ".repeat(MAX_BATCH_BYTES));
        assert_eq!(read_batch(&long, &taxonomy()), Err(Invalid::NotAnObject));
    }

    #[test]
    fn schemas_are_json_with_category_and_confidence_first() {
        for schema in [single_schema(&taxonomy()), batch_schema(&taxonomy())] {
            serde_json::from_str::<Value>(&schema.schema).unwrap();
            let at = |name: &str| schema.schema.find(&format!("\"{name}\":{{")).unwrap_or(usize::MAX);
            assert!(at("category") < at("confidence") && at("confidence") < at("also"), "{}", schema.schema);
        }
    }

    #[test]
    fn reasons_are_one_line() {
        assert_eq!(tidy(" a\n\tb\u{1b}[0m  c "), "a b [0m c");
        assert_eq!(tidy("a\u{202e}b\u{200b}\u{e0041}c"), "abc");
        assert_eq!(tidy(&"é".repeat(1000)).chars().count(), MAX_REASON_CHARS);
    }
}
