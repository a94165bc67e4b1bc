//! The built-in classifier: any text, and any year from which years are recent.

#![no_main]

use std::sync::LazyLock;

use classifier_core::{EmbeddedClassifier, EmbeddedOptions};
use classifier_core_fuzz::{assert_brief, assert_sound};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

/// Loading takes longer than a thousand questions, hence a few fixed cut-offs.
static CLASSIFIERS: LazyLock<Vec<EmbeddedClassifier>> = LazyLock::new(|| {
    [Some(0), Some(1950), Some(2024), Some(u16::MAX), None]
        .map(|recent_from_year| {
            let options = EmbeddedOptions { recent_from_year, ..EmbeddedOptions::default() };
            EmbeddedClassifier::built_in().with_options(options)
        })
        .into()
});

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    cut_off: u8,
    question: &'a str,
}

fuzz_target!(|input: Input<'_>| {
    let classifier = &CLASSIFIERS[usize::from(input.cut_off) % CLASSIFIERS.len()];
    assert_sound(classifier, input.question);
    assert_brief(classifier, input.question);
});
