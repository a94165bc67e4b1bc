//! Answers that are accepted while the reply is still being written.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use classifier_core::config::EarlyAcceptance;
use classifier_core::{Classifier, LlmOptions, LlmUse, Request, Verdict};
use llm_optimizer::{Finish, LlmErrorKind};
use tokio::sync::{Semaphore, oneshot};

use super::scripted::{Scripted, Step, classifier, saying};

const BEGINNING: &str = r#"{"category":"REAL_TIME","confidence":0.75,"#;
const REST: &str = r#""also":"KNOWLEDGE_GRAPH","reason":"it wants news of a pathway"}"#;

fn options(early: EarlyAcceptance) -> LlmOptions {
    LlmOptions { early, ..LlmOptions::default() }
}

/// A model that writes the beginning of a reply, waits for a permit, and goes on as it is told.
fn in_two_parts(then: fn() -> Step) -> (Arc<Scripted>, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let model = Scripted::new(move |number, _| match number {
        0 => Step::Writes(BEGINNING.to_owned(), Box::new(Step::Waits(held.clone(), Box::new(then())))),
        _ => Step::Reply(saying("GENERAL", 0.6)),
    });
    (model, gate)
}

/// What is told early, and what in the end. The rest of the reply is held back until the answer has been told.
async fn ask(
    model: &Arc<Scripted>,
    gate: &Semaphore,
    options: LlmOptions,
) -> (Verdict, classifier_core::Result<Verdict>) {
    let llm = classifier(model, options);
    let (tell, told) = oneshot::channel();
    let tell = Mutex::new(Some(tell));
    let early = |verdict: Verdict| {
        let tell = tell.lock().unwrap().take();
        if let Some(tell) = tell {
            tell.send(verdict).unwrap();
        }
    };
    let request = Request::new("What is a metabolome?");
    let open = async {
        let verdict = told.await.unwrap();
        gate.add_permits(1);
        verdict
    };
    let (last, first) = futures_util::future::join(llm.classify_early(&request, &early), open).await;
    (first, last)
}

fn check_early(verdict: &Verdict) {
    assert_eq!(verdict.classification.category.as_str(), "REAL_TIME");
    assert!((verdict.classification.confidence - 0.75).abs() < 1e-12);
    let LlmUse { accepted_early, n_calls, output_tokens, cost_micros, .. } = **verdict.llm.as_ref().unwrap();
    assert_eq!((accepted_early, n_calls, output_tokens, cost_micros), (true, None, None, None));
}

#[tokio::test]
async fn the_answer_is_told_before_the_reply_ends_and_the_rest_is_read() {
    let (model, gate) = in_two_parts(|| Step::Reply(REST.to_owned()));
    let (first, last) = ask(&model, &gate, options(EarlyAcceptance::Continue)).await;
    check_early(&first);
    let last = last.unwrap();
    assert_eq!(last.classification.reasoning, "REAL_TIME: it wants news of a pathway (scripted-1)");
    assert!(last.classification.hybrid && !first.classification.hybrid);
    let llm = last.llm.unwrap();
    assert_eq!((llm.accepted_early, llm.repaired, llm.compact), (false, false, true));
    assert_eq!(
        (llm.input_tokens, llm.cached_input_tokens, llm.output_tokens),
        (Some(201), Some(100), Some(21))
    );
    assert_eq!((llm.cost_micros, llm.time_to_first_token), (Some(31), Duration::from_millis(7)));
    assert_eq!((llm.model.as_deref(), llm.prompt.as_str()), (Some("scripted-1"), "compact-1"));
}

#[tokio::test]
async fn a_call_may_be_cut_once_its_answer_stands() {
    let model = Scripted::new(|_, _| {
        Step::Writes(BEGINNING.to_owned(), Box::new(Step::Fails(LlmErrorKind::Unavailable)))
    });
    let cut = classifier(&model, options(EarlyAcceptance::Cut));
    let verdict = cut.classify_early(&Request::new("x"), &|_| {}).await.unwrap();
    assert_eq!(verdict.classification.reasoning, "REAL_TIME: chosen by scripted-1.");
    let used = verdict.llm.unwrap();
    assert_eq!((used.accepted_early, used.output_tokens, used.cost_micros), (true, None, None));
}

#[tokio::test]
async fn nothing_is_told_early_where_that_is_off() {
    for options in
        [options(EarlyAcceptance::Off), LlmOptions { streaming: false, ..options(EarlyAcceptance::Cut) }]
    {
        let streaming = options.streaming;
        let model = Scripted::saying(&format!("{BEGINNING}{REST}"));
        let llm = classifier(&model, options);
        let told = |_| panic!("an answer was told early");
        let verdict = llm.classify_early(&Request::new("x"), &told).await.unwrap();
        assert!(!verdict.llm.unwrap().accepted_early);
        let asked = model.asked();
        assert!(asked[0].readers.is_none());
        assert_eq!(asked[0].stream, streaming);
    }
}

#[tokio::test]
async fn an_answer_that_was_told_stands_though_the_connection_breaks() {
    let (model, gate) = in_two_parts(|| Step::Fails(LlmErrorKind::Disconnected));
    let (first, last) = ask(&model, &gate, options(EarlyAcceptance::Continue)).await;
    check_early(&first);
    assert_eq!(last.unwrap(), first);
    assert_eq!(model.n_asked(), 1);
}

#[tokio::test]
async fn an_answer_that_was_told_stands_though_its_reason_takes_too_many_words() {
    let long =
        || Step::Ends(r#""also":null,"reason":"it asks, and asks, and asks"#.to_owned(), Finish::Length);
    let (model, gate) = in_two_parts(long);
    let (first, last) = ask(&model, &gate, options(EarlyAcceptance::Continue)).await;
    check_early(&first);
    let last = last.unwrap();
    assert_eq!(last.classification.category, first.classification.category);
    let llm = last.llm.unwrap();
    assert_eq!((model.n_asked(), llm.accepted_early, llm.output_tokens), (1, true, Some(21)));
}

#[tokio::test]
async fn a_reply_that_turns_out_to_be_none_is_asked_for_anew() {
    for breaks in [
        || Step::Reply(r#""category":"GENERAL"}"#.to_owned()),
        || Step::Reply("and so on".to_owned()),
        || Step::Ends("and so on".to_owned(), Finish::Length),
    ] {
        let (model, gate) = in_two_parts(breaks);
        let (first, last) = ask(&model, &gate, options(EarlyAcceptance::Continue)).await;
        check_early(&first);
        let last = last.unwrap();
        assert_eq!((last.classification.category.as_str(), model.n_asked()), ("GENERAL", 2));
        assert!(last.llm.unwrap().repaired);
    }
}

#[tokio::test]
async fn what_is_no_answer_is_never_told() {
    for beginning in [
        r#"{"category":"POLITICS","confidence":0.9,"#,
        r#"{"category":"GENERAL","confidence":1e15,"#,
        r#"{"category":"GENERAL","category":"GENERAL","confidence":0.9,"#,
        r#"Here: {"category":"GENERAL","confidence":0.9,"#,
        r#"{"reason":{"category":"GENERAL","confidence":0.9},"#,
    ] {
        let model =
            Scripted::new(|_, _| Step::Writes(beginning.to_owned(), Box::new(Step::Reply(REST.to_owned()))));
        let llm = classifier(&model, options(EarlyAcceptance::Continue));
        let told = |_| panic!("an answer was told early");
        assert!(llm.classify_early(&Request::new("x"), &told).await.is_err(), "{beginning}");
    }
}
