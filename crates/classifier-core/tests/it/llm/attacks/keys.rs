//! Cache keys: what the keys of two questions do not tell apart looks the same to a model.

use classifier_core::{LlmOptions, Request};

use crate::llm::scripted::{Scripted, classifier, system};

/// Every character that has been given a meaning, at the beginning, within and at the end of a word: where it does not change the key, or changes it
/// as a space does, the model cannot tell either; what closes a question is the one thing it sees more of.
#[test]
fn whoever_shares_a_key_shares_what_the_model_sees() {
    let system = system(&Scripted::saying(""), &[]);
    let classifier = classifier(&Scripted::saying(""), LlmOptions::default());
    let sent = |query: &str| classifier.preview(&Request::new(query)).request.messages[1].text.clone();
    let key = |query: &str| system.key(&Request::new(query)).unwrap();
    let plain = ["ab", "a b"].map(|query| (key(query), sent(query)));
    let mut closing = String::new();
    let mut n_alike = 0;
    for c in ('\0'..='\u{3ffff}').chain('\u{e0000}'..='\u{e0fff}') {
        for (at, query) in [format!("a{c}b"), format!("{c}ab"), format!("ab{c}")].into_iter().enumerate() {
            let of_query = key(&query);
            let Some((_, expected)) = plain.iter().find(|(key, _)| *key == of_query) else { continue };
            n_alike += 1;
            if sent(&query) != *expected {
                assert_eq!(at, 2, "{c:?}");
                closing.push(c);
            }
        }
    }
    assert!(closing.chars().all(|c| "!.?․‥…‼⁇⁈⁉。︒︕︖︙︰﹒﹖﹗！．？｡".contains(c)), "{closing:?}");
    assert!(closing.contains('?'));
    assert!(n_alike > 300, "{n_alike}");
}
