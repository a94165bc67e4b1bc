//! OpenAI's format, streamed and not.

use serde_json::json;

use crate::client::{data, events, json_of, openai, post, post_openai, start, streamed_text};

#[tokio::test]
async fn a_question_is_answered_in_the_shape_of_the_schema() {
    let simulator = start().await;
    let response =
        post_openai(&simulator, &openai("role of PPAR alpha in beta oxidation", false)).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert!(response.headers().contains_key("x-request-id"));
    let body = json_of(response).await;
    assert_eq!(body["object"], "chat.completion");
    let choice = &body["choices"][0];
    assert_eq!(choice["finish_reason"], "stop");
    let text = choice["message"]["content"].as_str().unwrap();
    assert!(text.starts_with(r#"{"category":"KNOWLEDGE_GRAPH","confidence":0."#), "{text}");
    let usage = &body["usage"];
    let total = usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap();
    assert_eq!(usage["total_tokens"], total);
    let log = simulator.log();
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].queries, ["role of PPAR alpha in beta oxidation"]);
    assert_eq!(log[0].categories, ["KNOWLEDGE_GRAPH"]);
    assert_eq!(u64::from(log[0].prompt_tokens), usage["prompt_tokens"].as_u64().unwrap());
    assert_eq!(u64::from(log[0].completion_tokens), usage["completion_tokens"].as_u64().unwrap());
    assert!(!log[0].cancelled && log[0].ended_us.is_some());
}

#[tokio::test]
async fn a_stream_says_the_same_as_a_whole_reply() {
    let simulator = start().await;
    let query = "new evidence linking TMAO and stroke";
    let whole = json_of(post_openai(&simulator, &openai(query, false)).await.unwrap()).await;
    let response = post_openai(&simulator, &openai(query, true)).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
    let stream = response.text().await.unwrap();
    assert_eq!(streamed_text(&stream), whole["choices"][0]["message"]["content"].as_str().unwrap());
    assert_eq!(data(&stream).last().unwrap(), "[DONE]");
    let events = events(&stream);
    let (last, before) = events.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"], whole["usage"]);
    let (finish, before) = before.split_last().unwrap();
    assert_eq!(finish["choices"][0]["finish_reason"], "stop");
    assert!(
        before.iter().all(|event| event["choices"][0]["finish_reason"].is_null() && event["usage"].is_null())
    );
}

#[tokio::test]
async fn azure_names_the_model_in_the_path() {
    let simulator = start().await;
    let path = format!("{}/openai/deployments/small/chat/completions", simulator.url());
    let body = openai("what is metabolomics", false);
    let response = post(&format!("{path}?api-version=2024-10-21"), &body).await.unwrap();
    assert_eq!(json_of(response).await["model"], "small");
    assert_eq!(post(&path, &body).await.unwrap().status(), 404);
}
