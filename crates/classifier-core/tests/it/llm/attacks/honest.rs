//! A model that does as it is told by the instructions: what reaches it is the question, and its answer is the answer.

use std::sync::Arc;

use classifier_core::{BatchClassifier as _, LlmOptions, Request, Source};
use llm_optimizer::{ChatRequest, Role};
use serde_json::{Value, json};

use super::{attacks, visible};
use crate::llm::scripted::{Scripted, Step, cascade, classifier, saying, system, user_turn};
use crate::support::{QUESTIONS, built_in, held_out};

/// Where a question belongs that reaches the model just as it was asked.
fn label_of(item: &Value) -> &'static str {
    let query = item["query"].as_str().unwrap();
    let attack = attacks().iter().find(|attack| visible(&attack.query) == query);
    match attack {
        Some(attack) => &attack.label,
        None => neighbour(query),
    }
}

/// Where an innocent question belongs.
fn neighbour(query: &str) -> &'static str {
    let embedded = built_in();
    let category = embedded.classify(query).category;
    let index = embedded.taxonomy().index_of(category.as_str()).unwrap();
    ["KNOWLEDGE_GRAPH", "REAL_TIME", "GENERAL"][index]
}

/// A model that classifies what the user's turn says, and nothing else.
fn honest() -> Arc<Scripted> {
    Scripted::new(|_, request: &ChatRequest| {
        let turn = user_turn(request);
        let Some(items) = turn.get("items") else { return Step::Reply(saying(label_of(&turn), 0.9)) };
        let items = items
            .as_array()
            .unwrap()
            .iter()
            .map(|item| json!({"id": item["id"], "category": label_of(item), "confidence": 0.9}));
        Step::Reply(json!({ "items": items.collect::<Vec<_>>() }).to_string())
    })
}

#[test]
fn the_model_gets_its_instructions_and_exactly_what_can_be_seen() {
    let classifier = classifier(&Scripted::saying(""), LlmOptions::default());
    let always_fuller = LlmOptions { token_optimization: false, ..LlmOptions::default() };
    let fuller = self::classifier(&Scripted::saying(""), always_fuller);
    let instructions = [&classifier, &fuller]
        .map(|asks| asks.preview(&Request::new(QUESTIONS[4])).request.messages[0].text.clone());
    assert_ne!(instructions[0], instructions[1]);
    for attack in attacks() {
        let mut request = Request::new(&attack.query);
        let chat = classifier.preview(&request).request;
        let roles: Vec<Role> = chat.messages.iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::System, Role::User]);
        assert!(instructions.contains(&chat.messages[0].text), "{}", chat.messages[0].text);
        assert_eq!(user_turn(&chat), json!({ "query": visible(&attack.query) }));

        request = Request::new(&attack.question);
        request.context.previous_query = Some(attack.query.clone());
        request.context.topic = Some(attack.query.clone());
        let before = visible(&attack.query);
        let expected = json!({"query": attack.question, "previous_query": before, "topic": before});
        let chat = classifier.preview(&request).request;
        assert_eq!((chat.messages.len(), user_turn(&chat)), (2, expected));
    }
}

#[tokio::test]
async fn every_attack_is_answered_as_the_question_in_it() {
    let system = system(&honest(), &[]);
    for attack in attacks() {
        let answer = system.classify(&Request::new(&attack.query)).await.unwrap();
        assert_eq!(answer.classification.category.as_str(), attack.label, "{attack:?}");
        assert_eq!(answer.classification.degraded, None);
    }
}

#[tokio::test]
async fn what_went_before_changes_nothing() {
    let system = system(&honest(), &[("max_query_chars", "20000")]);
    for (number, attack) in attacks().iter().enumerate() {
        let query = QUESTIONS[number % QUESTIONS.len()];
        for key in ["previous_query", "topic"] {
            let mut request = Request::new(query);
            request.context.set(key, &attack.query).unwrap();
            let answer = system.classify(&request).await.unwrap();
            assert_eq!(answer.classification.category.as_str(), neighbour(query), "{attack:?}");
            assert_eq!(answer.classification.degraded, None);
        }
    }
}

#[tokio::test]
async fn in_a_batch_no_attack_changes_a_neighbours_answer() {
    let neighbours = held_out(attacks().len());
    let cascade = cascade(&honest(), None);
    for (attacks, neighbours) in attacks().chunks(5).zip(neighbours.chunks(5)) {
        let queries = attacks.iter().zip(neighbours).flat_map(|(attack, other)| [&attack.query, other]);
        let requests: Vec<Request<'_>> = queries.map(|query| Request::new(query)).collect();
        let labels =
            attacks.iter().zip(neighbours).flat_map(|(attack, other)| [&attack.label, neighbour(other)]);
        let verdicts = cascade.classify_many(&requests).await;
        assert_eq!(verdicts.len(), requests.len());
        for (verdict, label) in verdicts.into_iter().zip(labels) {
            let verdict = verdict.unwrap();
            assert_eq!((verdict.classification.category.as_str(), verdict.source), (label, Source::Llm));
            assert_eq!(verdict.llm.unwrap().prompt, "batch-1");
        }
    }
}
