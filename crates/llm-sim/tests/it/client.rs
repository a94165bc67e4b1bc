//! A client for the tests.

use std::sync::Once;
use std::time::Duration;

use llm_sim::{Brain, Config, LogEntry, Simulator};
use reqwest::{Client, Response};
use serde_json::{Value, json};

/// Longer than anything takes that is to end.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A client that waits for ever and opens a connection of its own.
pub(crate) fn client() -> Client {
    static PROVIDER: Once = Once::new();
    // The client wants a provider of TLS even for http.
    PROVIDER.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
    Client::new()
}

/// What the simulators of the tests know.
pub(crate) fn brain() -> Brain {
    Brain::default()
        .with_labelled([
            ("role of PPAR alpha in beta oxidation", "KNOWLEDGE_GRAPH"),
            ("metabolomics papers of this week", "REAL_TIME"),
            ("what is metabolomics", "GENERAL"),
            ("new evidence linking TMAO and stroke", "HYBRID"),
        ])
        .unwrap()
}

pub(crate) fn config() -> Config {
    Config { brain: brain(), ..Config::default() }
}

pub(crate) async fn start() -> Simulator {
    Simulator::start(config()).await.unwrap()
}

/// The schema of one answer, in an order of its own.
pub(crate) fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "category": {"type": "string", "enum": ["GENERAL", "KNOWLEDGE_GRAPH", "REAL_TIME"]},
            "confidence": {"type": "number"},
        },
        "required": ["category", "confidence"],
        "additionalProperties": false,
    })
}

/// A request in OpenAI's format for a question.
pub(crate) fn openai(query: &str, stream: bool) -> Value {
    let mut body = json!({
        "model": "sim",
        "messages": [
            {"role": "system", "content": "Classify the question."},
            {"role": "user", "content": format!("<question>{query}</question>")},
        ],
        "stream": stream,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": true, "schema": schema()},
        },
    });
    if stream {
        body["stream_options"] = json!({"include_usage": true});
    }
    body
}

/// A request in Anthropic's format for a question, answered by a tool.
pub(crate) fn anthropic(query: &str, stream: bool) -> Value {
    json!({
        "model": "sim",
        "max_tokens": 200,
        "system": "Classify the question.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": format!("<question>{query}</question>")}]}],
        "stream": stream,
        "tools": [{"name": "answer", "description": "Gives the answer.", "input_schema": schema()}],
        "tool_choice": {"type": "tool", "name": "answer"},
    })
}

pub(crate) async fn post(url: &str, body: &Value) -> reqwest::Result<Response> {
    client()
        .post(url)
        .header("content-type", "application/json")
        .header("anthropic-version", "2023-06-01")
        .body(body.to_string())
        .send()
        .await
}

pub(crate) async fn post_openai(simulator: &Simulator, body: &Value) -> reqwest::Result<Response> {
    post(&format!("{}/v1/chat/completions", simulator.url()), body).await
}

pub(crate) async fn post_anthropic(simulator: &Simulator, body: &Value) -> reqwest::Result<Response> {
    post(&format!("{}/v1/messages", simulator.url()), body).await
}

pub(crate) async fn json_of(response: Response) -> Value {
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

/// Waits until the log is as the condition wants it.
pub(crate) async fn log_when(
    simulator: &Simulator,
    condition: impl FnMut(&[LogEntry]) -> bool,
) -> Vec<LogEntry> {
    tokio::time::timeout(SOON, simulator.log_when(condition)).await.unwrap()
}

/// The data of the events of a stream.
pub(crate) fn data(stream: &str) -> Vec<String> {
    stream.lines().filter_map(|line| line.strip_prefix("data: ")).map(ToOwned::to_owned).collect()
}

/// The events of a stream that are JSON.
pub(crate) fn events(stream: &str) -> Vec<Value> {
    data(stream)
        .iter()
        .filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

/// The text that a stream in OpenAI's format puts together.
pub(crate) fn streamed_text(stream: &str) -> String {
    events(stream)
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(ToOwned::to_owned))
        .collect()
}
