//! Finding what is asked in a prompt, whatever its wording.

use crate::Brain;
use crate::json::Json;

/// Names of a member that holds a question.
const TEXT_NAMES: [&str; 3] = ["query", "question", "text"];

/// Names of a member that says which question of a batch it is.
const ID_NAMES: [&str; 6] = ["id", "index", "item_id", "number", "key", "i"];

/// So many beginnings of JSON are tried in a message; prose with braces is not searched for ever.
const MAX_ATTEMPTS: usize = 64;

/// What is asked.
#[derive(Debug, PartialEq)]
pub(crate) struct Asked {
    /// The questions, in order; at least one.
    pub(crate) items: Vec<Item>,
    /// Whether an answer to each is expected, with its id.
    pub(crate) is_batch: bool,
}

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) id: Json,
    pub(crate) query: String,
}

/// What the last message of the user asks: the items of a batch in JSON; else the one question in JSON; else the longest
/// labelled question in it; else the whole of it.
pub(crate) fn find(message: &str, brain: &Brain) -> Asked {
    let values = json_in(message);
    let batch = values.iter().find_map(items).or_else(|| {
        // One object a line is a batch as well.
        let items: Vec<Item> = values.iter().filter_map(item).collect();
        (items.len() > 1).then_some(items)
    });
    if let Some(items) = batch {
        return Asked { items, is_batch: true };
    }
    let single = values.iter().find_map(|value| text(value));
    let query = single.or_else(|| brain.find(message)).unwrap_or_else(|| message.trim());
    Asked { items: vec![Item { id: Json::Null, query: query.to_owned() }], is_batch: false }
}

/// The objects and arrays that stand in a text.
fn json_in(message: &str) -> Vec<Json> {
    let mut values = Vec::new();
    let mut at = 0;
    for _ in 0..MAX_ATTEMPTS {
        let Some(opening) = message[at..].find(['{', '[']).map(|opening| at + opening) else { break };
        let mut stream = serde_json::Deserializer::from_str(&message[opening..]).into_iter::<Json>();
        match stream.next() {
            Some(Ok(value)) => {
                values.push(value);
                at = opening + stream.byte_offset();
            }
            _ => at = opening + 1,
        }
    }
    values
}

/// The questions of an array of them, or of an object that has such an array.
fn items(value: &Json) -> Option<Vec<Item>> {
    let arrays = value.members().iter().map(|(_, member)| member).chain([value]);
    arrays
        .map(Json::elements)
        .filter(|elements| !elements.is_empty())
        .find_map(|elements| elements.iter().map(item).collect::<Option<Vec<_>>>())
}

fn item(value: &Json) -> Option<Item> {
    let id = ID_NAMES.iter().find_map(|name| value.get(name))?;
    Some(Item { id: id.clone(), query: text(value)?.to_owned() })
}

fn text(value: &Json) -> Option<&str> {
    TEXT_NAMES.iter().find_map(|name| value.get(name)?.as_str())
}
