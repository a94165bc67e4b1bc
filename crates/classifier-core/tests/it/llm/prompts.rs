//! What is sent to a model, and how many tokens that takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use classifier_core::{Classifier, LlmOptions, Request, dataset};
use hp_base::{Deadline, ManualClock};
use llm_optimizer::{ChatRequest, ReplyFormat, Role, TokenCounter};
use serde_json::{Value, json};

use super::scripted::{Scripted, cascade, classifier, user_turn};
use crate::support::{QUESTIONS, built_in, data, held_out};

/// Tokens of the original system's prompt and reply for a query, as far as its description tells.
const TOKENS_BEFORE: f64 = 850.0;
/// Questions of a batch.
const BATCH: usize = 10;

fn preview(options: LlmOptions, query: &str) -> (String, ChatRequest) {
    let preview = classifier(&Scripted::saying(""), options).preview(&Request::new(query));
    (preview.prompt, preview.request)
}

/// What is sent when these questions are asked in one call.
async fn sent_for(queries: &[String], options: LlmOptions) -> ChatRequest {
    let model = Scripted::saying("");
    let requests: Vec<Request<'_>> = queries.iter().map(|query| Request::new(query)).collect();
    classifier(&model, options).classify_many(&requests).await;
    model.asked().swap_remove(0)
}

#[tokio::test]
async fn the_instructions_are_always_the_same_bytes_and_the_question_is_a_turn_of_its_own() {
    let mut systems = BTreeMap::new();
    for query in held_out(200) {
        let (prompt, request) = preview(LlmOptions::default(), &query);
        let [system, user] = &request.messages[..] else { panic!("two messages: {request:?}") };
        assert_eq!((system.role, user.role), (Role::System, Role::User));
        assert!(!user.ends_cacheable_prefix);
        assert_eq!(user_turn(&request), json!({ "query": query }));
        assert_eq!(*systems.entry(prompt).or_insert_with(|| system.text.clone()), system.text);
    }
    assert_eq!(systems.keys().collect::<Vec<_>>(), ["compact-1", "few-shot-1"]);
    let queries = held_out(3);
    let batch = sent_for(&queries, LlmOptions::default()).await;
    assert_eq!(batch.messages.len(), 2);
    let items = queries.iter().zip(1..).map(|(query, n)| json!({"id": format!("q{n}"), "query": query}));
    assert_eq!(user_turn(&batch), json!({ "items": items.collect::<Vec<_>>() }));
}

#[test]
fn prompts_of_few_tokens_are_for_questions_the_embedded_classifier_has_an_idea_of() {
    for (options, threshold) in [
        (LlmOptions::default(), 0.6),
        (LlmOptions { few_shot_below: 0.9, ..LlmOptions::default() }, 0.9),
        (LlmOptions { token_optimization: false, ..LlmOptions::default() }, f64::INFINITY),
    ] {
        let classifier = classifier(&Scripted::saying(""), options);
        for query in held_out(200) {
            let prompt = classifier.preview(&Request::new(&query)).prompt;
            let is_enough = built_in().classify(&query).confidence >= threshold;
            assert_eq!(prompt, if is_enough { "compact-1" } else { "few-shot-1" }, "{query}");
        }
    }
}

#[tokio::test]
async fn options_say_how_it_is_sent() {
    let queries: Vec<String> = QUESTIONS.iter().map(|&query| query.to_owned()).collect();
    for is_on in [true, false] {
        let options = LlmOptions {
            streaming: is_on,
            prompt_caching: is_on,
            grace: Duration::from_secs(9),
            ..LlmOptions::default()
        };
        for request in [preview(options.clone(), QUESTIONS[0]).1, sent_for(&queries, options).await] {
            assert_eq!(request.stream, is_on);
            assert_eq!(request.messages[0].ends_cacheable_prefix, is_on);
            assert_eq!((request.grace, request.temperature), (Duration::from_secs(9), 0.0));
        }
    }
}

