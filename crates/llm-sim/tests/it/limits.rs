//! Keys, models, and how much is served.

use std::time::Duration;

use llm_sim::{Config, Latency, Limits, Simulator};
use serde_json::json;

use crate::client::{
    anthropic, client, config, json_of, log_when, openai, post, post_anthropic, post_openai,
};

const QUERY: &str = "what is metabolomics";

#[tokio::test]
async fn keys_are_looked_for_where_each_provider_has_them() {
    let config = Config { api_keys: ["right"].into_iter().collect(), ..config() };
    assert!(!format!("{config:?}").contains("right"));
    let simulator = Simulator::start(config).await.unwrap();
    let url = simulator.url();
    for (path, header, prefix, body) in [
        ("/v1/chat/completions", "authorization", "Bearer ", openai(QUERY, false)),
        ("/openai/deployments/m/chat/completions?api-version=1", "api-key", "", openai(QUERY, false)),
        ("/v1/messages", "x-api-key", "", anthropic(QUERY, false)),
    ] {
        let send = async |key: &str| {
            let request = client().post(format!("{url}{path}")).header("anthropic-version", "2023-06-01");
            request.header(header, format!("{prefix}{key}")).body(body.to_string()).send().await.unwrap()
        };
        assert_eq!(send("right").await.status(), 200, "{path}");
        let refused = send("wrong").await;
        assert_eq!(refused.status(), 401, "{path}");
        let error = json_of(refused).await["error"].clone();
        match header {
            "authorization" => assert_eq!(error["code"], "invalid_api_key"),
            "api-key" => assert_eq!(error["code"], "401"),
            _ => assert_eq!(error["type"], "authentication_error"),
        }
    }
}

#[tokio::test]
async fn models_that_are_named_are_the_only_ones() {
    let config = Config { models: vec!["small".to_owned()], ..config() };
    let simulator = Simulator::start(config).await.unwrap();
    let models = client().get(format!("{}/v1/models", simulator.url())).send().await.unwrap();
    assert_eq!(json_of(models).await["data"][0]["id"], "small");
    let mut request = openai(QUERY, false);
    let response = post_openai(&simulator, &request).await.unwrap();
    assert_eq!(response.status(), 404);
    assert_eq!(json_of(response).await["error"]["code"], "model_not_found");
    request["model"] = "small".into();
    assert_eq!(post_openai(&simulator, &request).await.unwrap().status(), 200);
    // Asking which there are is no request of a chat.
    assert_eq!(simulator.log().len(), 2);
}

#[tokio::test]
async fn what_is_beyond_the_requests_a_minute_is_told_when_to_come_back() {
    let limits = Limits { requests_per_minute: Some(2), ..Limits::default() };
    let simulator = Simulator::start(Config { limits, ..config() }).await.unwrap();
    let first = post_openai(&simulator, &openai(QUERY, false)).await.unwrap();
    assert_eq!(first.headers()["x-ratelimit-limit-requests"], "2");
    assert_eq!(first.headers()["x-ratelimit-remaining-requests"], "1");
    assert!(first.headers().contains_key("x-ratelimit-reset-requests"));
    let second = post_anthropic(&simulator, &anthropic(QUERY, false)).await.unwrap();
    assert_eq!(second.headers()["anthropic-ratelimit-requests-remaining"], "0");
    assert!(second.headers()["anthropic-ratelimit-requests-reset"].to_str().unwrap().ends_with('Z'));
    let third = post_openai(&simulator, &openai(QUERY, false)).await.unwrap();
    assert_eq!(third.status(), 429);
    let wait: u32 = third.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    assert_eq!(json_of(third).await["error"]["code"], "rate_limit_exceeded");
    assert_eq!(simulator.log()[2].prompt_tokens, 0);
    simulator.set_limits(Limits::default());
    assert_eq!(post_openai(&simulator, &openai(QUERY, false)).await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_is_beyond_the_requests_at_a_time_is_refused_or_waits() {
    let limits = Limits { max_concurrent: Some(1), ..Limits::default() };
    let latency = Latency::Fixed(Duration::from_secs(3600));
    let simulator = Simulator::start(Config { limits: limits.clone(), latency, ..config() }).await.unwrap();
    let url = format!("{}/v1/chat/completions", simulator.url());
    let held = tokio::spawn({
        let url = url.clone();
        async move { post(&url, &openai(QUERY, false)).await.unwrap().status() }
    });
    log_when(&simulator, |log| log.len() == 1 && !log[0].queries.is_empty()).await;
    // The one slot may still be about to be taken; as soon as it is, the next request is refused.
    simulator.set_latency(Latency::NONE, Duration::ZERO);
    while post(&url, &openai(QUERY, false)).await.unwrap().status() != 429 {
        tokio::task::yield_now().await;
    }
    simulator.set_limits(Limits { queue: true, ..limits });
    let n_before = simulator.log().len();
    let waiting = tokio::spawn({
        let url = url.clone();
        async move { post(&url, &openai(QUERY, false)).await.unwrap().status() }
    });
    log_when(&simulator, |log| log.len() > n_before).await;
    assert!(!waiting.is_finished());
    held.abort();
    assert_eq!(waiting.await.unwrap(), 200);
}

#[tokio::test]
async fn a_reply_is_cut_at_its_length() {
    let simulator = Simulator::start(config()).await.unwrap();
    for name in ["max_tokens", "max_completion_tokens"] {
        let mut request = openai(QUERY, false);
        request[name] = json!(3);
        let body = json_of(post_openai(&simulator, &request).await.unwrap()).await;
        assert_eq!(body["choices"][0]["finish_reason"], "length");
        assert_eq!(body["usage"]["completion_tokens"], 3);
    }
    let mut request = anthropic(QUERY, true);
    request["max_tokens"] = json!(3);
    let stream = post_anthropic(&simulator, &request).await.unwrap().text().await.unwrap();
    assert!(stream.contains(r#""stop_reason":"max_tokens""#));
}

#[tokio::test]
async fn requests_that_providers_refuse_are_refused() {
    let simulator = Simulator::start(config()).await.unwrap();
    let refused = async |change: &dyn Fn(&mut serde_json::Value)| {
        let mut request = openai(QUERY, false);
        change(&mut request);
        let response = post_openai(&simulator, &request).await.unwrap();
        assert_eq!(response.status(), 400);
        json_of(response).await["error"]["message"].as_str().unwrap().to_owned()
    };
    assert!(refused(&|request| request["messages"] = json!([])).await.contains("messages"));
    assert!(refused(&|request| request["temperature"] = json!(3)).await.contains("temperature"));
    let schema = "/response_format/json_schema/schema";
    let required = refused(&|request| request.pointer_mut(schema).unwrap()["required"] = json!([])).await;
    assert!(required.contains("required"), "{required}");
    let open = refused(&|request| {
        request.pointer_mut(schema).unwrap()["additionalProperties"] = json!(true);
    })
    .await;
    assert!(open.contains("additionalProperties"), "{open}");
    // JSON can only be had by those who ask for it in words.
    let json_object = refused(&|request| request["response_format"] = json!({"type": "json_object"})).await;
    assert!(json_object.contains("json"), "{json_object}");
}
