//! Anthropic's protocol.

use std::sync::Arc;

use hp_base::SystemClock;
use llm_optimizer::{Finish, LlmErrorKind, ProviderKind, SchemaSupport, Usage};
use serde_json::json;

use crate::server::{Keeping, Server, anthropic_events, end, json, request, schema_request, stream};

const USAGE: Usage =
    Usage { input_tokens: 20, cached_input_tokens: 16, cache_write_tokens: 1, output_tokens: 7 };

#[tokio::test]
async fn a_whole_reply_is_read_and_the_request_is_as_the_protocol_has_it() {
    let whole = r#"{"id":"m1","type":"message","content":[{"type":"text","text":"It is "},{"type":"text","text":"a sugar."}],
        "stop_reason":"end_turn","usage":{"input_tokens":3,"cache_creation_input_tokens":1,"cache_read_input_tokens":16,
        "output_tokens":7}}"#;
    let server = Server::new([json(200, whole)]).await;
    let mut request = request();
    (request.stream, request.temperature) = (false, 1.5);
    let reply = server.model(ProviderKind::Anthropic).chat(&request).await.unwrap();
    assert_eq!((&*reply.text, reply.finish, reply.usage), ("It is a sugar.", Finish::Stop, Some(USAGE)));

    let asked = server.last_asked();
    assert_eq!((asked.path(), asked.header("x-api-key")), ("/messages", Some("sk-hush")));
    assert_eq!(
        (asked.header("anthropic-version"), asked.header("authorization")),
        (Some("2023-06-01"), None)
    );
    let expected = json!({
        "model": "test-model",
        "max_tokens": 256,
        "system": [{"type": "text", "text": "Say it.", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "What is glucose?"}]}],
        "temperature": 1.0, "stream": false,
    });
    assert_eq!(asked.body, expected);
}

#[tokio::test]
async fn a_stream_is_read_in_any_pieces() {
    for (is_tool, request) in [(false, request()), (true, schema_request())] {
        let events = anthropic_events(&["{\"z\":", "\"süß 😀\"", "}"], is_tool);
        for size in [1, 5, 50, 4096] {
            let server = Server::new([stream(events.as_bytes(), size, end())]).await;
            let (readers, pieces) = Keeping::starting(usize::MAX);
            let mut request = request.clone();
            request.readers = Some(readers);
            let reply = server.model(ProviderKind::Anthropic).chat(&request).await.unwrap();
            assert_eq!((&*reply.text, reply.finish), ("{\"z\":\"süß 😀\"}", Finish::Stop));
            assert_eq!(reply.usage, Some(USAGE));
            assert_eq!(*pieces.lock().unwrap(), [["{\"z\":", "\"süß 😀\"", "}"]]);
        }
    }
}

#[tokio::test]
async fn a_schema_is_a_tool_that_must_be_called_or_a_format_and_at_last_words() {
    let by_tool = r#"{"content":[{"type":"text","text":"Well."},{"type":"tool_use","id":"t","name":"reply","input":{"z":1,"a":2}}],
        "stop_reason":"tool_use","usage":{}}"#;
    let in_words = r#"{"content":[{"type":"text","text":"{}"}],"stop_reason":"max_tokens"}"#;
    let rejection = r#"{"type":"error","error":{"type":"invalid_request_error","message":"output_config: Extra inputs"}}"#;
    let no_tools =
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"tools: not for this model"}}"#;
    let server =
        Server::new([json(400, rejection), json(200, by_tool), json(400, no_tools), json(200, in_words)])
            .await;
    let mut config = server.config(ProviderKind::Anthropic);
    config.schema_support = SchemaSupport::JsonSchema;
    let model = config.build(Arc::new(SystemClock)).unwrap();
    let reply = model.chat(&schema_request()).await.unwrap();
    assert_eq!((&*reply.text, reply.finish, reply.usage), ("{\"z\":1,\"a\":2}", Finish::Stop, None));
    let reply = model.chat(&schema_request()).await.unwrap();
    assert_eq!((&*reply.text, reply.finish), ("{}", Finish::Length));
    let asked = server.asked();
    assert_eq!(asked[0].body["output_config"]["format"]["type"], "json_schema");
    assert_eq!(
        (&asked[1].body["output_config"], &asked[1].body["tools"][0]["name"]),
        (&json!(null), &json!("reply"))
    );
    let choice = json!({"type": "tool", "name": "reply", "disable_parallel_tool_use": true});
    assert_eq!(asked[1].body["tool_choice"], choice);
    assert_eq!(asked[3].body["tools"], json!(null));
    assert!(asked[3].body["system"][0]["text"].as_str().unwrap().contains("\"properties\":{\"z\""));
}

#[tokio::test]
async fn events_that_are_missing_doubled_or_out_of_order_are_no_reply() {
    let events = anthropic_events(&["a", "b"], false);
    let events: Vec<&str> = events.split_inclusive("\n\n").collect();
    let reply = async |events: Vec<&str>| {
        let server = Server::new([stream(events.concat().as_bytes(), 4096, end())]).await;
        server.model(ProviderKind::Anthropic).chat(&request()).await
    };
    assert_eq!(reply(events.clone()).await.unwrap().text, "ab");
    // The piece of text and the ping may be missing without a trace; all else may not.
    for missing in [0, 1, 5, 6, 7] {
        let mut events = events.clone();
        events.remove(missing);
        let kind = reply(events).await.unwrap_err().kind();
        let expected = if missing == 7 { LlmErrorKind::Disconnected } else { LlmErrorKind::InvalidReply };
        assert_eq!(kind, expected, "without event {missing}");
    }
    let mut swapped = events.clone();
    swapped.swap(5, 6);
    assert_eq!(reply(swapped).await.unwrap_err().kind(), LlmErrorKind::InvalidReply);
    for doubled in [0, 1, 5] {
        let mut events = events.clone();
        events.insert(doubled, events[doubled]);
        assert_eq!(
            reply(events).await.unwrap_err().kind(),
            LlmErrorKind::InvalidReply,
            "event {doubled} twice"
        );
    }
}

#[tokio::test]
async fn an_error_within_the_stream_is_told_apart() {
    for (name, expected) in [
        ("overloaded_error", LlmErrorKind::Unavailable),
        ("rate_limit_error", LlmErrorKind::RateLimited),
        ("authentication_error", LlmErrorKind::Unauthorized),
        ("invalid_request_error", LlmErrorKind::InvalidRequest),
    ] {
        let events = anthropic_events(&["a"], false);
        let begun = &events[..events.find("event: content_block_stop").unwrap()];
        let error = json!({"type": "error", "error": {"type": name, "message": "What is glucose?"}});
        let events = format!("{begun}event: error\ndata: {error}\n\n");
        let server = Server::new([stream(events.as_bytes(), 4096, end())]).await;
        let error = server.model(ProviderKind::Anthropic).chat(&request()).await.unwrap_err();
        assert_eq!(error.kind(), expected);
        assert_eq!(error.to_string(), format!("the provider broke its reply off ({name})"));
    }
}
