//! What the whole path adds to a call, at a thousand requests a second: beside a bare client that sends the same bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use classifier_core::{ClassificationSystem, Request, Source};
use llm_optimizer::{ChatRequest, ReplyFormat, Role};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::provider::Provider;
use crate::Questions;
use crate::figures::rounds::{Latencies, Rounds};
use crate::figures::{Figure, Goal};

/// Requests a second, sent on schedule whether or not those before have been answered.
const RATE: u32 = 1_000;
/// Requests of a round each way: two seconds.
const N_REQUESTS: u32 = 2_000;
/// Odd, so that the median is one of them.
const N_ROUNDS: u64 = 7;

pub(in crate::figures) fn measure(questions: &Questions) -> anyhow::Result<Vec<Figure>> {
    let provider = Provider::start(&[])?;
    let flags = [("parallel_llm_calls", "1000"), ("max_connections", "1000"), ("hedge_share", "0")];
    let system = Arc::new(provider.system(&flags)?);
    let path = system.llm().context("the system has no language model")?;
    let sample = path.cascade().llm().preview(&Request::new(&questions.texts()[0])).request;
    let bare = Bare::new(&provider.url, &sample)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (mut ours, mut theirs, mut added) = (Rounds::default(), Rounds::default(), Rounds::default());
    let (mut ours_median, mut theirs_median) = (Rounds::default(), Rounds::default());
    for round in 0..=N_ROUNDS {
        let asked = on_schedule(&runtime, |number| {
            let system = system.clone();
            // A question nobody has asked before.
            async move { ask(&system, &format!("what is known of compound {round} {number}")).await }
        })?;
        let sent = on_schedule(&runtime, |_| {
            let bare = bare.clone();
            async move { bare.send().await }
        })?;
        // The first round warms up.
        if round > 0 {
            ours.push(asked.micros_at(0.99));
            theirs.push(sent.micros_at(0.99));
            ours_median.push(asked.micros_at(0.5));
            theirs_median.push(sent.micros_at(0.5));
            added.push((asked.micros_at(0.99) - sent.micros_at(0.99)) / 1e3);
        }
    }
    let added_median = ours_median.median() - theirs_median.median();
    Ok(vec![
        Figure::new("llm.call_p99_us", ours.median(), "µs"),
        Figure::new("llm.bare_call_p99_us", theirs.median(), "µs"),
        Figure::new("llm.path_adds_p50_us", added_median, "µs"),
        Figure::new("llm.path_adds_p99_ms", added.median(), "ms").with_goal(Goal::AtMost(0.7)),
    ])
}

async fn ask(system: &ClassificationSystem, query: &str) -> anyhow::Result<()> {
    let answer = system.classify(&Request::new(query)).await?;
    ensure!(answer.metadata.source == Source::Llm, "the model has not answered: {:?}", answer.metadata);
    Ok(())
}

/// The times of requests, each from when it was to be sent. A thread of its own keeps the schedule, asleep in between: the
/// timers of a runtime are too coarse for it, and a loop that watches the clock would take the processor from what is
/// measured.
fn on_schedule<F>(runtime: &Runtime, mut send: impl FnMut(u32) -> F) -> anyhow::Result<Latencies>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut under_way = Vec::with_capacity(N_REQUESTS as usize);
    let started = Instant::now();
    for number in 0..N_REQUESTS {
        let due = started + Duration::from_secs(1) / RATE * number;
        while let Some(left) = due.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
        let sending = send(number);
        under_way.push(runtime.spawn(async move {
            sending.await?;
            anyhow::Ok(due.elapsed())
        }));
    }
    let mut latencies = Latencies::new()?;
    for request in under_way {
        latencies.record(runtime.block_on(request)??);
    }
    Ok(latencies)
}

/// A client that sends a request like ours and reads the reply to its end.
#[derive(Clone)]
struct Bare {
    client: reqwest::Client,
    url: String,
    body: Arc<str>,
}

impl Bare {
    fn new(url: &str, request: &ChatRequest) -> anyhow::Result<Self> {
        // OK to ignore: it may have been installed before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let messages: Vec<Value> = request
            .messages
            .iter()
            .map(|message| {
                let role = if message.role == Role::System { "system" } else { "user" };
                json!({"role": role, "content": &*message.text})
            })
            .collect();
        let ReplyFormat::Schema(schema) = &request.format else {
            anyhow::bail!("the request has no schema");
        };
        let body = json!({
            "model": "gpt-4o-mini",
            "messages": messages,
            "max_tokens": request.max_output_tokens,
            "temperature": 0.0,
            "stream": true,
            "stream_options": {"include_usage": true},
            "response_format": {"type": "json_schema", "json_schema": {
                "name": schema.name, "strict": true, "schema": serde_json::from_str::<Value>(&schema.schema)?,
            }},
        });
        let client = reqwest::Client::builder().pool_max_idle_per_host(1000).build()?;
        Ok(Self { client, url: format!("{url}/chat/completions"), body: body.to_string().into() })
    }

    async fn send(&self) -> anyhow::Result<()> {
        let request = self.client.post(&self.url).header("content-type", "application/json");
        let response = request.body(self.body.to_string()).send().await?.error_for_status()?;
        let reply = response.bytes().await?;
        ensure!(reply.ends_with(b"data: [DONE]\n\n"), "the reply has no end");
        Ok(())
    }
}
