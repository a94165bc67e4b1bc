//! OpenAI's protocol, and the same on Azure.

use hp_base::{Secret, SystemClock};
use std::sync::Arc;

use llm_optimizer::{Finish, LlmErrorKind, ProviderKind, SchemaSupport, Usage};
use serde_json::json;

use crate::server::{
    Keeping, Server, Step, answer, end, json, openai_events, request, schema_request, stream,
};

const WHOLE: &str = r#"{"id":"c1","choices":[{"index":0,"message":{"role":"assistant","content":"It is a sugar.","refusal":null},
    "finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":16}}}"#;
const USAGE: Usage =
    Usage { input_tokens: 20, cached_input_tokens: 16, cache_write_tokens: 0, output_tokens: 7 };

#[tokio::test]
async fn a_whole_reply_is_read_and_the_request_is_as_the_protocol_has_it() {
    let server = Server::new([json(200, WHOLE)]).await;
    let (readers, pieces) = Keeping::starting(usize::MAX);
    let mut request = request();
    (request.stream, request.readers, request.temperature) = (false, Some(readers), 0.5);
    let reply = server.model(ProviderKind::OpenAi).chat(&request).await.unwrap();
    assert_eq!((&*reply.text, reply.finish, reply.usage), ("It is a sugar.", Finish::Stop, Some(USAGE)));
    assert_eq!((&*reply.report.model, reply.report.n_attempts), ("test-model", 1));
    assert_eq!(*pieces.lock().unwrap(), [["It is a sugar."]]);

    let asked = server.last_asked();
    assert_eq!(asked.path(), "/chat/completions");
    assert_eq!(asked.header("authorization"), Some("Bearer sk-hush"));
    assert_eq!(asked.header("content-type"), Some("application/json"));
    let expected = json!({
        "model": "test-model",
        "messages": [
            {"role": "system", "content": "Say it."},
            {"role": "user", "content": "What is glucose?"},
        ],
        "max_tokens": 256, "temperature": 0.5, "stream": false,
    });
    assert_eq!(asked.body, expected);
}

#[tokio::test]
async fn a_stream_is_read_in_any_pieces() {
    let events = openai_events(&["It is ", "", "a sugar: ", "süß ", "😀."]);
    for size in [1, 3, 7, 64, 4096] {
        let server = Server::new([stream(events.as_bytes(), size, end())]).await;
        let (readers, pieces) = Keeping::starting(usize::MAX);
        let mut request = request();
        request.readers = Some(readers);
        let reply = server.model(ProviderKind::OpenAi).chat(&request).await.unwrap();
        assert_eq!(reply.text, "It is a sugar: süß 😀.", "in pieces of {size}");
        assert_eq!((reply.finish, reply.usage), (Finish::Stop, Some(USAGE)));
        assert_eq!(*pieces.lock().unwrap(), [["It is ", "a sugar: ", "süß ", "😀."]]);
        let asked = server.last_asked();
        assert_eq!(asked.body["stream_options"], json!({"include_usage": true}));
        assert_eq!(asked.header("accept"), Some("text/event-stream"));
    }
}

#[tokio::test]
async fn one_connection_serves_stream_after_stream() {
    let server = Server::new([stream(openai_events(&["a"]).as_bytes(), 4096, end())]).await;
    let model = server.model(ProviderKind::OpenAi);
    for _ in 0..5 {
        model.chat(&request()).await.unwrap();
        // The end of the body is read beside the caller.
        tokio::task::yield_now().await;
    }
    assert!(server.n_connections() < 5, "{} connections for 5 calls", server.n_connections());
}

#[tokio::test]
async fn a_reader_that_has_enough_ends_the_call_at_the_provider() {
    let events = openai_events(&["{\"z\":\"x\"", ",\"a\":1}"]);
    let first = events.find("\n\n").unwrap() + 2;
    let server = Server::new([stream(&events.as_bytes()[..first], 4096, vec![Step::Hang])]).await;
    let (readers, _) = Keeping::starting(1);
    let mut request = request();
    request.readers = Some(readers);
    let reply = server.model(ProviderKind::OpenAi).chat(&request).await.unwrap();
    assert_eq!((&*reply.text, reply.finish, reply.usage), ("{\"z\":\"x\"", Finish::Enough, None));
    server.until_one_has_gone().await;
}

