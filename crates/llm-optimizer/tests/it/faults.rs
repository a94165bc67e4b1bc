//! What a provider, or somebody between, can do wrong.

use std::sync::Arc;

use hp_base::SystemClock;
use llm_optimizer::{LlmError, LlmErrorKind, ProviderKind};

use crate::server::{STREAM_HEAD, Server, Step, answer, chunk, end, json, openai_events, request, stream};

async fn failure(answer: Vec<Step>) -> LlmError {
    let server = Server::new([answer]).await;
    server.model(ProviderKind::OpenAi).chat(&request()).await.unwrap_err()
}

#[tokio::test]
async fn each_status_has_its_meaning_and_no_message_repeats_the_prompt() {
    for (status, expected) in [
        (400, LlmErrorKind::InvalidRequest),
        (401, LlmErrorKind::Unauthorized),
        (402, LlmErrorKind::Unauthorized),
        (403, LlmErrorKind::Unauthorized),
        (404, LlmErrorKind::NotFound),
        (408, LlmErrorKind::Unavailable),
        (409, LlmErrorKind::Unavailable),
        (413, LlmErrorKind::InvalidRequest),
        (422, LlmErrorKind::InvalidRequest),
        (425, LlmErrorKind::Unavailable),
        (429, LlmErrorKind::RateLimited),
        (500, LlmErrorKind::Unavailable),
        (503, LlmErrorKind::Unavailable),
        (529, LlmErrorKind::Unavailable),
    ] {
        let body = r#"{"error":{"message":"What is glucose? sk-hush","type":"a_type","code":7}}"#;
        let error = failure(json(status, body)).await;
        assert_eq!(error.kind(), expected, "{status}");
        assert!(error.to_string().ends_with(&format!(": status {status} (a_type, 7)")), "{error}");
        assert!(!format!("{error:?}").contains("glucose"), "{error:?}");
        let error = failure(answer(status, &[], "text/html", "<h1>What is glucose?</h1>")).await;
        assert_eq!(error.kind(), expected, "{status} in HTML");
        assert!(!format!("{error:?}").contains("glucose"), "{error:?}");
    }
}

