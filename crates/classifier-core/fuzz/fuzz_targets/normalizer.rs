//! `normalize`: settles any text in one pass, and forgets nothing but what it says it forgets.

#![no_main]

use cache_tiers::normalize;
use libfuzzer_sys::fuzz_target;

/// NFKC lengthens no character more, in UTF-8 (U+FDFA; Unicode Standard Annex 15, "Maximum Expansion Factors").
const MAX_GROWTH: usize = 11;

fuzz_target!(|text: &str| {
    let normal = normalize(text);
    assert_eq!(normalize(&normal), normal, "normal form of the normal form of {text:?}");
    assert!(normal.len() <= MAX_GROWTH * text.len(), "{} bytes of {}: {text:?}", normal.len(), text.len());
    assert!(!normal.contains(|c: char| c.is_control() || (c.is_whitespace() && c != ' ')), "{normal:?}");
    assert!(!normal.contains("  ") && normal.trim() == normal, "{normal:?}");
    assert!(!normal.ends_with(['?', '.', '!', '。']), "{normal:?}");

    // A zero-width space sends ASCII through the slow path; the others are what a person types around a question.
    for variant in [format!("\u{200b}{text}"), format!("  {text}"), format!("{text} ?! \n")] {
        assert_eq!(normalize(&variant), normal, "normal form of {variant:?}");
    }
});
