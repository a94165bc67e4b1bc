//! Objects in all pieces, and everything that is none.

use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;

/// What can be seen after each byte that changed it.
fn trace(text: &str) -> Vec<String> {
    let mut prefix = JsonPrefix::new();
    let mut seen = Vec::new();
    for (at, c) in text.char_indices() {
        prefix.push(c.encode_utf8(&mut [0; 4]));
        let members: Vec<_> = prefix.members().map(|(name, value)| format!("{name}={value}")).collect();
        let line = format!("{:?} {}", prefix.state(), members.join(" "));
        if seen.last().is_none_or(|(_, last)| *last != line) {
            seen.push((at, line));
        }
    }
    seen.into_iter().map(|(at, line)| format!("{at}: {line}")).collect()
}

#[track_caller]
fn check_broken(text: &str, at: usize) {
    let mut prefix = JsonPrefix::new();
    assert_eq!(prefix.push(&text[..at]), PrefixState::Reading, "{:?}", &text[..at]);
    let next = text[at..].chars().next().unwrap();
    assert_eq!(prefix.push(next.encode_utf8(&mut [0; 4])), PrefixState::Broken, "{text:?}");
}

#[test]
fn members_come_into_sight_as_each_is_complete() {
    assert_eq!(
        trace(r#"{"a":"x","b":1.5,"c":true,"d":null,"e":{"a":[1,{}]},"f":-1}"#),
        [
            r#"0: Reading "#,
            r#"7: Reading a="x""#,
            r#"16: Reading a="x" b=1.5"#,
            r#"24: Reading a="x" b=1.5 c=true"#,
            r#"33: Reading a="x" b=1.5 c=true d=null"#,
            r#"58: Complete a="x" b=1.5 c=true d=null f=-1"#,
        ]
    );
}

#[test]
fn space_and_one_fence_are_passed_over() {
    for text in ["{}", " \n{ } \n", "```json\n{}\n```\n", " ```json{} ", "```json {}``` ", "```json\n{}\n``"]
    {
        assert_eq!(JsonPrefix::new().push(text), PrefixState::Complete, "{text:?}");
    }
}

#[test]
fn escapes_are_read() {
    let mut prefix = JsonPrefix::new();
    prefix.push(r#"{"\u0061\n":"\ud83d\ude00 \"\\\/ \u00e9","#);
    assert_eq!(prefix.get("a\n"), Some(&json!("😀 \"\\/ é")));
}

#[test]
fn what_is_no_object_breaks_at_once() {
    check_broken("Sure! {}", 0);
    check_broken("[1]", 0);
    check_broken("```python\n{}", 3);
    check_broken("````json\n{}", 3);
    check_broken("{a:1}", 1);
    check_broken("{'a':1}", 1);
    check_broken(r#"{"a" 1}"#, 5);
    check_broken(r#"{"a":1,}"#, 7);
    check_broken(r#"{"a":01}"#, 7);
    check_broken(r#"{"a":1-2,"#, 8);
    check_broken(r#"{"a":1e999}"#, 10);
    check_broken(r#"{"a":trve}"#, 7);
    check_broken(r#"{"a":NaN}"#, 5);
    check_broken(r#"{"a":[1}"#, 7);
    check_broken(r#"{"a":[,"#, 6);
    check_broken(r#"{"a":}"#, 5);
    check_broken("{\"a\n", 3);
    check_broken(r#"{"a\x":1}"#, 5);
    check_broken(r#"{"a":"\ud800"}"#, 12);
}

#[test]
fn a_name_that_comes_twice_breaks() {
    check_broken(r#"{"a":1,"a":2}"#, 9);
    check_broken(r#"{"a":{},"\u0061":2}"#, 15);
    assert_eq!(JsonPrefix::new().push(r#"{"a":{"a":1,"b":{"a":1}}}"#), PrefixState::Complete);
}

#[test]
fn nothing_after_a_complete_object_is_taken_for_part_of_it() {
    let mut prefix = JsonPrefix::new();
    assert_eq!(prefix.push(r#"{"a":1}"#), PrefixState::Complete);
    assert_eq!(prefix.push(" or so"), PrefixState::Broken);
    assert_eq!(prefix.get("a"), Some(&json!(1)));
    for text in ["{} {}", "{}x", "{}```"] {
        assert_eq!(JsonPrefix::new().push(text), PrefixState::Broken, "{text:?}");
    }
    assert_eq!(JsonPrefix::new().push("```json{}```{"), PrefixState::Broken);
}

#[test]
fn depth_length_and_number_of_members_are_bounded() {
    let nested = |n| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
    assert_eq!(JsonPrefix::new().push(&nested(MAX_DEPTH - 1)), PrefixState::Complete);
    assert_eq!(JsonPrefix::new().push(&nested(MAX_DEPTH)), PrefixState::Broken);
    let long = |n| format!("{{\"a\":\"{}", "x".repeat(n));
    assert_eq!(JsonPrefix::new().push(&long(MAX_BYTES - 6)), PrefixState::Reading);
    assert_eq!(JsonPrefix::new().push(&long(MAX_BYTES - 5)), PrefixState::Broken);
    let many = |n| format!("{{{}}}", (0..n).map(|i| format!("\"{i}\":0")).collect::<Vec<_>>().join(","));
    assert_eq!(JsonPrefix::new().push(&many(MAX_MEMBERS)), PrefixState::Complete);
    assert_eq!(JsonPrefix::new().push(&many(MAX_MEMBERS + 1)), PrefixState::Broken);
}

fn values() -> impl Strategy<Value = Value> {
    let scalars = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    scalars.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,3}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_object_in_any_pieces_is_read_as_a_parser_reads_it(
        object in prop::collection::btree_map("[a-d\"\\\\ä]{0,3}", values(), 0..5),
        is_pretty in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let object: Map<String, Value> = object.into_iter().collect();
        let text = if is_pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) };
        let text = text.unwrap();
        let object: Map<String, Value> = serde_json::from_str(&text).unwrap();
        let mut prefix = JsonPrefix::new();
        let cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
        let mut from = 0;
        for (at, c) in text.char_indices() {
            let end = at + c.len_utf8();
            if !cuts.contains(&at) && end < text.len() {
                continue;
            }
            prefix.push(&text[from..end]);
            from = end;
            // What is in sight is what the whole object has, whatever is still to come.
            for (name, value) in prefix.members() {
                prop_assert_eq!(Some(value), object.get(name));
            }
        }
        prop_assert_eq!(prefix.state(), PrefixState::Complete);
        let scalars = object.iter().filter(|(_, value)| is_scalar(value)).count();
        prop_assert_eq!(prefix.members().count(), scalars);
    }

    #[test]
    fn pieces_do_not_matter_and_nothing_panics(
        text in "(```json)?[ {}\\[\\]\",:0-9a-u\\\\.eE+-]{0,24}|\\PC{0,12}|\\{(\"[ab]\":(1|\"x\"|\\[\\]|true)[,}]){0,4}",
    ) {
        let mut whole = JsonPrefix::new();
        whole.push(&text);
        let mut pieces = JsonPrefix::new();
        for c in text.chars() {
            pieces.push(c.encode_utf8(&mut [0; 4]));
        }
        prop_assert_eq!(whole.state(), pieces.state());
        prop_assert!(whole.members().eq(pieces.members()));
        let parsed = serde_json::from_str::<Map<String, Value>>(&text);
        if whole.state() == PrefixState::Complete && !text.contains('`') {
            prop_assert!(parsed.is_ok());
        }
        if whole.state() == PrefixState::Broken && parsed.is_ok() {
            // Only a name that comes twice is stricter than the parser.
            prop_assert!(text.matches("\":").count() > parsed.unwrap().len());
        }
    }
}
