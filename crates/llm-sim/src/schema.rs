//! Giving answers the shape that a JSON Schema asks for.

use crate::brain::{Answer, CATEGORIES};
use crate::json::Json;
use crate::prompt::Item;

/// Schemas may refer to themselves; nothing is nested deeper.
const MAX_DEPTH: usize = 16;

/// What a member of a reply is for, by its name and its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Category,
    Confidence,
    Reasoning,
    Alternative,
    Hybrid,
    Items,
    Id,
    Query,
    Other,
}

/// A question with its answer.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    pub(crate) item: Item,
    pub(crate) answer: Answer,
}

/// The categories that the schema offers; without any, the three of a simulator.
pub(crate) fn offered(schema: Option<&Json>) -> Vec<String> {
    let found = schema.and_then(|schema| find_offered(schema, schema, 0));
    found.unwrap_or_else(|| CATEGORIES.map(ToOwned::to_owned).to_vec())
}

/// The text of a reply: the members in the order of the schema.
pub(crate) fn reply(schema: Option<&Json>, answered: &[Answered], is_batch: bool) -> String {
    let shaped = match schema {
        Some(root) => Shape { root, answered }.value(root, Role::Items, answered.first(), 0),
        None if is_batch => object([("results", Json::Array(answered.iter().map(free).collect()))]),
        None => answered.first().map_or(Json::Null, free),
    };
    shaped.write()
}

/// An answer as it is given where nobody asks for a shape.
fn free(answered: &Answered) -> Json {
    let answer = &answered.answer;
    let mut members = vec![("id", answered.item.id.clone())];
    members.retain(|(_, id)| *id != Json::Null);
    members.push(("category", Json::String(answer.category.clone())));
    members.push(("confidence", number(answer.confidence)));
    members.push(("reasoning", Json::String(reasoning(answer))));
    if let Some(alternative) = &answer.alternative {
        members.push(("alternative", Json::String(alternative.clone())));
    }
    object(members)
}

struct Shape<'s> {
    root: &'s Json,
    answered: &'s [Answered],
}

impl Shape<'_> {
    /// A value of the schema, for a role and about an answer.
    fn value(&self, schema: &Json, role: Role, about: Option<&Answered>, depth: usize) -> Json {
        let schema = resolve(self.root, schema);
        if depth > MAX_DEPTH {
            return Json::Null;
        }
        if let Some(constant) = schema.get("const") {
            return constant.clone();
        }
        let kind = kind(schema);
        if role == Role::Alternative {
            return alternative(self.root, schema, about);
        }
        let Some(about) = about else { return default_of(kind) };
        let answer = &about.answer;
        match (role, kind) {
            (Role::Id, _) if about.item.id != Json::Null => return about.item.id.clone(),
            (Role::Query, "string") => return Json::String(about.item.query.clone()),
            (Role::Category, "string") => return Json::String(answer.category.clone()),
            (Role::Reasoning, "string") => return Json::String(reasoning(answer)),
            (Role::Hybrid, "boolean") => return Json::Bool(answer.alternative.is_some()),
            (Role::Confidence, _) => return confidence(schema, kind, answer.confidence),
            _ => {}
        }
        match kind {
            "object" => {
                let properties = schema.get("properties").map(Json::members).unwrap_or_default();
                let member = |(name, property): &(String, Json)| {
                    let role = self.role(name, property);
                    (name.clone(), self.value(property, role, Some(about), depth + 1))
                };
                Json::Object(properties.iter().map(member).collect())
            }
            "array" if role == Role::Items => {
                let Some(items) = schema.get("items") else { return Json::Array(Vec::new()) };
                let element = |about| self.value(items, Role::Other, Some(about), depth + 1);
                Json::Array(self.answered.iter().map(element).collect())
            }
            _ => enumerated(schema).first().cloned().unwrap_or_else(|| default_of(kind)),
        }
    }

    fn role(&self, name: &str, property: &Json) -> Role {
        role(self.root, name, property)
    }
}

/// What a member is for.
fn role(root: &Json, name: &str, property: &Json) -> Role {
    let name = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    let property = resolve(root, property);
    let kind = kind(property);
    let holds_objects =
        || property.get("items").is_some_and(|items| self::kind(resolve(root, items)) == "object");
    if kind == "array" && holds_objects() {
        Role::Items
    } else if has(&["alternative", "secondary"]) || name == "also" {
        Role::Alternative
    } else if has(&["confidence", "probability", "certainty", "score"]) {
        Role::Confidence
    } else if has(&["reason", "rationale", "explanation", "justification"]) {
        Role::Reasoning
    } else if has(&["hybrid"]) {
        Role::Hybrid
    } else if ["id", "index", "item_id", "number", "key", "i"].contains(&name.as_str()) {
        Role::Id
    } else if ["query", "question", "text"].contains(&name.as_str()) {
        Role::Query
    } else if kind == "string" && (has(&["category", "label", "class"]) || !enumerated(property).is_empty()) {
        Role::Category
    } else {
        Role::Other
    }
}