#[tokio::test]
async fn a_reply_has_a_form_a_length_and_a_deadline() {
    let (_, mut request) = preview(LlmOptions::default(), QUESTIONS[0]);
    assert_eq!((request.max_output_tokens, request.deadline), (160, Deadline::never()));
    let schema = |request: &ChatRequest| -> Value {
        let ReplyFormat::Schema(schema) = &request.format else { panic!("no schema") };
        serde_json::from_str(&schema.schema).unwrap()
    };
    let labels = json!(["KNOWLEDGE_GRAPH", "REAL_TIME", "GENERAL"]);
    let single = schema(&request);
    assert_eq!(single["properties"]["category"]["enum"], labels);
    assert_eq!(single["required"], json!(["category", "confidence", "also", "reason"]));
    let queries = held_out(BATCH);
    request = sent_for(&queries, LlmOptions::default()).await;
    assert_eq!(request.max_output_tokens, 400);
    let item = &schema(&request)["properties"]["items"]["items"];
    assert_eq!(item["properties"]["category"]["enum"], labels);
    assert_eq!(item["required"], json!(["id", "category", "confidence"]));

    let deadline = Deadline::after(&ManualClock::new(), Duration::from_secs(1));
    let model = Scripted::saying("");
    cascade(&model, None).classify(&Request { deadline, ..Request::new("x") }).await.unwrap();
    assert!(model.asked().iter().all(|request| request.deadline == deadline));
}

#[test]
fn the_context_goes_with_the_question() {
    let classifier = classifier(&Scripted::saying(""), LlmOptions::default());
    let mut request = Request::new("and in children?");
    request.context.set("previous_query", "How is gout treated?").unwrap();
    request.context.set("topic", "gout").unwrap();
    assert_eq!(
        user_turn(&classifier.preview(&request).request),
        json!({"query": "and in children?", "previous_query": "How is gout treated?", "topic": "gout"})
    );
}

#[tokio::test]
async fn tokens_are_counted_where_there_is_a_counter() {
    let counter = Arc::new(TokenCounter::for_model("gpt-4o-mini"));
    let model = Scripted::saying("");
    let counting = classifier(&model, LlmOptions::default()).with_counter(counter.clone());
    let request = counting.preview(&Request::new(QUESTIONS[0])).request;
    assert_eq!(request.n_prompt_tokens, Some(counter.count_request(&request)));
    assert_eq!(preview(LlmOptions::default(), QUESTIONS[0]).1.n_prompt_tokens, None);
}

/// Tokens of the messages of a request. The schema is left out: providers count it each in a way of their own, if at all.
fn tokens(counter: &TokenCounter, request: &ChatRequest) -> f64 {
    f64::from(counter.count_request(&ChatRequest { format: ReplyFormat::Text, ..request.clone() }))
}

#[tokio::test]
async fn a_question_takes_few_tokens() {
    let counter = TokenCounter::for_model("gpt-4o-mini");
    let rows = dataset::read_path(&data("heldout")).unwrap();
    let reason = "asks for an established mechanism that links a metabolite to a disease";
    let reply = |row: &dataset::Row| {
        format!(r#"{{"category":"{}","confidence":0.95,"also":null,"reason":"{reason}"}}"#, row.label)
    };
    let classifier = classifier(&Scripted::saying(""), LlmOptions::default());
    let (mut compact, mut few_shot, mut with_schema) = (Vec::new(), Vec::new(), Vec::new());
    for row in &rows {
        let preview = classifier.preview(&Request::new(&row.query));
        let replied = f64::from(counter.count_text(&reply(row)));
        let n = tokens(&counter, &preview.request) + replied;
        if preview.prompt == "compact-1" {
            compact.push(n);
        } else {
            few_shot.push(n);
        }
        with_schema.push(f64::from(counter.count_request(&preview.request)) + replied);
    }
    let mut batched = Vec::new();
    for rows in rows.chunks_exact(BATCH) {
        let queries: Vec<String> = rows.iter().map(|row| row.query.clone()).collect();
        let request = sent_for(&queries, LlmOptions::default()).await;
        let items = rows
            .iter()
            .zip(1..)
            .map(|(row, n)| format!(r#"{{"id":"q{n}","category":"{}","confidence":0.95}}"#, row.label));
        let reply = format!(r#"{{"items":[{}]}}"#, items.collect::<Vec<_>>().join(","));
        batched.push((tokens(&counter, &request) + f64::from(counter.count_text(&reply))) / BATCH as f64);
    }
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len() as f64;
    println!(
        "tokens a query, prompt and reply, mean of {}: compact {:.1} ({} queries), few-shot {:.1} ({}), schema as it is \
         written included {:.1}, batches of {BATCH} {:.1}",
        rows.len(),
        mean(&compact),
        compact.len(),
        mean(&few_shot),
        few_shot.len(),
        mean(&with_schema),
        mean(&batched),
    );
    assert!(mean(&compact) <= 0.35 * TOKENS_BEFORE, "{}", mean(&compact));
    assert!(mean(&batched) <= 0.15 * TOKENS_BEFORE, "{}", mean(&batched));
}
