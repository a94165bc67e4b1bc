//! How replies are asked for and read.

use std::sync::Arc;

use super::{QUERY, built};
use crate::llm::server::{Does, Gate, Server};
use crate::support::until;

const FIRST: &str = r#"{"category":"REAL_TIME","confidence":0.9,"#;
const SECOND: &str = r#""also":null,"reason":"it wants news"}"#;

#[tokio::test]
async fn streaming_enabled_is_whether_replies_come_as_they_are_written() {
    for (value, expected) in [("true", true), ("false", false)] {
        let server = Server::saying("REAL_TIME");
        built(&server, &[("streaming_enabled", value)]).ask(QUERY).await;
        assert_eq!(server.asked()[0].body["stream"], expected);
    }
}

#[tokio::test]
async fn early_acceptance_is_what_becomes_of_the_rest_of_a_reply() {
    for value in ["off", "continue", "cut"] {
        let gate = Arc::new(Gate::default());
        let held = gate.clone();
        let server = Server::new(move |_, _| Does::SaysInTwo(FIRST, SECOND, held.clone()));
        let built = built(&server, &[("early_acceptance", value)]);
        if value == "off" {
            gate.open(1);
        }
        let llm = built.ask(QUERY).await.metadata.llm.unwrap();
        assert_eq!(llm.accepted_early, value != "off", "{value}");
        if value == "continue" {
            gate.open(1);
        }
        let total = || built.system.llm().unwrap().models().swap_remove(0).meter.total;
        until("the call has ended", async || total().n_calls == 1).await;
        assert_eq!((total().n_cut_early, total().n_replies), if value == "cut" { (1, 0) } else { (0, 1) });
        until("the answer is kept", async || crate::support::is_hit(&built.system, QUERY).await).await;
        let reasoning = built.ask(QUERY).await.classification.reasoning.clone();
        assert_eq!(reasoning.contains("it wants news"), value != "cut", "{reasoning}");
        gate.open(1);
    }
}

#[tokio::test]
async fn enable_prompt_caching_marks_the_instructions() {
    for (value, expected) in [("true", true), ("false", false)] {
        let server = Server::saying("REAL_TIME");
        let flags = [
            ("llm_provider", "anthropic"),
            ("llm_reply_form", "prompt"),
            ("streaming_enabled", "false"),
            ("enable_prompt_caching", value),
        ];
        built(&server, &flags).ask(QUERY).await;
        let body = server.asked()[0].body.to_string();
        assert_eq!(body.contains("cache_control"), expected, "{body}");
    }
}

#[tokio::test]
async fn token_optimization_enabled_is_whether_a_prompt_of_fewer_tokens_is_used() {
    for (value, prompt) in [("true", "compact-1"), ("false", "few-shot-1")] {
        let server = Server::saying("REAL_TIME");
        let llm = built(&server, &[("token_optimization_enabled", value)]).ask(QUERY).await.metadata.llm;
        assert_eq!(llm.unwrap().prompt, prompt);
    }
    // The threshold is that below which an answer counts as unsure.
    let server = Server::saying("REAL_TIME");
    let llm = built(&server, &[("low_confidence_threshold", "1")]).ask(QUERY).await.metadata.llm;
    assert_eq!(llm.unwrap().prompt, "few-shot-1");
}
