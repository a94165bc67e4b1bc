//! Steering over HTTP.

use llm_sim::{Fault, LogEntry, Stats};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{client, json_of, openai, post_openai, start};

async fn steer(url: &str, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let request = client().request(method, format!("{url}/sim/{path}")).body(body.to_string());
    let response = request.send().await.unwrap();
    (response.status().as_u16(), json_of(response).await)
}

#[tokio::test]
async fn faults_are_switched_while_it_runs() {
    let simulator = start().await;
    let url = simulator.url();
    let (status, shown) = steer(&url, Method::PUT, "faults", &json!({"server_error": 1})).await;
    assert_eq!((status, shown), (200, json!({"server_error": 1.0})));
    assert_eq!(post_openai(&simulator, &openai("hello", false)).await.unwrap().status(), 500);
    let (status, error) = steer(&url, Method::PUT, "faults", &json!({"server_eror": 1})).await;
    assert_eq!(status, 400);
    assert!(error["error"].as_str().unwrap().contains("did you mean server_error?"), "{error}");
    let (status, _) =
        steer(&url, Method::PUT, "faults", &json!({"server_error": 0.6, "slow_drip": 0.6})).await;
    assert_eq!(status, 400);
    // What cannot be used changes nothing.
    assert_eq!(post_openai(&simulator, &openai("hello", false)).await.unwrap().status(), 500);
    // Whoever closes the port over it is answered still, and opens it again over the other one.
    let (status, _) = steer(&url, Method::PUT, "faults", &json!({"connection_refused": 1})).await;
    assert_eq!(status, 200);
    assert!(post_openai(&simulator, &openai("hello", false)).await.unwrap_err().is_connect());
    let (status, _) = steer(&simulator.control_url(), Method::PUT, "faults", &json!({})).await;
    assert_eq!(status, 200);
    assert_eq!(post_openai(&simulator, &openai("hello", false)).await.unwrap().status(), 200);
}

#[tokio::test]
async fn settings_are_changed_one_by_one() {
    let simulator = start().await;
    let url = simulator.control_url();
    let (_, before) = steer(&url, Method::GET, "config", &json!({})).await;
    let changes = json!({"latency": "lognormal:600,2500", "per_token_ms": 20, "max_concurrent": 3});
    let (status, after) = steer(&url, Method::PUT, "config", &changes).await;
    assert_eq!(status, 200);
    assert_eq!(after["latency"], "lognormal:600,2500");
    assert_eq!((&after["per_token_ms"], &after["max_concurrent"]), (&json!(20.0), &json!(3)));
    assert_eq!(after["slow_drip_ms"], before["slow_drip_ms"]);
    let (_, after) = steer(&url, Method::PUT, "config", &json!({"max_concurrent": null})).await;
    assert!(after["max_concurrent"].is_null());
    for wrong in [json!({"latency": "soon"}), json!({"colour": 1}), json!({"error_rate": 2}), json!([])] {
        assert_eq!(steer(&url, Method::PUT, "config", &wrong).await.0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn the_next_requests_can_be_scripted() {
    let simulator = start().await;
    simulator.next([Some(Fault::RateLimited), None]);
    let (status, _) = steer(&simulator.url(), Method::POST, "next", &json!(["server_error", null])).await;
    assert_eq!(status, 200);
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(post_openai(&simulator, &openai("hello", false)).await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [429, 200, 500, 200, 200]);
}

#[tokio::test]
async fn the_log_and_the_counters_are_read_and_cleared() {
    let simulator = start().await;
    post_openai(&simulator, &openai("what is metabolomics", false)).await.unwrap().bytes().await.unwrap();
    let url = simulator.url();
    let (_, log) = steer(&url, Method::GET, "log", &json!({})).await;
    let log: Vec<LogEntry> = serde_json::from_value(log).unwrap();
    assert_eq!(log, simulator.log());
    let (_, stats) = steer(&url, Method::GET, "stats", &json!({})).await;
    let stats: Stats = serde_json::from_value(stats).unwrap();
    assert_eq!((stats.requests, stats.max_in_flight, stats.by_status[&200]), (1, 1, 1));
    steer(&url, Method::DELETE, "log", &json!({})).await;
    assert!(simulator.log().is_empty());
    let (status, error) = steer(&url, Method::GET, "nothing", &json!({})).await;
    assert_eq!(status, 404);
    assert!(error["error"].as_str().unwrap().contains("/sim/faults"));
    let (_, table) = steer(&url, Method::GET, "table", &json!({})).await;
    assert_eq!(table.as_array().unwrap().len(), llm_sim::FAULTS.len());
}
