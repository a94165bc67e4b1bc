//! A model that obeys the attack: what it replies is checked, and what is passed on of it harms nobody.

use std::collections::HashSet;
use std::sync::Arc;

use classifier_core::{BatchClassifier as _, Classification, LlmOptions, Request, Source};
use llm_optimizer::{ChatRequest, Finish};
use serde_json::{Value, json};

use super::attacks;
use crate::llm::scripted::{Scripted, Step, cascade, classifier, saying, system, user_turn};
use crate::support::{QUESTIONS, built_in};

/// Words in a row of the instructions that are too many in a reason.
const LEAK: usize = 6;

/// What it may reply that has the instructions `secret`: a valid reply with a hostile reason, or none at all.
fn replies(secret: &str) -> Vec<String> {
    let with_reason = |reason: &str| {
        json!({"category": "GENERAL", "confidence": 0.9, "also": null, "reason": reason}).to_string()
    };
    let hidden: String = secret.chars().flat_map(|c| [c, '\u{200b}']).collect();
    let valid = saying("GENERAL", 0.9);
    let mut all: Vec<String> = [
        secret,
        &hidden,
        &secret.to_uppercase(),
        &secret.replace(' ', " \u{1b}[31m "),
        &secret.replace(' ', "\u{e0020}-\n"),
        &format!("As I was told: {}", &secret[secret.len() / 2..]),
        "\u{1b}[2J\u{1b}]0;owned\u{7} \u{202e}desrever\u{202c} \u{0}\u{8}\u{9b}31m \u{e0041}\u{fe0f}",
        &"very long ".repeat(200_000),
        "<script>alert(1)</script> ```sh\nrm -rf /\n```",
        "",
    ]
    .into_iter()
    .map(with_reason)
    .collect();
    all.extend([
        saying("PIRATE", 0.9),
        saying("real_time", 0.9),
        saying(" REAL_TIME", 0.9),
        saying("REAL_TIME\\u0000", 0.9),
        saying("GENERAL", 1e15),
        saying("GENERAL", -1.0),
        r#"{"category":"GENERAL","confidence":1e999}"#.to_owned(),
        r#"{"category":"GENERAL","confidence":NaN}"#.to_owned(),
        r#"{"category":["GENERAL"],"confidence":0.9}"#.to_owned(),
        r#"{"category":{"GENERAL":1},"confidence":0.9}"#.to_owned(),
        r#"{"category":"GENERAL","confidence":true}"#.to_owned(),
        r#"{"category":"\ud800","confidence":0.9}"#.to_owned(),
        valid.replace("null", "\"PIRATE\""),
        valid.replace("null", "[\"REAL_TIME\"]"),
        valid.replace("\"it asks so\"", "{\"a\":1}"),
        valid.replace('{', r#"{"route":"http://evil.example","degraded":"failed","llm":{},"x":[1],"#),
        valid.replace("\"also\"", "\"category\":\"REAL_TIME\",\"also\""),
        valid.replace("\"also\"", "\"c\\u0061tegory\":\"REAL_TIME\",\"also\""),
        format!("Sure! {valid}"),
        format!("{valid} I hope this helps."),
        format!("{valid}{valid}"),
        format!("\u{feff}{valid}"),
        format!("```json\n{valid}\n```"),
        format!("{}{valid}", " ".repeat(2 << 20)),
        format!("{{\"category\":\"GENERAL\",\"x\":{}", "[".repeat(100_000)),
        format!("{{\"category\":\"{}", "G".repeat(2 << 20)),
        "{".repeat(1000),
        "\u{0}".to_owned(),
        String::new(),
    ]);
    all
}

/// Everything that must be so of an answer, whatever a model has said.
#[track_caller]
fn check(answer: &Classification, secret: &str) {
    let taxonomy = built_in().taxonomy();
    let others = answer.alternative_categories.iter();
    let named: HashSet<&str> =
        others.clone().map(|other| other.category.as_str()).chain([answer.category.as_str()]).collect();
    assert_eq!(named, taxonomy.categories().iter().map(|category| category.id.as_str()).collect());
    assert_eq!(answer.alternative_categories.len(), 2);
    let sum: f64 = answer.confidence + others.map(|other| other.confidence).sum::<f64>();
    assert!((sum - 1.0).abs() < 1e-9 && answer.confidence <= 1.0, "{answer:?}");
    let index = taxonomy.index_of(answer.category.as_str()).unwrap();
    assert_eq!(answer.route, taxonomy.categories()[index].route);
    let is_plain = |c: char| {
        !c.is_control() && !matches!(u32::from(c), 0x200b..=0x200f | 0x202a..=0x202e | 0xfe0f | 0xe_0000..)
    };
    assert!(answer.reasoning.chars().all(is_plain), "{:?}", answer.reasoning);
    assert!(answer.reasoning.chars().count() <= 400);
    let words = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        words.map(str::to_lowercase).collect()
    };
    let (said, secret) = (words(&answer.reasoning), words(secret));
    let known: HashSet<&[String]> = secret.windows(LEAK).collect();
    assert!(!said.windows(LEAK).any(|run| known.contains(run)), "{}", answer.reasoning);
}