#[tokio::test]
async fn a_provider_that_does_not_stream_is_read_as_a_whole() {
    let server = Server::new([json(200, WHOLE)]).await;
    let reply = server.model(ProviderKind::OpenAi).chat(&request()).await.unwrap();
    assert_eq!(reply.text, "It is a sugar.");
}

#[tokio::test]
async fn each_reason_for_an_end_is_told_apart() {
    for (reason, expected) in [
        ("length", Ok(Finish::Length)),
        ("content_filter", Ok(Finish::Filtered)),
        ("tool_calls", Ok(Finish::Stop)),
        ("error", Err(LlmErrorKind::InvalidReply)),
    ] {
        let events = openai_events(&["It"]).replace("\"stop\"", &format!("\"{reason}\""));
        let server = Server::new([stream(events.as_bytes(), 4096, end())]).await;
        let result = server.model(ProviderKind::OpenAi).chat(&request()).await;
        assert_eq!(result.map(|reply| reply.finish).map_err(|error| error.kind()), expected, "{reason}");
    }
    let refused = WHOLE.replace("\"refusal\":null", "\"refusal\":\"I will not.\"");
    let server = Server::new([json(200, &refused)]).await;
    let reply = server.model(ProviderKind::OpenAi).chat(&request()).await.unwrap();
    assert_eq!(reply.finish, Finish::Filtered);
}

#[tokio::test]
async fn on_azure_the_deployment_is_in_the_path_and_the_key_in_a_header_of_its_own() {
    let server = Server::new([json(200, WHOLE)]).await;
    let mut config = server.config(ProviderKind::Azure);
    config.headers = vec![("X-Team".to_owned(), Secret::new("metabolomics"))];
    let model = config.build(Arc::new(SystemClock)).unwrap();
    model.chat(&request()).await.unwrap();
    let asked = server.last_asked();
    assert_eq!(asked.path(), "/openai/deployments/test-model/chat/completions?api-version=2024-10-21");
    assert_eq!((asked.header("api-key"), asked.header("authorization")), (Some("sk-hush"), None));
    assert_eq!(asked.header("x-team"), Some("metabolomics"));
    assert_eq!(asked.body["prompt_cache_key"].as_str().map(str::len), Some(32));
    assert!(!format!("{model:?} {model} {config:?}").contains("sk-hush"));
}

#[tokio::test]
async fn the_schema_is_sent_in_its_own_order_and_asked_for_in_ever_weaker_ways() {
    let rejected = |parameter: &str| {
        let body = json!({"error": {"message": "What is glucose?", "param": parameter, "code": null}});
        json(400, &body.to_string())
    };
    let by_tool = r#"{"choices":[{"message":{"content":null,"tool_calls":[{"function":{"arguments":"{\"z\":1}"}}]},
        "finish_reason":"tool_calls"}]}"#;
    let server = Server::new([
        rejected("response_format"),
        json(200, by_tool),
        rejected("tools"),
        rejected("response_format"),
        json(200, WHOLE),
    ])
    .await;
    let model = server.model(ProviderKind::OpenAi);
    let reply = model.chat(&schema_request()).await.unwrap();
    assert_eq!((&*reply.text, reply.report.n_attempts, reply.usage), ("{\"z\":1}", 2, None));
    let asked = server.asked();
    let sent = asked[0].body["response_format"]["json_schema"].clone();
    assert_eq!((&sent["name"], &sent["strict"]), (&json!("reply"), &json!(true)));
    assert_eq!(asked[1].body["response_format"], json!(null));
    assert_eq!(asked[1].body["tools"][0]["function"]["name"], "reply");
    assert_eq!(asked[1].body["tool_choice"], json!({"type": "function", "function": {"name": "reply"}}));

    // What was found out is remembered, and more is found out.
    let reply = model.chat(&schema_request()).await.unwrap();
    assert_eq!(reply.report.n_attempts, 3);
    let asked = server.asked();
    assert_eq!(asked.len(), 5);
    assert_eq!(asked[3].body["response_format"], json!({"type": "json_object"}));
    assert_eq!(asked[4].body["response_format"], json!(null));
    let told = asked[4].body["messages"][0]["content"].as_str().unwrap();
    assert!(told.starts_with("Say it.\n\n") && told.contains("\"properties\":{\"z\""), "{told}");
    model.chat(&schema_request()).await.unwrap();
    assert_eq!(server.asked().len(), 6);
}

