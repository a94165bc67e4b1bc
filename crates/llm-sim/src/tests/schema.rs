//! The shape of replies.

use crate::brain::Answer;
use crate::json::Json;
use crate::prompt::Item;
use crate::schema::{Answered, offered, reply};

fn answered(id: u64, category: &str, alternative: Option<&str>) -> Answered {
    Answered {
        item: Item { id: Json::Number(id.into()), query: format!("question {id}") },
        answer: Answer {
            category: category.to_owned(),
            alternative: alternative.map(ToOwned::to_owned),
            confidence: 0.87,
        },
    }
}

#[track_caller]
fn check(schema: &str, expected: &str) {
    let schema: Json = serde_json::from_str(schema).unwrap();
    let answered = [answered(4, "A", Some("B")), answered(2, "C", None)];
    assert_eq!(reply(Some(&schema), &answered, true), expected);
}

#[test]
fn members_keep_the_order_of_the_schema() {
    check(
        r#"{"type":"object","properties":{"zeta":{"type":"boolean"},"confidence":{"type":"number"},
            "category":{"type":"string"},"alpha":{"type":"string"}}}"#,
        r#"{"zeta":false,"confidence":0.87,"category":"A","alpha":""}"#,
    );
}

#[test]
fn members_are_known_by_their_names() {
    check(
        r#"{"type":"object","properties":{"label":{"enum":["A","B"]},"rationale":{"type":"string"},
            "alternative_categories":{"type":"array","items":{"type":"string"}},"is_hybrid":{"type":"boolean"},
            "second":{"const":1},"probability":{"type":"integer"},"question":{"type":"string"}}}"#,
        r#"{"label":"A","rationale":"The question asks for what A covers.","alternative_categories":["B"],"is_hybrid":true,"second":1,"probability":87,"question":"question 4"}"#,
    );
}

#[test]
fn a_batch_has_an_answer_each() {
    check(
        r##"{"type":"object","properties":{"answers":{"type":"array","items":{"$ref":"#/$defs/answer"}}},
            "$defs":{"answer":{"type":"object","properties":{"id":{"type":"integer"},"category":{"type":"string"},
            "alternative":{"type":["string","null"]}}}}}"##,
        r#"{"answers":[{"id":4,"category":"A","alternative":"B"},{"id":2,"category":"C","alternative":null}]}"#,
    );
}

#[test]
fn nullable_members_and_possibilities_are_looked_through() {
    check(
        r#"{"type":"object","properties":{"category":{"anyOf":[{"type":"null"},{"type":"string","enum":["A"]}]},
            "confidence":{"enum":[0.5,0.9]},"other":{"type":"object","properties":{"n":{"type":"integer"}}}}}"#,
        r#"{"category":"A","confidence":0.9,"other":{"n":0}}"#,
    );
}

#[test]
fn a_schema_that_refers_to_itself_ends() {
    let schema: Json =
        serde_json::from_str(r##"{"type":"object","properties":{"inner":{"$ref":"#"}}}"##).unwrap();
    assert!(reply(Some(&schema), &[answered(1, "A", None)], false).starts_with(r#"{"inner":{"inner":"#));
    assert_eq!(offered(Some(&schema)).len(), 3);
    let circle: Json = serde_json::from_str(r##"{"$ref":"#"}"##).unwrap();
    assert_eq!(reply(Some(&circle), &[answered(1, "A", None)], false), "null");
}

#[test]
fn another_category_that_fits_is_told_where_there_is_a_place_for_it() {
    for name in ["alternative_category", "secondary", "also"] {
        let schema = format!(r#"{{"type":"object","properties":{{"{name}":{{"type":["string","null"]}}}}}}"#);
        let schema: Json = serde_json::from_str(&schema).unwrap();
        let told = |alternative| reply(Some(&schema), &[answered(1, "A", alternative)], false);
        assert_eq!(told(Some("B")), format!(r#"{{"{name}":"B"}}"#));
        assert_eq!(told(None), format!(r#"{{"{name}":null}}"#));
    }
}

#[test]
fn categories_are_those_of_the_schema() {
    let schema: Json = serde_json::from_str(
        r#"{"type":"object","properties":{"results":{"type":"array","items":{"type":"object","properties":
            {"confidence":{"enum":["low"]},"category":{"type":"string","enum":["x","y"]}}}}}}"#,
    )
    .unwrap();
    assert_eq!(offered(Some(&schema)), ["x", "y"]);
    assert_eq!(offered(None), ["KNOWLEDGE_GRAPH", "REAL_TIME", "GENERAL"]);
}

#[test]
fn without_a_schema_there_is_a_shape_all_the_same() {
    let one = [answered(4, "A", None)];
    assert_eq!(
        reply(None, &one, true),
        r#"{"results":[{"id":4,"category":"A","confidence":0.87,"reasoning":"The question asks for what A covers."}]}"#
    );
}
