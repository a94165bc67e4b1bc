//! Who decides, what stands in for a model that has no answer, and what is counted of both.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use classifier_core::{
    Cascade, Classifier, DegradedReason, LlmClassifier, LlmOptions, LlmStats, Request, Source, Thresholds,
};
use expect_test::expect;
use hp_base::{Deadline, ManualClock, SystemClock};
use llm_optimizer::{Finish, LlmErrorKind};

use super::scripted::{Scripted, Step, cascade, classifier, classifier_by, saying};
use crate::support::{QUESTIONS, built_in, held_out};

const QUERY: &str = "What is a metabolome?";

fn forced(query: &str) -> Request<'_> {
    Request { force_llm: true, ..Request::new(query) }
}

/// Asks, and tells whether the model was asked for it.
async fn is_put_to_the_model(cascade: &Cascade, request: &Request<'_>) -> bool {
    let before = cascade.stats().asked;
    let at_once = cascade.at_once(request);
    let verdict = cascade.classify(request).await.unwrap();
    let asked = cascade.stats().asked > before;
    assert_eq!(verdict.source, if asked { Source::Llm } else { Source::Embedded });
    assert_eq!(at_once, (!asked).then_some(verdict), "at once and after a while are the same");
    asked
}

#[tokio::test]
async fn the_model_is_asked_below_the_threshold_only() {
    let mut n_asked = Vec::new();
    for threshold in [0.0, 0.6, 0.9, 1.0] {
        let cascade = cascade(&Scripted::saying(&saying("GENERAL", 0.8)), Some(threshold));
        for query in held_out(200) {
            let is_unsure = built_in().classify(&query).confidence < threshold;
            assert_eq!(is_put_to_the_model(&cascade, &Request::new(&query)).await, is_unsure);
        }
        n_asked.push(cascade.stats().asked);
    }
    assert!(n_asked.is_sorted_by(|a, b| a < b), "{n_asked:?}");
    assert_eq!(n_asked[0], 0);
}

#[tokio::test]
async fn at_the_threshold_itself_the_embedded_classifier_decides() {
    let confidence = built_in().classify(QUERY).confidence;
    let model = Scripted::saying(&saying("GENERAL", 0.8));
    assert!(!is_put_to_the_model(&cascade(&model, Some(confidence)), &Request::new(QUERY)).await);
    let above = Some(confidence.next_up());
    assert!(is_put_to_the_model(&cascade(&model, above), &Request::new(QUERY)).await);
}

#[tokio::test]
async fn a_category_may_have_a_threshold_of_its_own() {
    let model = Scripted::saying(&saying("GENERAL", 0.8));
    let thresholds = Thresholds { general: 0.0, by_category: vec![("GENERAL".to_owned(), 1.1)] };
    let llm = Arc::new(classifier(&model, LlmOptions::default()));
    let cascade = Cascade::new(llm, Some(thresholds));
    for query in QUESTIONS {
        let is_general = built_in().classify(query).category.as_str() == "GENERAL";
        assert_eq!(is_put_to_the_model(&cascade, &Request::new(query)).await, is_general, "{query}");
    }
}

#[tokio::test]
async fn without_thresholds_or_by_force_the_model_is_always_asked() {
    let model = Scripted::saying(&saying("GENERAL", 0.8));
    let (always, never) = (cascade(&model, None), cascade(&model, Some(0.0)));
    for query in QUESTIONS {
        assert!(is_put_to_the_model(&always, &Request::new(query)).await);
        assert!(!is_put_to_the_model(&never, &Request::new(query)).await);
        assert!(is_put_to_the_model(&never, &forced(query)).await);
    }
}

