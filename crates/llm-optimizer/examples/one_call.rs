//! This crate alone: a model with a deadline, a breaker and a meter around it, against a simulated provider.
//!
//! `cargo run --release -p llm-optimizer --example one_call`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::time::Duration;

use hp_base::SystemClock;
use llm_optimizer::decorate::{Breaker, DeadlineConfig, WithDeadline};
use llm_optimizer::{ChatModel, ChatRequest, Message, Meter, PriceTable, ProviderConfig, ProviderKind, Role};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let provider = llm_sim::Simulator::start(llm_sim::Config::default()).await?;
    let clock = Arc::new(SystemClock);
    let config = ProviderConfig {
        base_url: provider.url(),
        ..ProviderConfig::new(ProviderKind::OpenAi, "gpt-4o-mini")
    };
    // From the inside out; `decorate` says why in this order.
    let model = config.build(clock.clone())?;
    let meter = Arc::new(Meter::new(model, "gpt-4o-mini", Arc::new(PriceTable::built_in()), clock.clone()));
    let breaker = Arc::new(Breaker::new(meter.clone(), Breaker::config(), clock.clone()));
    let deadline =
        DeadlineConfig { call_timeout: Some(Duration::from_secs(5)), least: Duration::from_millis(50) };
    let model = WithDeadline::new(breaker, deadline, clock);
    println!("asking through {model}");

    let question =
        Message { role: Role::User, text: "What is a metabolome?".into(), ends_cacheable_prefix: false };
    let reply = model.chat(&ChatRequest::new(vec![question])).await?;
    println!("{} ({:?})", reply.text, reply.finish);
    println!("{:?}", meter.snapshot().total);
    Ok(())
}
