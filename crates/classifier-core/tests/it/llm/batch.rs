//! Many questions in one call: whose answer is whose, and what becomes of those that get none.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use classifier_core::{
    BatchClassifier as _, Cascade, DegradedReason, LlmOptions, Request, Source, Thresholds, Verdict,
};
use hp_base::{Deadline, ManualClock};
use llm_optimizer::{ChatRequest, Finish, LlmErrorKind};
use serde_json::{Value, json};

use super::scripted::{Scripted, Step, cascade, classifier, saying, user_turn};
use crate::support::{QUESTIONS, built_in};

/// What belongs to each of [`QUESTIONS`] in these tests, so that a mix-up is seen.
const LABELS: [&str; 6] =
    ["KNOWLEDGE_GRAPH", "GENERAL", "REAL_TIME", "KNOWLEDGE_GRAPH", "REAL_TIME", "GENERAL"];

fn label_of(query: &str) -> &'static str {
    LABELS[QUESTIONS.iter().position(|known| *known == query).unwrap()]
}

/// The items a model replies that does everything right; nothing for a call with a single question.
fn items(request: &ChatRequest) -> Option<Vec<Value>> {
    let turn = user_turn(request);
    let item = |item: &Value| {
        let label = label_of(item["query"].as_str().unwrap());
        json!({"id": item["id"], "category": label, "confidence": 0.8})
    };
    Some(turn.get("items")?.as_array()?.iter().map(item).collect())
}

/// A model that answers single questions rightly, and makes of the items of a batch what it is told.
fn with_items(change: impl Fn(Vec<Value>) -> Step + Send + Sync + 'static) -> Arc<Scripted> {
    Scripted::new(move |_, request| match items(request) {
        Some(items) => change(items),
        None => Step::Reply(saying(label_of(user_turn(request)["query"].as_str().unwrap()), 0.7)),
    })
}

fn reply(items: &[Value]) -> Step {
    Step::Reply(json!({ "items": items }).to_string())
}

fn requests() -> Vec<Request<'static>> {
    QUESTIONS.iter().map(|query| Request::new(query)).collect()
}

/// Asks all questions, checks that each has its own answer, and tells which were asked by themselves.
async fn ask(model: &Arc<Scripted>) -> (Vec<Verdict>, Vec<usize>) {
    let cascade = cascade(model, None);
    let verdicts = cascade.classify_many(&requests()).await;
    let verdicts: Vec<Verdict> = verdicts.into_iter().map(Result::unwrap).collect();
    for (verdict, label) in verdicts.iter().zip(LABELS) {
        assert_eq!((verdict.classification.category.as_str(), verdict.source), (label, Source::Llm));
        assert_eq!(verdict.classification.degraded, None);
    }
    let alone = |verdict: &Verdict| verdict.llm.as_ref().unwrap().prompt != "batch-1";
    let alone: Vec<usize> = (0..verdicts.len()).filter(|&number| alone(&verdicts[number])).collect();
    assert_eq!(model.n_asked(), 1 + alone.len());
    let stats = cascade.stats();
    assert_eq!((stats.asked, stats.answered, stats.fallen_apart), (6, 6, alone.len() as u64));
    (verdicts, alone)
}

#[tokio::test]
async fn items_are_known_by_their_ids_in_whatever_order() {
    for change in [
        |items: Vec<Value>| items,
        |items: Vec<Value>| items.into_iter().rev().collect(),
        |mut items: Vec<Value>| {
            items.rotate_left(2);
            items
        },
    ] {
        assert_eq!(ask(&with_items(move |items| reply(&change(items)))).await.1, [0_usize; 0]);
    }
}

#[tokio::test]
async fn what_is_missing_doubled_or_not_valid_is_asked_by_itself() {
    let model = with_items(|mut items| {
        let doubled = json!({"id": "q2", "category": "REAL_TIME", "confidence": 0.9});
        items[0]["id"] = json!("q7");
        items[2]["category"] = json!("POLITICS");
        items[3]["confidence"] = json!(1e15);
        items[4]["id"] = json!(5);
        items.push(doubled);
        items.push(json!("REAL_TIME"));
        reply(&items)
    });
    assert_eq!(ask(&model).await.1, [0, 1, 2, 3, 4]);
    let model = with_items(|items| {
        let text = json!({ "items": items }).to_string();
        Step::Reply(text.replacen("\"category\":", "\"category\":\"GENERAL\",\"category\":", 1))
    });
    assert_eq!(ask(&model).await.1, [0], "a member that comes twice");
}

#[tokio::test]
async fn a_batch_without_a_valid_reply_falls_apart() {
    let whole = |items: Vec<Value>| json!({ "items": items }).to_string();
    let all = [0, 1, 2, 3, 4, 5];
    assert_eq!(ask(&with_items(|_| Step::Fails(LlmErrorKind::Disconnected))).await.1, all);
    assert_eq!(ask(&with_items(|_| reply(&[]))).await.1, all);
    assert_eq!(ask(&with_items(|_| Step::Reply("no".to_owned()))).await.1, all);
    assert_eq!(ask(&with_items(move |items| Step::Reply(format!("Here: {}", whole(items))))).await.1, all);
    for finish in [Finish::Length, Finish::Filtered] {
        assert_eq!(ask(&with_items(move |items| Step::Ends(whole(items), finish))).await.1, all);
    }
}

#[tokio::test]
async fn a_fence_around_the_reply_does_no_harm() {
    let model = with_items(|items| Step::Reply(format!("```json\n{}\n```", json!({ "items": items }))));
    assert_eq!(ask(&model).await.1, [0_usize; 0]);
}