#[tokio::test]
async fn every_way_to_fail_has_its_reason_and_is_counted() {
    use DegradedReason::{
        BudgetUnknown, Busy, CircuitOpen, InvalidReply, OverBudget, RateLimited, Refused, TimedOut,
        Unavailable,
    };
    for (kind, reason, name) in [
        (LlmErrorKind::InvalidConfig, Refused, "refused"),
        (LlmErrorKind::InvalidRequest, Refused, "refused"),
        (LlmErrorKind::Unauthorized, Refused, "refused"),
        (LlmErrorKind::NotFound, Refused, "refused"),
        (LlmErrorKind::RateLimited, RateLimited, "rate_limited"),
        (LlmErrorKind::Unavailable, Unavailable, "unavailable"),
        (LlmErrorKind::Disconnected, Unavailable, "unavailable"),
        (LlmErrorKind::OutOfTime, TimedOut, "timed_out"),
        (LlmErrorKind::InvalidReply, InvalidReply, "invalid_reply"),
        (LlmErrorKind::CircuitOpen, CircuitOpen, "circuit_open"),
        (LlmErrorKind::Busy, Busy, "busy"),
        (LlmErrorKind::OverBudget, OverBudget, "over_budget"),
        (LlmErrorKind::BudgetUnknown, BudgetUnknown, "budget_unknown"),
    ] {
        let model = Scripted::failing(kind);
        let cascade = cascade(&model, None);
        let verdict = cascade.classify(&Request::new(QUERY)).await.unwrap();
        let mut expected = built_in().classify(QUERY);
        expected.degraded = Some(reason);
        assert_eq!((verdict.classification, verdict.source), (expected, Source::Embedded), "{kind:?}");
        assert_eq!(model.n_asked(), 1, "no second attempt after {kind:?}");
        let stats = cascade.stats();
        assert_eq!(
            stats.degraded.iter().map(|(name, n)| (name.as_str(), *n)).collect::<Vec<_>>(),
            [(name, 1)]
        );
        assert_eq!((stats.asked, stats.answered, stats.decided_embedded), (1, 0, 0));
        let error = cascade.llm().classify(&Request::new(QUERY)).await.unwrap_err();
        assert_eq!(error.kind(), classifier_core::ErrorKind::Llm);
        assert_eq!(error.to_string(), "the language model has not answered: it was told to fail");
    }
}

