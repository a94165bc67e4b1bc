//! A service of one's own over HTTP, with axum: `POST /classify` and `GET /stats`.
//!
//! ```console
//! $ cargo run --release -p classifier-core --example axum_integration
//! $ curl -s localhost:8000/classify -d '{"query": "What is a metabolome?"}' -H 'content-type: application/json'
//! $ curl -s localhost:8000/stats
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use classifier_core::{
    ClassificationSystem, Config, Error, ErrorKind, Priority, Request, SystemStats,
    create_high_performance_system,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    query: String,
    #[serde(default)]
    priority: Priority,
}

async fn classify(
    State(system): State<Arc<ClassificationSystem>>,
    Json(question): Json<Question>,
) -> Result<Json<Value>, (StatusCode, String)> {
    let request = Request { priority: question.priority, ..Request::new(&question.query) };
    let outcome = system.classify(&request).await.map_err(refusal)?;
    Ok(Json(json!({"classification": &*outcome.classification, "metadata": outcome.metadata})))
}

async fn stats(State(system): State<Arc<ClassificationSystem>>) -> Json<SystemStats> {
    Json(system.stats())
}

/// Only who speaks HTTP turns errors into statuses.
fn refusal(error: Error) -> (StatusCode, String) {
    let status = match error.kind() {
        ErrorKind::InvalidQuery => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Overloaded | ErrorKind::OutOfTime | ErrorKind::Closed => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, error.to_string())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let system = Arc::new(create_high_performance_system(&Config::default()).await?);
    let router = Router::new()
        .route("/classify", post(classify))
        .route("/stats", get(stats))
        .with_state(system.clone());
    let port = std::env::args().nth(1).map_or(Ok(8000), |port| port.parse::<u16>())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let interrupted = async {
        // OK to ignore: without signals the service ends with its process.
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, router).with_graceful_shutdown(interrupted).await?;
    let report = system.shutdown(Duration::from_secs(2)).await;
    println!("{} questions were under way, {} of them given up", report.n_open, report.n_given_up);
    Ok(())
}
