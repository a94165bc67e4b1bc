//! Each fault, as a client sees it.

use llm_sim::{Fault, Faults, Simulator};
use reqwest::Response;
use serde_json::Value;

use crate::client::{
    anthropic, config, data, events, json_of, log_when, openai, post_anthropic, post_openai, start,
    streamed_text,
};

const QUERY: &str = "role of PPAR alpha in beta oxidation";

async fn with(fault: Fault) -> Simulator {
    let simulator = start().await;
    simulator.set_faults(Faults::always(fault)).await;
    simulator
}

async fn ask(simulator: &Simulator, stream: bool) -> Response {
    post_openai(simulator, &openai(QUERY, stream)).await.unwrap()
}

/// What the model says, of a reply sent whole.
async fn said(fault: Fault) -> String {
    let body = json_of(ask(&with(fault).await, false).await).await;
    body["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

/// A stream that ends as a transfer should.
async fn stream(fault: Fault) -> String {
    let bytes = ask(&with(fault).await, true).await.bytes().await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Whether a TCP reset is among the causes.
fn is_reset(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[tokio::test]
async fn errors_have_their_status_and_charge_nothing() {
    for (fault, status, content_type, retry_after) in [
        (Fault::ServerError, 500, "application/json", None),
        (Fault::BadGatewayHtml, 502, "text/html; charset=utf-8", None),
        (Fault::RateLimited, 429, "application/json", None),
        (Fault::RateLimitedRetryAfter, 429, "application/json", Some("2")),
        (Fault::WrongContentType, 200, "text/html; charset=utf-8", None),
    ] {
        let simulator = with(fault).await;
        let response = ask(&simulator, false).await;
        assert_eq!(response.status(), status, "{fault}");
        assert_eq!(response.headers()["content-type"], content_type, "{fault}");
        let header = response.headers().get("retry-after").map(|value| value.to_str().unwrap());
        assert_eq!(header, retry_after, "{fault}");
        let log = simulator.log();
        assert_eq!((log[0].fault, log[0].status), (Some(fault), Some(status)));
        assert_eq!((log[0].prompt_tokens, log[0].completion_tokens), (0, 0), "{fault}");
        assert_eq!(simulator.stats().by_fault[&fault], 1);
    }
}

#[tokio::test]
async fn connections_are_reset_before_the_headers_and_in_the_body() {
    let simulator = with(Fault::ResetBeforeHeaders).await;
    let error = post_openai(&simulator, &openai(QUERY, false)).await.unwrap_err();
    assert!(is_reset(&error), "{error:?}");
    for stream in [false, true] {
        simulator.set_faults(Faults::always(Fault::ResetInBody)).await;
        let mut response = ask(&simulator, stream).await;
        assert_eq!(response.status(), 200);
        assert!(response.chunk().await.unwrap().is_some());
        let error = loop {
            match response.chunk().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the body came to an end"),
                Err(error) => break error,
            }
        };
        assert!(is_reset(&error), "{error:?}");
    }
    assert!(simulator.log().iter().all(|entry| !entry.cancelled && entry.ended_us.is_some()));
}

#[tokio::test]
async fn requests_hang_until_the_client_goes() {
    for (fault, n_completion) in [(Fault::HangBeforeHeaders, 0..1), (Fault::HangMidStream, 1..100)] {
        let simulator = with(fault).await;
        let request = openai(QUERY, true);
        let call = tokio::spawn({
            let url = simulator.url();
            async move {
                let response = crate::client::post(&format!("{url}/v1/chat/completions"), &request).await;
                response.unwrap().bytes().await.unwrap()
            }
        });
        let log =
            log_when(&simulator, |log| log.first().is_some_and(|entry| entry.fault == Some(fault))).await;
        assert_eq!(log[0].ended_us, None);
        if fault == Fault::HangMidStream {
            log_when(&simulator, |log| log[0].status == Some(200)).await;
        }
        assert!(!call.is_finished());
        assert_eq!(simulator.stats().in_flight, 1);
        call.abort();
        let log = log_when(&simulator, |log| log[0].ended_us.is_some()).await;
        assert!(log[0].cancelled, "{fault}");
        assert!(n_completion.contains(&log[0].completion_tokens), "{fault}: {}", log[0].completion_tokens);
        assert_eq!(simulator.stats().in_flight, 0);
    }
}

#[tokio::test]
async fn a_slow_body_drips() {
    let config = llm_sim::Config { slow_drip: std::time::Duration::from_millis(30), ..config() };
    let simulator = Simulator::start(config).await.unwrap();
    simulator.set_faults(Faults::always(Fault::SlowDrip)).await;
    for stream in [false, true] {
        let started = std::time::Instant::now();
        let mut response = ask(&simulator, stream).await;
        let mut n_chunks = 0_u32;
        while response.chunk().await.unwrap().is_some() {
            n_chunks += 1;
        }
        assert!(n_chunks > 3, "{n_chunks}");
        assert!(started.elapsed() > std::time::Duration::from_millis(150));
    }
}

#[tokio::test]
async fn streams_end_half_way_as_if_complete() {
    let truncated = stream(Fault::TruncatedStream).await;
    assert!(!truncated.contains("[DONE]"));
    assert!(events(&truncated).iter().all(|event| event["choices"][0]["finish_reason"].is_null()));
    let text = streamed_text(&truncated);
    assert!(!text.is_empty() && serde_json::from_str::<Value>(&text).is_err(), "{text}");

    let done = stream(Fault::TruncatedStreamDone).await;
    assert_eq!(data(&done).last().unwrap(), "[DONE]");
    assert!(events(&done).iter().any(|event| event["choices"][0]["finish_reason"] == "stop"));
    assert!(serde_json::from_str::<Value>(&streamed_text(&done)).is_err());

    let simulator = with(Fault::TruncatedStream).await;
    let whole = ask(&simulator, false).await.text().await.unwrap();
    assert!(!whole.is_empty() && serde_json::from_str::<Value>(&whole).is_err());
}

#[tokio::test]
async fn the_model_says_what_it_should_not() {
    assert!(serde_json::from_str::<Value>(&said(Fault::MalformedJson).await).is_err());
    let wrong: Value = serde_json::from_str(&said(Fault::WrongShape).await).unwrap();
    assert!(wrong.is_object() && wrong.get("category").is_none());
    let unknown: Value = serde_json::from_str(&said(Fault::UnknownCategory).await).unwrap();
    assert_eq!(unknown["category"], "UNHEARD_OF");
    let sure: Value = serde_json::from_str(&said(Fault::ConfidenceOutOfRange).await).unwrap();
    assert_eq!(sure["confidence"], 1e15);
    assert_eq!(said(Fault::EmptyReply).await, "");
    assert_eq!(streamed_text(&stream(Fault::EmptyReply).await), "");
    let enormous = said(Fault::EnormousReply).await;
    assert!(enormous.len() >= 4 << 20);
    assert!(streamed_text(&stream(Fault::EnormousReply).await) == enormous);
}

#[tokio::test]
async fn the_provider_sends_what_it_should_not() {
    let body = ask(&with(Fault::MalformedBody).await, false).await.text().await.unwrap();
    assert!(serde_json::from_str::<Value>(&body).is_err());
    let broken = stream(Fault::MalformedBody).await;
    assert!(
        data(&broken).iter().any(|data| data != "[DONE]" && serde_json::from_str::<Value>(data).is_err())
    );

    for stream in [false, true] {
        let bytes = ask(&with(Fault::InvalidUtf8).await, stream).await.bytes().await.unwrap();
        assert_eq!(bytes.iter().filter(|byte| **byte == 0xff).count(), 1);
        assert!(std::str::from_utf8(&bytes).is_err());
    }

    let good = streamed_text(&stream(Fault::UsageMissing).await);
    let doubled = streamed_text(&stream(Fault::DuplicatedEvents).await);
    assert_eq!(doubled.len(), 2 * good.len());
    let reordered = streamed_text(&stream(Fault::ReorderedEvents).await);
    assert_ne!(reordered, good);
    let sorted = |text: &str| {
        let mut characters: Vec<char> = text.chars().collect();
        characters.sort_unstable();
        characters
    };
    assert_eq!(sorted(&reordered), sorted(&good));
}

#[tokio::test]
async fn usage_is_charged_and_not_reported() {
    let simulator = with(Fault::UsageMissing).await;
    assert!(json_of(ask(&simulator, false).await).await.get("usage").is_none());
    let stream = ask(&simulator, true).await.text().await.unwrap();
    assert!(!stream.contains("usage"));
    assert!(
        json_of(post_anthropic(&simulator, &anthropic(QUERY, false)).await.unwrap())
            .await
            .get("usage")
            .is_none()
    );
    let stats = simulator.stats();
    assert!(stats.prompt_tokens > 0 && stats.completion_tokens > 0);
    assert!(simulator.log().iter().all(|entry| entry.completion_tokens > 0));
}

#[tokio::test]
async fn every_fault_can_happen_in_each_format() {
    for (fault, name, _) in llm_sim::FAULTS {
        let is_without_end =
            matches!(fault, Fault::HangBeforeHeaders | Fault::HangMidStream | Fault::SlowDrip);
        if is_without_end || *fault == Fault::ConnectionRefused {
            continue;
        }
        assert_eq!(name.parse::<Fault>().unwrap(), *fault);
        let simulator = with(*fault).await;
        for stream in [false, true] {
            if let Ok(response) = post_anthropic(&simulator, &anthropic(QUERY, stream)).await {
                // It may break off, which is what some are about.
                let _ = response.bytes().await;
            }
        }
        assert!(simulator.log().iter().all(|entry| entry.ended_us.is_some()), "{name}");
    }
}
