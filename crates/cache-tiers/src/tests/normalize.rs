//! The normal form is what the documentation says, and is its own normal form.

use std::borrow::Cow;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::normalize;

#[track_caller]
fn check(text: &str, normal: &str) {
    assert_eq!(normalize(text), normal, "normal form of {text:?}");
    assert_eq!(normalize(normal), normal, "normal form of its normal form");
}

#[track_caller]
fn check_borrowed(text: &str) {
    assert!(matches!(normalize(text), Cow::Borrowed(same) if same == text), "{text:?} is normal already");
}

#[test]
fn what_cannot_matter_goes() {
    check("What is  GLUCOSE?", "what is glucose");
    check("\t a \r\n b\u{0}c \u{a0}\u{2003}", "a b c");
    check("really ? ! . ?!..", "really");
    check("本当？", "本当");
    check("代謝物とは｡ 。", "代謝物とは");
    check("et al…", "et al");
    check("\u{feff}zero\u{200b}width\u{ad}\u{202e}\u{2066}", "zerowidth");
    check("???", "");
    check(" . ! ", "");
    check("", "");
}

#[test]
fn what_can_matter_stays() {
    check("not 2.5 mmol/L", "not 2.5 mmol/l");
    check("no. 5", "no. 5");
    check("why? because", "why? because");
    check("metabolites' roles", "metabolites' roles");
    check("¿qué?", "¿qué");
    check("(really?)", "(really?)");
    check("running", "running");
    check("a-b_c", "a-b_c");
    // They can carry a hidden text, which must not share the key of the text without it.
    check("a\u{e0041}\u{fe0f}", "a\u{e0041}\u{fe0f}");
}

#[test]
fn case_and_width_and_composition_are_folded() {
    check("Straße STRASSE ẞ", "strasse strasse ss");
    check("ΣΊΣΥΦΟΣ σίσυφος", "σίσυφοσ σίσυφοσ");
    check("β-Oxidation ΒΗΤΑ", "β-oxidation βητα");
    check("İI\u{307} ıI", "i\u{307}i\u{307} ii");
    check("ﬁﬂﬃ ŉ ǰ", "fiflffi ʼn ǰ");
    check("Å Å A\u{30a} e\u{301}", "å å å é");
    check("Ａｂ１ ² № ㎎ ½", "ab1 2 no mg 1⁄2");
    check("한국 한국", "한국 한국");
    check("ᾳ ᾼ α\u{345}", "αι αι αι");
    check("e\u{ad}\u{301}", "é");
    check("a\u{b4}b", "a \u{301}b");
}

#[test]
fn a_normal_text_is_borrowed() {
    check_borrowed("");
    check_borrowed("what is 5'-nucleotidase (ec 3.1.3.5), and why");
    check_borrowed("β-oxidation of fatty acids");
    check_borrowed("代謝物とは");
    check_borrowed("qué es");
}

#[test]
fn every_character_settles() {
    for c in '\u{0}'..=char::MAX {
        for text in [format!("{c}"), format!("a{c}"), format!("{c}\u{301}"), format!("α{c}\u{345}b")] {
            let normal = normalize(&text).into_owned();
            assert_eq!(normalize(&normal), normal, "normal form of {text:?}");
        }
    }
}

/// Characters that do something special alone or beside another.
const CURIOUS: &[char] = &[
    'ß',
    'ẞ',
    'ς',
    'Σ',
    'σ',
    'İ',
    'I',
    'i',
    'ı',
    'ﬁ',
    'ﬃ',
    'ſ',
    'ŉ',
    'ǰ',
    'ΐ',
    'ᾳ',
    'ᾼ',
    'ῼ',
    'ϓ',
    'K',
    'Å',
    'Ω',
    'Ǆ',
    'ǅ',
    'և',
    'Ა',
    'ა',
    'Ꭰ',
    'ꭰ',
    '가',
    'ᄀ',
    'ᅡ',
    'ᆨ',
    'ㄱ',
    'ﾡ',
    'が',
    'か',
    'ﾊ',
    'ﾞ',
    '㎎',
    '½',
    '…',
    '‼',
    '⁇',
    '？',
    '｡',
    '。',
    '.',
    '?',
    '!',
    ' ',
    '\t',
    '\u{0}',
    '\u{85}',
    '\u{a0}',
    '\u{b4}',
    '\u{ad}',
    '\u{200b}',
    '\u{200d}',
    '\u{202e}',
    '\u{2066}',
    '\u{feff}',
    '\u{180e}',
    '\u{300}',
    '\u{301}',
    '\u{307}',
    '\u{308}',
    '\u{30a}',
    '\u{323}',
    '\u{327}',
    '\u{342}',
    '\u{345}',
    '\u{34f}',
    '\u{3099}',
    '\u{5b0}',
    '\u{64b}',
    '\u{93c}',
    '\u{9be}',
    '\u{fe0f}',
    '\u{1d157}',
    '\u{e0041}',
    '𝐀',
    '𞤀',
    'a',
    'A',
    'z',
    '1',
];

fn curious() -> impl Strategy<Value = String> {
    vec(select(CURIOUS), 0..12).prop_map(|chars| chars.into_iter().collect())
}

fn any_text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..40).prop_map(|chars| chars.into_iter().collect())
}

fn settles(text: &str) -> Result<(), TestCaseError> {
    let normal = normalize(text).into_owned();
    prop_assert_eq!(normalize(&normal), normal.as_str());
    prop_assert!(!normal.contains("  ") && normal.trim() == normal);
    prop_assert!(!normal.ends_with(['?', '.', '!', '。']));
    prop_assert!(!normal.contains(|c: char| c.is_control() || (c.is_whitespace() && c != ' ')));
    let dropped = ['\u{ad}', '\u{200b}', '\u{200d}', '\u{202e}', '\u{2066}', '\u{feff}'];
    prop_assert!(!normal.contains(dropped));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn any_text_settles(text in any_text()) {
        settles(&text)?;
    }

    #[test]
    fn curious_texts_settle(text in curious()) {
        settles(&text)?;
    }

    #[test]
    fn the_fast_path_agrees_with_the_slow_one(text in "[ -~\\t\\n\\x00]{0,40}") {
        settles(&text)?;
        // A zero-width space sends the same text through the slow path.
        let slow = normalize(&format!("\u{200b}{text}")).into_owned();
        prop_assert_eq!(slow, normalize(&text));
    }

    #[test]
    fn case_spaces_and_closing_do_not_matter(words in vec("[a-z0-9]{1,8}", 1..6), closing in "[?.! 。]{0,4}") {
        let plain = words.join(" ");
        let shouted = format!("\u{2003}{}{closing}", words.join(" \t\u{a0}").to_uppercase());
        prop_assert_eq!(normalize(&shouted), plain);
    }
}
