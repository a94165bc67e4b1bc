//! Several questions in one request.

use llm_sim::{Fault, Faults};
use serde_json::{Value, json};

use crate::client::{json_of, openai, post_openai, schema, start};

fn batch() -> Value {
    let mut item = schema();
    item["properties"] = json!({
        "id": {"type": "integer"},
        "category": item["properties"]["category"],
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
    });
    item["required"] = json!(["id", "category", "confidence"]);
    let mut request = openai("", false);
    request["response_format"]["json_schema"]["schema"] = json!({
        "type": "object",
        "properties": {"results": {"type": "array", "items": item}},
        "required": ["results"],
        "additionalProperties": false,
    });
    let items = json!({"items": [
        {"id": 7, "query": "what is metabolomics"},
        {"id": 3, "query": "metabolomics papers of this week"},
        {"id": 5, "query": "role of PPAR alpha in beta oxidation"},
    ]});
    request["messages"][1]["content"] = format!("Classify each of these:\n{items}\n").into();
    request
}

async fn ids_and_categories(simulator: &llm_sim::Simulator) -> Vec<(u64, String)> {
    let body = json_of(post_openai(simulator, &batch()).await.unwrap()).await;
    let answers: Value =
        serde_json::from_str(body["choices"][0]["message"]["content"].as_str().unwrap()).unwrap();
    let answer =
        |answer: &Value| (answer["id"].as_u64().unwrap(), answer["category"].as_str().unwrap().to_owned());
    answers["results"].as_array().unwrap().iter().map(answer).collect()
}

#[tokio::test]
async fn each_question_is_answered_under_its_id() {
    let simulator = start().await;
    let expected = [(7, "GENERAL"), (3, "REAL_TIME"), (5, "KNOWLEDGE_GRAPH")];
    let expected = expected.map(|(id, category)| (id, category.to_owned()));
    assert_eq!(ids_and_categories(&simulator).await, expected);
    assert_eq!(simulator.log()[0].queries.len(), 3);
    assert_eq!(simulator.stats().queries, 3);
}

#[tokio::test]
async fn wrong_items_are_missing_doubled_and_unknown() {
    let simulator = start().await;
    simulator.set_faults(Faults::always(Fault::WrongItems)).await;
    let ids: Vec<u64> = ids_and_categories(&simulator).await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [3, 3, 5, 999_999]);
    // It takes a batch to have wrong items.
    post_openai(&simulator, &openai("what is metabolomics", false)).await.unwrap();
    assert_eq!(simulator.log()[1].fault, None);
}
