//! Deadlines, connections and quotas.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hp_base::{Deadline, ManualClock, Secret, SystemClock};
use llm_optimizer::{LlmErrorKind, ProviderConfig, ProviderKind};

use crate::server::{Keeping, STREAM_HEAD, Server, Step, answer, end, json, openai_events, request, stream};

const SOON: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_deadline_bounds_the_headers_and_each_piece_of_the_body() {
    let events = openai_events(&["It is"]);
    for answer in [
        vec![Step::Hang],
        vec![Step::Send(STREAM_HEAD.as_bytes().to_vec()), Step::Hang],
        stream(&events.as_bytes()[..40], 4096, vec![Step::Hang]),
        vec![Step::Send(b"HTTP/1.1 500 X\r\ncontent-length: 5\r\n\r\n".to_vec()), Step::Hang],
    ] {
        let server = Server::new([answer]).await;
        let model = server.model(ProviderKind::OpenAi);
        let mut request = request();
        let started = Instant::now();
        request.deadline = Deadline::at(started + SOON);
        assert_eq!(model.chat(&request).await.unwrap_err().kind(), LlmErrorKind::OutOfTime);
        assert!(started.elapsed() >= SOON);
        server.until_one_has_gone().await;
    }
}

#[tokio::test]
async fn a_call_that_was_sent_is_given_its_grace() {
    let server = Server::new([vec![Step::Hang]]).await;
    let model = server.model(ProviderKind::OpenAi);
    let mut request = request();
    let started = Instant::now();
    request.deadline = Deadline::at(started + SOON);
    request.grace = 2 * SOON;
    assert_eq!(model.chat(&request).await.unwrap_err().kind(), LlmErrorKind::OutOfTime);
    assert!(started.elapsed() >= 3 * SOON);
    request.deadline = Deadline::at(Instant::now());
    assert_eq!(model.chat(&request).await.unwrap_err().kind(), LlmErrorKind::OutOfTime);
    assert_eq!(server.asked().len(), 1, "nothing is begun within the grace");
}

