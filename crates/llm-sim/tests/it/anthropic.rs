//! Anthropic's format, streamed and not, and its cache of prompts.

use serde_json::{Value, json};

use crate::client::{anthropic, client, events, json_of, post_anthropic, start};

#[tokio::test]
async fn the_input_of_a_forced_tool_is_the_answer() {
    let simulator = start().await;
    let response = post_anthropic(&simulator, &anthropic("what is metabolomics", false)).await.unwrap();
    assert!(response.headers().contains_key("request-id"));
    let body = json_of(response).await;
    assert_eq!(body["type"], "message");
    assert_eq!(body["stop_reason"], "tool_use");
    assert_eq!(body["content"][0]["type"], "tool_use");
    assert_eq!(body["content"][0]["name"], "answer");
    assert_eq!(body["content"][0]["input"]["category"], "GENERAL");
    let log = simulator.log();
    assert_eq!(body["usage"]["input_tokens"], log[0].prompt_tokens);
    assert_eq!(body["usage"]["output_tokens"], log[0].completion_tokens);
}

#[tokio::test]
async fn a_stream_has_the_events_in_their_order() {
    let simulator = start().await;
    let request = anthropic("metabolomics papers of this week", true);
    let stream = post_anthropic(&simulator, &request).await.unwrap().text().await.unwrap();
    let events = events(&stream);
    let mut kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    kinds.dedup();
    assert_eq!(
        kinds,
        [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    for (line, event) in stream.lines().filter_map(|line| line.strip_prefix("event: ")).zip(&events) {
        assert_eq!(line, event["type"].as_str().unwrap());
    }
    let input: String = events.iter().filter_map(|event| event["delta"]["partial_json"].as_str()).collect();
    let input: Value = serde_json::from_str(&input).unwrap();
    assert_eq!(input["category"], "REAL_TIME");
    let end = events.iter().find(|event| event["type"] == "message_delta").unwrap();
    assert_eq!(end["delta"]["stop_reason"], "tool_use");
    assert_eq!(end["usage"]["output_tokens"], simulator.log()[0].completion_tokens);
}

#[tokio::test]
async fn a_marked_prefix_is_written_once_and_read_afterwards() {
    let simulator = start().await;
    let usage_of = async |prefix: &str, is_marked: bool| {
        let mut request = anthropic("what is metabolomics", false);
        let mut block = json!({"type": "text", "text": prefix});
        if is_marked {
            block["cache_control"] = json!({"type": "ephemeral"});
        }
        request["system"] = json!([block]);
        let usage = json_of(post_anthropic(&simulator, &request).await.unwrap()).await["usage"].clone();
        let tokens = |name: &str| usage[name].as_u64().unwrap();
        (tokens("input_tokens"), tokens("cache_creation_input_tokens"), tokens("cache_read_input_tokens"))
    };
    let long = "Every question has one category. ".repeat(300);
    let (rest, written, read) = usage_of(&long, true).await;
    assert!(rest > 0 && written > 1024 && read == 0, "{rest} {written} {read}");
    assert_eq!(usage_of(&long, true).await, (rest, 0, written));
    // Without a mark nothing is kept or found.
    assert_eq!(usage_of(&long, false).await, (rest + written, 0, 0));
    // Nor is a prefix that is too short.
    let (_, written, read) = usage_of("Every question has one category.", true).await;
    assert_eq!((written, read), (0, 0));
}

#[tokio::test]
async fn errors_are_written_as_anthropics() {
    let simulator = start().await;
    let mut request = anthropic("what is metabolomics", false);
    request["messages"] = json!([]);
    let response = post_anthropic(&simulator, &request).await.unwrap();
    assert_eq!(response.status(), 400);
    let body = json_of(response).await;
    assert_eq!(body["type"], "error");
    assert_eq!(body["error"]["type"], "invalid_request_error");
    let url = format!("{}/v1/messages", simulator.url());
    let without_version = client().post(url).body(request.to_string()).send().await.unwrap();
    assert_eq!(without_version.status(), 400);
}
