//! The contract of a model, for each provider.

use std::sync::Arc;

use hp_base::{Secret, SystemClock};
use llm_optimizer::{NoModel, ProviderKind, contract};
use serde_json::json;

use crate::server::{Server, anthropic_events, end, openai_events, stream};

fn pieces() -> Vec<&'static str> {
    let middle = contract::REPLY.len() / 2;
    vec![&contract::REPLY[..middle], &contract::REPLY[middle..]]
}

#[tokio::test]
async fn both_protocols_keep_the_contract() {
    let openai = openai_events(&pieces());
    let anthropic = anthropic_events(&pieces(), false);
    let openai_whole =
        json!({"choices": [{"message": {"content": contract::REPLY}, "finish_reason": "stop"}]}).to_string();
    let content = json!([{"type": "text", "text": contract::REPLY}]);
    let anthropic_whole = json!({"content": content, "stop_reason": "end_turn"}).to_string();
    for (kind, events, whole) in [
        (ProviderKind::OpenAi, &openai, &openai_whole),
        (ProviderKind::Azure, &openai, &openai_whole),
        (ProviderKind::Anthropic, &anthropic, &anthropic_whole),
    ] {
        contract::check(async || {
            let stream = stream(events.as_bytes(), 50, end());
            let server = Server::streaming_if_asked(stream, crate::server::json(200, whole)).await;
            let mut config = server.config(kind);
            config.api_key = Secret::new(contract::SECRET);
            config.headers = vec![("x-more".to_owned(), Secret::new(contract::SECRET))];
            config.build(Arc::new(SystemClock)).unwrap()
        })
        .await;
    }
}

#[tokio::test]
async fn what_fails_keeps_its_part_of_the_contract() {
    contract::check_failing(&NoModel).await;
    let body = json!({"error": {"message": contract::PROMPT, "type": "x"}}).to_string();
    let server = Server::new([crate::server::json(500, &body)]).await;
    let mut config = server.config(ProviderKind::Anthropic);
    config.api_key = Secret::new(contract::SECRET);
    contract::check_failing(&*config.build(Arc::new(SystemClock)).unwrap()).await;
}