#[tokio::test]
async fn what_is_rejected_for_its_content_teaches_nothing() {
    let rejection =
        json!({"error": {"message": "cannot read: temperature in response_format", "code": "bad"}});
    let rejected = json(400, &rejection.to_string());
    let server = Server::new(std::iter::repeat_n(rejected, 3).chain([json(200, WHOLE)])).await;
    let mut config = server.config(ProviderKind::OpenAi);
    config.schema_support = SchemaSupport::JsonObject;
    let model = config.build(Arc::new(SystemClock)).unwrap();
    let error = model.chat(&schema_request()).await.unwrap_err();
    assert_eq!(error.kind(), LlmErrorKind::InvalidRequest);
    assert_eq!(error.to_string(), "the provider does not take the request: status 400 (bad)");
    assert_eq!(server.asked().len(), 3);
    let first = server.asked().swap_remove(0).body;
    model.chat(&schema_request()).await.unwrap();
    assert_eq!(server.last_asked().body, first);
}

#[tokio::test]
async fn the_arguments_of_a_tool_are_streamed_and_words_beside_them_are_not() {
    let mut events = String::new();
    for delta in [
        json!({"content": "I will call it."}),
        json!({"tool_calls": [{"index": 0, "id": "t", "function": {"name": "reply", "arguments": ""}}]}),
        json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"z\":"}}]}),
        json!({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
    ] {
        events.push_str(&format!("data: {}\n\n", json!({"choices": [{"delta": delta}]})));
    }
    events.push_str("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
    let server = Server::new([stream(events.as_bytes(), 11, end())]).await;
    let mut config = server.config(ProviderKind::OpenAi);
    config.schema_support = SchemaSupport::Tool;
    let (readers, pieces) = Keeping::starting(usize::MAX);
    let mut request = schema_request();
    request.readers = Some(readers);
    let reply = config.build(Arc::new(SystemClock)).unwrap().chat(&request).await.unwrap();
    assert_eq!((&*reply.text, reply.finish), ("{\"z\":1}", Finish::Stop));
    assert_eq!(*pieces.lock().unwrap(), [["{\"z\":", "1}"]]);
}

#[tokio::test]
async fn words_are_the_reply_of_a_model_that_does_not_call_the_tool() {
    for is_streamed in [true, false] {
        let streamed = stream(openai_events(&["{\"z\":", "1}"]).as_bytes(), 64, end());
        let whole = WHOLE.replace("It is a sugar.", "{\\\"z\\\":1}");
        let server = Server::streaming_if_asked(streamed, json(200, &whole)).await;
        let mut config = server.config(ProviderKind::OpenAi);
        config.schema_support = SchemaSupport::Tool;
        let (readers, pieces) = Keeping::starting(usize::MAX);
        let mut request = schema_request();
        (request.readers, request.stream) = (Some(readers), is_streamed);
        let reply = config.build(Arc::new(SystemClock)).unwrap().chat(&request).await.unwrap();
        assert_eq!((&*reply.text, pieces.lock().unwrap()[0].concat().as_str()), ("{\"z\":1}", "{\"z\":1}"));
    }
}

#[tokio::test]
async fn the_name_of_the_limit_and_the_temperature_are_found_out() {
    let message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.";
    let limit = json!({"error": {"message": message, "param": null}}).to_string();
    let temperature = json!({"error": {"message": "Unsupported value", "param": "temperature"}}).to_string();
    let server = Server::new([json(400, &limit), json(400, &temperature), json(200, WHOLE)]).await;
    let model = server.model(ProviderKind::OpenAi);
    assert_eq!(model.chat(&request()).await.unwrap().report.n_attempts, 3);
    assert_eq!(model.chat(&request()).await.unwrap().report.n_attempts, 1);
    let body = server.last_asked().body;
    assert_eq!((&body["max_tokens"], &body["max_completion_tokens"]), (&json!(null), &json!(256)));
    assert_eq!(body["temperature"], json!(null));
}

#[tokio::test]
async fn a_key_is_not_sent_on_elsewhere() {
    let elsewhere = Server::new([json(200, WHOLE)]).await;
    let location = format!("http://{}/chat/completions", elsewhere.address);
    let server = Server::new([answer(307, &[("location", &location)], "text/plain", "")]).await;
    let error = server.model(ProviderKind::OpenAi).chat(&request()).await.unwrap_err();
    assert_eq!(error.kind(), LlmErrorKind::NotFound);
    assert_eq!(elsewhere.n_connections(), 0);
}