fn find_offered(root: &Json, schema: &Json, depth: usize) -> Option<Vec<String>> {
    let schema = resolve(root, schema);
    if depth > MAX_DEPTH {
        return None;
    }
    let properties = schema.get("properties").map(Json::members).unwrap_or_default();
    let of_category = |(name, property): &(String, Json)| {
        let is_category = role(root, name, property) == Role::Category;
        let texts: Vec<String> = enumerated(resolve(root, property))
            .iter()
            .filter_map(Json::as_str)
            .map(ToOwned::to_owned)
            .collect();
        (is_category && !texts.is_empty()).then_some(texts)
    };
    let inside = || properties.iter().find_map(|(_, property)| find_offered(root, property, depth + 1));
    let in_items = || find_offered(root, schema.get("items")?, depth + 1);
    properties.iter().find_map(of_category).or_else(inside).or_else(in_items)
}

/// What the schema stands for: what it refers to, and of several possibilities the first that is not null.
fn resolve<'s>(root: &'s Json, mut schema: &'s Json) -> &'s Json {
    for _ in 0..MAX_DEPTH {
        if let Some(path) = schema.get("$ref").and_then(Json::as_str) {
            let names = path.trim_start_matches(['#', '/']).split('/');
            let Some(target) = names.filter(|name| !name.is_empty()).try_fold(root, |at, name| at.get(name))
            else {
                return schema;
            };
            schema = target;
            continue;
        }
        let variants =
            schema.get("anyOf").or_else(|| schema.get("oneOf")).map(Json::elements).unwrap_or_default();
        let Some(variant) = variants.iter().find(|variant| kind(variant) != "null") else { return schema };
        schema = variant;
    }
    schema
}

/// The type of a schema; of several the first that is not null.
fn kind(schema: &Json) -> &str {
    let named = schema.get("type");
    let in_list = || named?.elements().iter().filter_map(Json::as_str).find(|name| *name != "null");
    let implied = || match enumerated(schema).first() {
        Some(Json::String(_)) => "string",
        Some(Json::Number(_)) => "number",
        _ if schema.get("properties").is_some() => "object",
        _ if schema.get("items").is_some() => "array",
        _ => "null",
    };
    named.and_then(Json::as_str).or_else(in_list).unwrap_or_else(implied)
}

fn enumerated(schema: &Json) -> &[Json] {
    schema.get("enum").map(Json::elements).unwrap_or_default()
}

fn alternative(root: &Json, schema: &Json, about: Option<&Answered>) -> Json {
    let alternative = about.and_then(|about| about.answer.alternative.as_ref());
    match kind(schema) {
        "array" => {
            let Some(alternative) = alternative else { return Json::Array(Vec::new()) };
            let items = schema.get("items").map(|items| resolve(root, items));
            let element = match items.filter(|items| kind(items) == "object") {
                Some(items) => {
                    let properties = items.get("properties").map(Json::members).unwrap_or_default();
                    let member = |(name, property): &(String, Json)| {
                        let value = match role(root, name, property) {
                            Role::Category => Json::String(alternative.clone()),
                            Role::Confidence => confidence(property, kind(property), 0.5),
                            _ => default_of(kind(property)),
                        };
                        (name.clone(), value)
                    };
                    Json::Object(properties.iter().map(member).collect())
                }
                None => Json::String(alternative.clone()),
            };
            Json::Array(vec![element])
        }
        // Null is what says that there is none, unless only the categories are offered; then nothing would be right.
        _ => alternative.cloned().map_or(Json::Null, Json::String),
    }
}

/// The confidence in the form that is asked for: a number, whole percents, or the nearest of those offered.
fn confidence(schema: &Json, kind: &str, confidence: f64) -> Json {
    let distance =
        |offered: &Json| offered.as_f64().map_or(f64::INFINITY, |value| (value - confidence).abs());
    let nearest = enumerated(schema).iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
    match (nearest, kind) {
        (Some(nearest), _) => nearest.clone(),
        // OK to cast: it saturates.
        (None, "integer") => Json::Number(((confidence * 100.0).round() as i64).into()),
        (None, "string") => Json::String(confidence.to_string()),
        _ => number(confidence),
    }
}

fn reasoning(answer: &Answer) -> String {
    format!("The question asks for what {} covers.", answer.category)
}

fn number(value: f64) -> Json {
    serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number)
}

fn default_of(kind: &str) -> Json {
    match kind {
        "string" => Json::String(String::new()),
        "number" | "integer" => Json::Number(0.into()),
        "boolean" => Json::Bool(false),
        "array" => Json::Array(Vec::new()),
        "object" => Json::Object(Vec::new()),
        _ => Json::Null,
    }
}

fn object<'n>(members: impl IntoIterator<Item = (&'n str, Json)>) -> Json {
    Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