#[tokio::test]
async fn a_call_is_bounded_without_a_deadline_and_not_begun_after_it() {
    let server = Server::new([vec![Step::Hang]]).await;
    let mut config = server.config(ProviderKind::OpenAi);
    config.call_timeout = SOON;
    let model = config.build(Arc::new(SystemClock)).unwrap();
    assert_eq!(model.chat(&request()).await.unwrap_err().kind(), LlmErrorKind::OutOfTime);
    let mut request = request();
    request.deadline = Deadline::at(Instant::now());
    assert_eq!(model.chat(&request).await.unwrap_err().kind(), LlmErrorKind::OutOfTime);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_call_that_is_dropped_ends_at_the_provider_and_gives_its_connection_back() {
    let events = openai_events(&["a"]);
    let hanging = stream(&events.as_bytes()[..events.find("\n\n").unwrap() + 2], 4096, vec![Step::Hang]);
    let server = Server::new([hanging, stream(events.as_bytes(), 4096, end())]).await;
    let mut config = server.config(ProviderKind::OpenAi);
    config.max_connections = 1;
    let model = config.build(Arc::new(SystemClock)).unwrap();
    let (readers, pieces) = Keeping::starting(usize::MAX);
    let mut request = request();
    request.readers = Some(readers);
    let mut call = model.chat(&request);
    std::future::poll_fn(|context| {
        assert!(call.as_mut().poll(context).is_pending());
        let has_begun = pieces.lock().unwrap().first().is_some_and(|pieces| !pieces.is_empty());
        if has_begun { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    drop(call);
    server.until_one_has_gone().await;
    assert_eq!(model.chat(&request).await.unwrap().text, "a");
}

#[tokio::test]
async fn no_more_requests_than_allowed_are_under_way() {
    let server = Server::new([vec![Step::Hang]]).await;
    let mut config = server.config(ProviderKind::OpenAi);
    config.max_connections = 2;
    let model = config.build(Arc::new(SystemClock)).unwrap();
    let calls: Vec<_> = (0..2)
        .map(|_| {
            let model = Arc::clone(&model);
            tokio::spawn(async move { model.chat(&request()).await })
        })
        .collect();
    server.until_asked(2).await;
    let mut request = request();
    request.deadline = Deadline::at(Instant::now() + SOON);
    let error = model.chat(&request).await.unwrap_err();
    assert_eq!(error.kind(), LlmErrorKind::Busy);
    assert_eq!(error.to_string(), "all of the 2 connections are in use");
    assert_eq!(server.asked().len(), 2);
    // The place of a call that is dropped is free again.
    calls[0].abort();
    request.deadline = Deadline::never();
    let call = tokio::spawn(async move { model.chat(&request).await });
    server.until_asked(3).await;
    call.abort();
    calls[1].abort();
}

#[tokio::test]
async fn requests_are_spread_over_clients_and_warming_opens_a_connection_for_each() {
    let server = Server::new([json(401, "{}")]).await;
    let model = server.model(ProviderKind::OpenAi);
    model.warm().await.unwrap();
    assert_eq!(server.n_connections(), 4);
    assert!(server.asked().iter().all(|asked| asked.head.starts_with("GET /models ")));
    // What was opened is used.
    model.chat(&request()).await.unwrap_err();
    assert_eq!(server.n_connections(), 4);
}

#[tokio::test]
async fn what_cannot_be_reached_is_unavailable() {
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut config = ProviderConfig::new(ProviderKind::OpenAi, "m");
    config.base_url = format!("http://{address}/v1");
    let model = config.build(Arc::new(SystemClock)).unwrap();
    assert_eq!(model.chat(&request()).await.unwrap_err().kind(), LlmErrorKind::Unavailable);
    assert_eq!(model.warm().await.unwrap_err().kind(), LlmErrorKind::Unavailable);
}

#[tokio::test]
async fn after_a_wait_is_asked_for_nothing_is_sent_until_it_is_over() {
    let limited =
        r#"{"error":{"type":"requests","code":"rate_limit_exceeded","message":"What is glucose?"}}"#;
    let whole = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}"#;
    let spent = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "2s")];
    let server = Server::new([
        answer(429, &[("retry-after", "7")], "application/json", limited),
        answer(200, &spent, "application/json", whole),
        json(429, limited),
        json(200, whole),
    ])
    .await;
    let clock = Arc::new(ManualClock::new());
    let model = server.config(ProviderKind::OpenAi).build(Arc::clone(&clock) as _).unwrap();
    let failed = async || {
        let error = model.chat(&request()).await.unwrap_err();
        assert_eq!(error.kind(), LlmErrorKind::RateLimited);
        (error.to_string(), error.retry_after().map(|wait| wait.as_secs()))
    };
    let message =
        "the provider has had too many requests or tokens: status 429 (requests, rate_limit_exceeded)";
    let held = "the provider has said to wait, so nothing was sent";
    assert_eq!(failed().await, (message.to_owned(), Some(7)));
    clock.advance(Duration::from_secs(4));
    assert_eq!(failed().await, (held.to_owned(), Some(3)));
    assert_eq!(server.asked().len(), 1);
    clock.advance(Duration::from_secs(3));
    model.chat(&request()).await.unwrap();
    assert_eq!(failed().await, (held.to_owned(), Some(2)));
    clock.advance(Duration::from_secs(2));
    // Without a word on how long, nothing is held back.
    assert_eq!(failed().await, (message.to_owned(), None));
    model.chat(&request()).await.unwrap();
}

#[test]
fn what_cannot_be_used_is_refused_in_words_without_secrets() {
    let refused = |change: fn(&mut ProviderConfig)| {
        let mut config = ProviderConfig::new(ProviderKind::OpenAi, "m");
        config.api_key = Secret::new("sk-hush");
        config.base_url = "http://host/v1".to_owned();
        change(&mut config);
        let error = config.build(Arc::new(SystemClock)).unwrap_err();
        assert_eq!(error.kind(), LlmErrorKind::InvalidConfig);
        assert!(!format!("{error} {error:?} {:?} {:?}", config.api_key, config.headers).contains("hush"));
        error.to_string()
    };
    for (change, expected) in [
        ((|config| config.model.clear()) as fn(&mut ProviderConfig), "model is empty"),
        (|config| config.base_url = "ftp://host".to_owned(), "neither http:// nor https://"),
        (|config| config.base_url = "host/v1".to_owned(), "base_url cannot be read"),
        (|config| config.base_url = "http://me:hush@host".to_owned(), "holds a user or a password"),
        (|config| config.base_url = "http://host/v1?key=hush".to_owned(), "before ? and #"),
        (|config| config.api_key = Secret::new("sk-hush\r\nx: y"), "api_key holds what no header can"),
        (|config| config.headers = vec![("x".to_owned(), Secret::new("hush\n"))], "the header \"x\" holds"),
        (|config| config.headers = vec![("Host".to_owned(), Secret::new("h"))], "not yours to set"),
        (|config| config.headers = vec![("a b".to_owned(), Secret::new("h"))], "no name of a header"),
        (|config| config.ca_file = Some("ca.pem".into()), "ca_file is for TLS"),
        (|config| config.api_version = "1".to_owned(), "api_version is for Azure and Anthropic"),
        (|config| config.call_timeout = Duration::MAX, "call_timeout is not above 0 and up to a day"),
        (|config| config.n_clients = 0, "n_clients is not between"),
        (|config| config.max_connections = 0, "max_connections is not between"),
        (
            |config| {
                config.base_url = "https://host/v1".to_owned();
                config.ca_file = Some("/nowhere/ca.pem".into());
            },
            "ca_file /nowhere/ca.pem cannot be read",
        ),
    ] {
        let message = refused(change);
        assert!(message.contains(expected), "{message}");
    }
    ProviderConfig::new(ProviderKind::Anthropic, "m").build(Arc::new(SystemClock)).unwrap();
}