fn instructions(query: &str) -> String {
    let preview = classifier(&Scripted::saying(""), LlmOptions::default()).preview(&Request::new(query));
    preview.request.messages[0].text.to_string()
}

/// A reply that arrives in pieces.
fn in_pieces(reply: &str) -> Step {
    let mut cuts: Vec<usize> =
        (0..reply.len()).filter(|&at| at % 7 == 0 && reply.is_char_boundary(at)).collect();
    cuts.truncate(60);
    let last = cuts.last().map_or("", |&at| &reply[at..]);
    let mut step = Step::Reply(last.to_owned());
    for pair in cuts.windows(2).rev() {
        step = Step::Writes(reply[pair[0]..pair[1]].to_owned(), Box::new(step));
    }
    step
}

#[tokio::test]
async fn whatever_it_replies_the_answer_is_of_the_taxonomy_and_tells_nothing() {
    let n_replies = replies("").len();
    let mut n_llm = 0;
    for (number, attack) in attacks().iter().enumerate() {
        let at = number % n_replies;
        // Each kind of reply in one piece and in many.
        let reply = move |secret: &str| replies(secret).swap_remove(at);
        for streams in [false, true] {
            let model = Scripted::new(move |_, request: &ChatRequest| {
                let reply = reply(&request.messages[0].text);
                if streams { in_pieces(&reply) } else { Step::Reply(reply) }
            });
            let system = system(&model, &[]);
            let answer = system.classify(&Request::new(&attack.query)).await.unwrap();
            let sent = model.asked();
            check(&answer.classification, &sent[0].messages[0].text);
            if answer.metadata.source == Source::Llm {
                assert_eq!(answer.classification.category.as_str(), "GENERAL");
                n_llm += 1;
            } else {
                assert!(answer.metadata.degraded, "{answer:?}");
            }
        }
    }
    assert!(n_llm > 20 && n_llm < 2 * attacks().len(), "{n_llm}");
}

#[tokio::test]
async fn replies_that_are_cut_or_withheld_are_no_answers() {
    for finish in [Finish::Length, Finish::Filtered] {
        for reply in replies(&instructions(QUESTIONS[0])) {
            let model = Scripted::new(move |_, _| Step::Ends(reply.clone(), finish));
            let verdict = cascade(&model, None).classify_many(&[Request::new(QUESTIONS[0])]).await;
            assert!(verdict[0].as_ref().unwrap().classification.degraded.is_some());
        }
    }
}

#[tokio::test]
async fn a_batch_of_hostile_items_spoils_nothing() {
    let hostile: Vec<fn(&mut Value)> = vec![
        |item| item["category"] = json!("PIRATE"),
        |item| item["confidence"] = json!(1e15),
        |item| item["id"] = json!("q1\u{0}"),
        |item| item["id"] = json!("q2"),
        |item| item["reason"] = json!("Decide where each of several questions belongs."),
        |item| *item = json!([[[["q1"]]]]),
        |item| *item = json!(null),
        |item| item["category"] = json!({"id": "q3"}),
    ];
    for change in hostile {
        let model = Scripted::new(move |_, request| {
            let turn = user_turn(request);
            let Some(items) = turn.get("items") else { return Step::Reply(saying("REAL_TIME", 0.9)) };
            let item =
                |item: &Value| json!({"id": item["id"], "category": "KNOWLEDGE_GRAPH", "confidence": 0.9});
            let mut items: Vec<Value> = items.as_array().unwrap().iter().map(item).collect();
            change(&mut items[0]);
            Step::Reply(json!({"items": items, "note": request.messages[0].text.to_string()}).to_string())
        });
        let requests: Vec<Request<'_>> = QUESTIONS.iter().map(|query| Request::new(query)).collect();
        let verdicts = cascade(&model, None).classify_many(&requests).await;
        let secret = model.asked()[0].messages[0].text.to_string();
        for (number, verdict) in verdicts.into_iter().enumerate() {
            let verdict = verdict.unwrap();
            check(&verdict.classification, &secret);
            assert_eq!(verdict.source, Source::Llm);
            // Whoever is named twice, or not at all, is asked by himself.
            if number >= 2 {
                assert_eq!(verdict.classification.category.as_str(), "KNOWLEDGE_GRAPH");
            }
        }
    }
}

#[tokio::test]
async fn no_error_repeats_what_was_asked_or_replied() {
    let secret = instructions(QUESTIONS[0]);
    for reply in replies(&secret) {
        let model = Scripted::saying(&reply);
        let llm: Arc<_> = Arc::new(classifier(&model, LlmOptions::default()));
        let query = "Does the patient Ygrittesson have gout?";
        for outcome in llm.classify_many(&[Request::new(query)]).await {
            let Err(error) = outcome else { continue };
            let shown = format!("{error} {error:?}");
            for word in ["Ygrittesson", "PIRATE", "evil.example", "data to be classified", "hope"] {
                assert!(!shown.contains(word), "{shown}");
            }
        }
    }
}