/// Replies that are no answers, and what is said of them.
fn no_answers() -> Vec<(Step, &'static str)> {
    let reply = |text: &str| Step::Reply(text.to_owned());
    let valid = saying("GENERAL", 0.8);
    vec![
        (reply(""), "is not one JSON object"),
        (reply("GENERAL"), "is not one JSON object"),
        (reply(&format!("Sure: {valid}")), "is not one JSON object"),
        (reply(&format!("{valid} {valid}")), "is not one JSON object"),
        (reply(&valid.replace("\"also\"", "\"category\"")), "is not one JSON object"),
        (reply(&valid[..valid.len() - 1]), "is not one JSON object"),
        (reply(r#"{"confidence":0.8}"#), "names no category"),
        (reply(r#"{"category":2,"confidence":0.8}"#), "names no category"),
        (reply(&saying("POLITICS", 0.8)), "names a category that does not exist"),
        (reply(&saying("general", 0.8)), "names a category that does not exist"),
        (reply(r#"{"category":"GENERAL"}"#), "gives no confidence"),
        (reply(&saying("GENERAL", 1e15)), "gives a confidence that is not between 0 and 1"),
        (reply(&saying("GENERAL", -0.1)), "gives a confidence that is not between 0 and 1"),
        (Step::Ends(valid.clone(), Finish::Length), "was cut at its length limit"),
        (Step::Ends(valid, Finish::Filtered), "was withheld by the provider"),
    ]
}

#[tokio::test]
async fn what_is_no_answer_is_asked_for_once_more_with_the_fuller_prompt() {
    let n = no_answers().len();
    for at in 0..n {
        let what = no_answers()[at].1;
        let model = Scripted::new(move |number, _| match number {
            0 => no_answers().swap_remove(at).0,
            _ => Step::Reply(saying("REAL_TIME", 0.7)),
        });
        let cascade = cascade(&model, None);
        let verdict = cascade.classify(&Request::new(QUERY)).await.unwrap();
        assert_eq!(
            (verdict.classification.category.as_str(), verdict.classification.degraded),
            ("REAL_TIME", None)
        );
        let llm = verdict.llm.unwrap();
        assert_eq!((llm.repaired, llm.n_calls, llm.prompt.as_str()), (true, Some(2), "few-shot-1"), "{what}");
        let [first, second] = &model.asked()[..] else { panic!("not asked twice: {what}") };
        assert_ne!(first.messages[0], second.messages[0]);
        assert!(second.messages[0].text.contains("Examples:"));
        assert_eq!(first.messages[1], second.messages[1]);
        let stats = cascade.stats();
        assert_eq!((stats.asked, stats.answered, stats.invalid_replies, stats.repairs), (1, 1, 1, 1));
    }
}

#[tokio::test]
async fn twice_no_answer_is_none() {
    for (at, (_, what)) in no_answers().into_iter().enumerate() {
        let model = Scripted::new(move |_, _| no_answers().swap_remove(at).0);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hear = heard.clone();
        let llm = classifier(&model, LlmOptions::default());
        let llm = llm.with_bad_reply_heard(Arc::new(move |name| hear.lock().unwrap().push(name.to_owned())));
        let cascade = Cascade::new(Arc::new(llm), None);
        let verdict = cascade.classify(&Request::new(QUERY)).await.unwrap();
        assert_eq!(verdict.classification.degraded, Some(DegradedReason::InvalidReply), "{what}");
        assert_eq!((verdict.source, verdict.llm), (Source::Embedded, None));
        assert_eq!(model.n_asked(), 2);
        assert_eq!(*heard.lock().unwrap(), ["scripted-1", "scripted-1"]);
        assert_eq!((cascade.stats().invalid_replies, cascade.stats().answered), (2, 0));
        let error = cascade.llm().classify(&Request::new(QUERY)).await.unwrap_err();
        assert_eq!(error.to_string(), format!("the reply of the language model {what}"));
    }
}

#[tokio::test]
async fn a_second_attempt_that_fails_says_why() {
    let model = Scripted::new(|number, _| match number {
        0 => Step::Reply("no".to_owned()),
        _ => Step::Fails(LlmErrorKind::OverBudget),
    });
    let verdict = cascade(&model, None).classify(&Request::new(QUERY)).await.unwrap();
    assert_eq!(verdict.classification.degraded, Some(DegradedReason::OverBudget));
}

#[tokio::test]
async fn with_no_time_left_there_is_no_second_attempt() {
    for (left_ms, n_asked) in [(0, 1), (249, 1), (250, 2)] {
        let clock = Arc::new(ManualClock::new());
        let model = Scripted::saying("no");
        let llm = classifier_by(&model, LlmOptions::default(), clock.clone());
        let deadline = Deadline::after(&*clock, Duration::from_millis(left_ms));
        let request = Request { deadline, ..Request::new(QUERY) };
        assert!(llm.classify(&request).await.is_err());
        assert_eq!(model.n_asked(), n_asked, "{left_ms} ms");
        assert!(model.asked().iter().all(|chat| chat.deadline == deadline));
    }
}

#[tokio::test]
async fn agreement_and_a_model_that_always_says_the_same_are_noticed() {
    let cascade = cascade(&Scripted::saying(&saying("REAL_TIME", 0.9)), Some(0.0));
    for _ in 0..5 {
        for query in QUESTIONS {
            cascade.classify(&forced(query)).await.unwrap();
            cascade.classify(&Request::new(query)).await.unwrap();
        }
    }
    let LlmStats { decided_embedded, asked, answered, always_says, by_category, .. } = cascade.stats();
    assert_eq!((decided_embedded, asked, answered), (30, 30, 30));
    assert_eq!(always_says.as_deref(), Some("REAL_TIME"));
    let counts = by_category.iter().map(|(category, counts)| {
        format!("{category}: agreed {}, said else {:?}", counts.agreed, counts.disagreed)
    });
    expect![[r#"
        GENERAL: agreed 0, said else {"REAL_TIME": 10}
        KNOWLEDGE_GRAPH: agreed 0, said else {"REAL_TIME": 10}
        REAL_TIME: agreed 10, said else {}"#]]
    .assert_eq(&counts.collect::<Vec<_>>().join("\n"));
}

#[test]
fn whatever_may_change_an_answer_changes_the_revision() {
    let model = Scripted::saying("");
    let with = |options| Arc::new(classifier(&model, options));
    let plain = with(LlmOptions::default());
    let thresholds = |general, by_category: &[(&str, f64)]| {
        let by_category = by_category.iter().map(|&(name, threshold)| (name.to_owned(), threshold)).collect();
        Some(Thresholds { general, by_category })
    };
    let revisions = [
        built_in().revision(),
        plain.revision(),
        with(LlmOptions { token_optimization: false, ..LlmOptions::default() }).revision(),
        with(LlmOptions { few_shot_below: 0.5, ..LlmOptions::default() }).revision(),
        LlmClassifier::new(model.clone(), "scripted-2", built_in().clone(), Arc::new(SystemClock))
            .unwrap()
            .revision(),
        Cascade::new(plain.clone(), None).revision(),
        Cascade::new(plain.clone(), thresholds(0.9, &[])).revision(),
        Cascade::new(plain.clone(), thresholds(0.8, &[])).revision(),
        Cascade::new(plain.clone(), thresholds(0.9, &[("GENERAL", 0.5)])).revision(),
        Cascade::new(plain, thresholds(0.9, &[("REAL_TIME", 0.5)])).revision(),
    ];
    for (at, revision) in revisions.iter().enumerate() {
        assert_eq!(revisions.iter().position(|other| other == revision), Some(at), "number {at} is not new");
    }
    let faster = with(LlmOptions { streaming: false, prompt_caching: false, ..LlmOptions::default() });
    assert_eq!(faster.revision(), revisions[1], "what makes it cheaper or faster changes no answer");
}