#[tokio::test]
async fn a_reply_without_a_valid_item_is_heard_of() {
    for (kept, n_heard) in [(0, 1), (1, 0)] {
        let model = with_items(move |items| reply(&items[..kept]));
        let heard = Arc::new(AtomicUsize::new(0));
        let hear = heard.clone();
        let llm = classifier(&model, LlmOptions::default()).with_bad_reply_heard(Arc::new(move |_| {
            hear.fetch_add(1, Ordering::Relaxed);
        }));
        let cascade = Cascade::new(Arc::new(llm), None);
        cascade.classify_many(&requests()).await;
        assert_eq!(heard.load(Ordering::Relaxed), n_heard);
        assert_eq!(cascade.stats().invalid_replies, n_heard as u64);
    }
}

#[tokio::test]
async fn one_call_is_shared_by_all_who_are_in_it() {
    let (verdicts, _) = ask(&with_items(|items| reply(&items))).await;
    for verdict in &verdicts {
        let llm = verdict.llm.as_ref().unwrap();
        // A sixth of 201, 100, 21 and 31, rounded up.
        assert_eq!((llm.input_tokens, llm.cached_input_tokens), (Some(34), Some(17)));
        assert_eq!((llm.output_tokens, llm.cost_micros), (Some(4), Some(6)));
        assert_eq!((llm.n_calls, llm.compact, llm.model.as_deref()), (Some(1), false, Some("scripted-1")));
    }
}

#[tokio::test]
async fn none_and_one_are_no_batch() {
    let model = with_items(|items| reply(&items));
    let cascade = cascade(&model, None);
    assert!(cascade.classify_many(&[]).await.is_empty());
    assert_eq!(model.n_asked(), 0);
    let verdicts = cascade.classify_many(&requests()[..1]).await;
    assert_eq!(verdicts[0].as_ref().unwrap().classification.category.as_str(), LABELS[0]);
    assert_eq!(user_turn(&model.asked()[0]), json!({ "query": QUESTIONS[0] }));
    assert_eq!((model.n_asked(), cascade.stats().fallen_apart), (1, 0));
}

#[tokio::test]
async fn only_questions_the_embedded_classifier_is_not_sure_of_are_in_it() {
    let model = with_items(|items| reply(&items));
    let by_category = vec![("REAL_TIME".to_owned(), 0.0)];
    let llm = Arc::new(classifier(&model, LlmOptions::default()));
    let cascade = Cascade::new(llm, Some(Thresholds { general: 1.1, by_category }));
    let mut requests = requests();
    let seen: Vec<_> = requests.iter().map(|request| built_in().classify(request.query)).collect();
    let sure: Vec<usize> = (0..6).filter(|&number| seen[number].category.as_str() == "REAL_TIME").collect();
    let [forced, decided @ ..] = &sure[..] else { panic!("none is sure") };
    requests[*forced].force_llm = true;
    let verdicts = cascade.classify_many(&requests).await;
    for (number, verdict) in verdicts.into_iter().enumerate() {
        let verdict = verdict.unwrap();
        let is_decided = decided.contains(&number);
        assert_eq!(verdict.source, if is_decided { Source::Embedded } else { Source::Llm });
        let category = if is_decided { seen[number].category.as_str() } else { LABELS[number] };
        assert_eq!(verdict.classification.category.as_str(), category);
    }
    assert!(!decided.is_empty());
    let turn = user_turn(&model.asked()[0]);
    assert_eq!(turn["items"].as_array().unwrap().len(), 6 - decided.len());
    assert_eq!(cascade.stats().decided_embedded, decided.len() as u64);
}

#[tokio::test]
async fn the_soonest_deadline_is_that_of_the_call_and_each_its_own_when_asked_alone() {
    let clock = ManualClock::new();
    let model = with_items(|_| Step::Fails(LlmErrorKind::OutOfTime));
    let mut requests = requests();
    for (number, request) in requests.iter_mut().enumerate().skip(1) {
        request.deadline = Deadline::after(&clock, Duration::from_secs(10 - number as u64));
    }
    let verdicts = cascade(&model, None).classify_many(&requests).await;
    assert!(verdicts.iter().all(|verdict| verdict.as_ref().unwrap().source == Source::Llm));
    let asked = model.asked();
    assert_eq!(asked[0].deadline, requests[5].deadline);
    let mut alone: Vec<_> = asked[1..].iter().map(|chat| chat.deadline).collect();
    alone.sort_by_key(|deadline| deadline.instant());
    let mut own: Vec<_> = requests.iter().map(|request| request.deadline).collect();
    own.sort_by_key(|deadline| deadline.instant());
    assert_eq!(alone, own);
}

#[tokio::test]
async fn who_gets_no_answer_is_stood_in_for_and_the_others_are_not() {
    let model = Scripted::new(|_, request| match items(request) {
        Some(items) => reply(&items[1..]),
        None => Step::Fails(LlmErrorKind::RateLimited),
    });
    let cascade = cascade(&model, None);
    let verdicts = cascade.classify_many(&requests()).await;
    let reasons: Vec<_> =
        verdicts.iter().map(|verdict| verdict.as_ref().unwrap().classification.degraded).collect();
    assert_eq!(reasons, [Some(DegradedReason::RateLimited), None, None, None, None, None]);
    assert_eq!(cascade.stats().degraded["rate_limited"], 1);
    let errors = cascade.llm().classify_many(&requests()).await;
    assert!(errors[0].is_err() && errors[1..].iter().all(Result::is_ok));
}
