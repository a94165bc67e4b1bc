//! Finding what is asked.

use proptest::prelude::*;

use crate::Brain;
use crate::prompt::find;

#[track_caller]
fn check(message: &str, expected: &[&str]) {
    let labelled = [("what is X", "GENERAL"), ("what is X made of", "GENERAL"), ("hi", "GENERAL")];
    let brain = Brain::default().with_labelled(labelled).unwrap();
    let queries: Vec<String> = find(message, &brain).items.into_iter().map(|item| item.query).collect();
    assert_eq!(queries, expected);
}

#[test]
fn a_batch_is_an_array_of_objects_with_ids_and_texts() {
    check(r#"{"items": [{"id": 1, "query": "a"}, {"id": 2, "query": "b"}]}"#, &["a", "b"]);
    check(r#"Classify: [{"index": "x", "question": "a"}] Thank you {not json}."#, &["a"]);
    check("{\"id\":1,\"text\":\"a\"}\n{\"id\":2,\"text\":\"b\"}", &["a", "b"]);
    check(r#"{"version": 1, "list": [{"id": 1, "query": "a"}]}"#, &["a"]);
}

#[test]
fn one_question_may_be_in_json() {
    check(r#"{"query": "a {b} \"c\"", "context": {"query": "d"}}"#, &["a {b} \"c\""]);
    check(r#"Classify {"question": "what is X"}"#, &["what is X"]);
}

#[test]
fn otherwise_it_is_the_longest_that_is_known() {
    check("Q: what is X made of?", &["what is X made of"]);
    check("<q>what is X</q>", &["what is X"]);
    check("what is X made of", &["what is X made of"]);
    // Not inside of words, and not in another case.
    check("this is What is X", &["this is What is X"]);
    check("  nothing known ", &["nothing known"]);
}

proptest! {
    #[test]
    fn any_message_asks_something(message in r#"[{}\[\]":,a-z0-9\\ é]{0,60}"#) {
        let asked = find(&message, &Brain::default());
        prop_assert!(!asked.items.is_empty());
    }
}