#[tokio::test]
async fn what_is_no_reply_is_not_taken_for_one() {
    let events = openai_events(&["It is ", "a sugar."]);
    let whole = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}"#;
    let broken = LlmErrorKind::Disconnected;
    let invalid = LlmErrorKind::InvalidReply;
    let cut = events.find("\"finish_reason\":\"stop\"").unwrap();
    let cut = &events[..events[..cut].rfind("data: ").unwrap()];
    let other_id = events.replacen("\"c1\"", "\"c2\"", 1);
    let other_index = events.replacen("\"index\":0", "\"index\":1", 1);
    let late = events
        .replace("data: [DONE]", "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\ndata: [DONE]");
    let in_stream = format!("{cut}data: {{\"error\":{{\"code\":502,\"message\":\"What is glucose?\"}}}}\n\n");
    let long = format!("data: {}\n\n", "x".repeat(2 << 20));
    let body = |bytes: &[u8]| stream(bytes, 1 << 16, end());
    for (name, answer, expected) in [
        ("another type", answer(200, &[], "text/html", whole), invalid),
        ("no type", vec![Step::Send(b"HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n".to_vec())], invalid),
        ("no JSON", json(200, "What is glucose?"), invalid),
        ("no choice", json(200, r#"{"choices":[]}"#), invalid),
        ("no end", json(200, r#"{"choices":[{"message":{"content":"a"}}]}"#), broken),
        ("an error as a success", json(200, r#"{"error":{"code":429}}"#), LlmErrorKind::RateLimited),
        ("too much", json(200, &format!("\"{}\"", "x".repeat(5 << 20))), invalid),
        (
            "too much text",
            json(200, &whole.replace("\"a\"", &format!("\"{}\"", "x".repeat(2 << 20)))),
            invalid,
        ),
        (
            "less than was promised",
            vec![answer(200, &[], "application/json", whole)[0].clone(), Step::Close],
            broken,
        ),
        ("an empty stream", body(b""), broken),
        ("a stream that ends early", body(cut.as_bytes()), broken),
        ("a stream that only says it is done", body(b"data: [DONE]\n\n"), broken),
        ("a stream that breaks off", stream(cut.as_bytes(), 1 << 16, vec![Step::Close]), broken),
        ("two replies in one", body(other_id.as_bytes()), invalid),
        ("another choice", body(other_index.as_bytes()), invalid),
        ("text after the end", body(late.as_bytes()), invalid),
        ("an error in the stream", body(in_stream.as_bytes()), LlmErrorKind::Unavailable),
        ("a long event", body(long.as_bytes()), invalid),
        ("no UTF-8", body(b"data: {\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}\n\n"), invalid),
        ("no JSON in the stream", body(b"data: What is glucose?\n\n"), invalid),
        (
            "a broken chunk",
            vec![Step::Send(format!("{STREAM_HEAD}zz\r\n").into_bytes()), Step::Close],
            broken,
        ),
        ("closed at once", vec![Step::Close], broken),
        ("no HTTP", vec![Step::Send(b"hello\r\n\r\n".to_vec()), Step::Close], broken),
    ] {
        let answer = if name == "less than was promised" {
            let text = format!(
                "HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{whole}"
            );
            vec![Step::Send(text.into_bytes()), Step::Close]
        } else {
            answer
        };
        let error = failure(answer).await;
        assert_eq!(error.kind(), expected, "{name}: {error:?}");
        assert!(!format!("{error:?}").contains("glucose"), "{name}: {error:?}");
    }
}

#[tokio::test]
async fn what_breaks_after_the_end_of_a_reply_does_it_no_harm() {
    let events = openai_events(&["It is ", "a sugar."]);
    let without_done = events.replace("data: [DONE]\n\n", "");
    for then in [vec![Step::Close], end()] {
        let server = Server::new([stream(without_done.as_bytes(), 4096, then)]).await;
        let reply = server.model(ProviderKind::OpenAi).chat(&request()).await.unwrap();
        assert_eq!((&*reply.text, reply.usage.is_some()), ("It is a sugar.", true));
    }
    // Once it is done, it is not waited for the end of the body.
    let server = Server::new([stream(events.as_bytes(), 4096, vec![Step::Hang])]).await;
    assert_eq!(server.model(ProviderKind::OpenAi).chat(&request()).await.unwrap().text, "It is a sugar.");
}

#[tokio::test]
async fn a_connection_that_was_given_up_is_replaced_at_once_and_only_once() {
    let whole = json(200, r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}"#);
    let server = Server::new([whole.clone(), vec![Step::Close], whole, vec![Step::Close]]).await;
    let model = server.model(ProviderKind::OpenAi);
    assert_eq!(model.chat(&request()).await.unwrap().report.n_attempts, 1);
    assert_eq!(model.chat(&request()).await.unwrap().report.n_attempts, 2);
    assert_eq!(model.chat(&request()).await.unwrap_err().kind(), LlmErrorKind::Disconnected);
    assert_eq!(server.asked().len(), 5);

    // What breaks after an answer has begun is not sent anew.
    let half = vec![Step::Send([STREAM_HEAD.as_bytes(), &chunk(b"data: ")].concat()), Step::Close];
    let whole = json(200, r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}"#);
    let server = Server::new([whole, half]).await;
    let model = server.model(ProviderKind::OpenAi);
    model.chat(&request()).await.unwrap();
    assert_eq!(model.chat(&request()).await.unwrap_err().kind(), LlmErrorKind::Disconnected);
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn what_warming_has_opened_may_have_been_given_up_too() {
    let whole = json(200, r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}"#);
    let server = Server::new([json(200, "{}"), vec![Step::Close], whole]).await;
    let mut config = server.config(ProviderKind::OpenAi);
    config.n_clients = 1;
    let model = config.build(Arc::new(SystemClock)).unwrap();
    model.warm().await.unwrap();
    assert_eq!(model.chat(&request()).await.unwrap().report.n_attempts, 2);
}
