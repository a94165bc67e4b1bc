//! Any text gets probabilities that are finite and sum to 1, and the same ones every time.

use cache_tiers::normalize;
use classifier_core::EmbeddedClassifier;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::support::{QUESTIONS, built_in, help_desk_model, recent_from};

/// What a text may consist of that does something special alone or beside another.
const FRAGMENTS: &[&str] = &[
    "glucose",
    "FXR",
    "latest",
    "this year",
    "2025",
    "1987",
    "m/z 2024",
    "how does",
    "?",
    ". ",
    "!",
    "…",
    "。",
    "\n",
    "\r\n",
    "\t",
    "\u{0}",
    "\u{2}",
    "\u{3}",
    "\u{7f}",
    "\u{85}",
    "'s",
    "l’",
    "β-",
    "µM",
    "LC-MS/MS",
    "37.5 °C",
    "#",
    "yearrecent",
    "yearpast",
    "代谢组学",
    "が",
    "か\u{3099}",
    "한국",
    "ﾊﾟ",
    "מטבולומיקה",
    "استقلاب",
    "\u{202e}",
    "\u{200d}",
    "\u{ad}",
    "\u{feff}",
    "\u{301}",
    "\u{20dd}",
    "👩‍⚕️",
    "🧬",
    "\u{e0041}",
    "ﬃ",
    "ß",
    "İ",
    "½",
    "\u{fdfa}",
    "４２",
    " ",
];

#[track_caller]
fn check(classifier: &EmbeddedClassifier, text: &str) {
    let probabilities = classifier.probabilities(text);
    assert_eq!(probabilities.len(), classifier.taxonomy().categories().len());
    assert!(probabilities.iter().all(|p| (0.0..=1.0).contains(p)), "{probabilities:?} for {text:?}");
    let sum: f64 = probabilities.iter().sum();
    assert!((sum - 1.0).abs() <= 1e-9, "{sum} for {text:?}");

    let answer = classifier.classify(text);
    let others: f64 = answer.alternative_categories.iter().map(|other| other.confidence).sum();
    assert!((answer.confidence + others - 1.0).abs() <= 1e-9, "{answer:?} for {text:?}");
    let mut last = answer.confidence;
    for other in &answer.alternative_categories {
        assert!(other.confidence <= last, "{answer:?} for {text:?}");
        last = other.confidence;
    }
    let mut named: Vec<&str> =
        answer.alternative_categories.iter().map(|other| other.category.as_str()).collect();
    named.push(answer.category.as_str());
    named.sort_unstable();
    let mut known: Vec<&str> = classifier.taxonomy().categories().iter().map(|c| c.id.as_str()).collect();
    known.sort_unstable();
    assert_eq!(named, known, "every category stands in the answer once");

    let (biomedical, temporal) = (&answer.biomedical_signals, &answer.temporal_signals);
    let lists = [&biomedical.entities, &biomedical.relationships, &biomedical.techniques];
    for signal in lists.into_iter().chain([&temporal.keywords, &temporal.patterns]).flatten() {
        assert!(
            !signal.is_empty() && text.contains(signal.as_str()),
            "{signal:?} does not stand in {text:?}"
        );
    }
    assert!(answer.reasoning.starts_with(answer.category.as_str()) && answer.reasoning.ends_with('.'));
    assert_eq!(classifier.classify(text), answer, "the second answer to {text:?}");
}

fn curious() -> impl Strategy<Value = String> {
    vec((select(FRAGMENTS), select(&["", " "][..])), 0..24)
        .prop_map(|parts| parts.into_iter().flat_map(|(part, space)| [part, space]).collect())
}

proptest! {
    #[test]
    fn any_text_gets_a_sound_answer(text in any::<String>()) {
        check(built_in(), &text);
    }

    #[test]
    fn curious_texts_get_a_sound_answer(text in curious()) {
        check(built_in(), &text);
    }

    #[test]
    fn an_answer_does_not_depend_on_what_was_asked_before(first in curious(), second in curious()) {
        let _ = built_in().classify(&first);
        let after = built_in().classify(&second);
        let fresh = std::thread::scope(|scope| scope.spawn(|| built_in().classify(&second)).join().unwrap());
        prop_assert_eq!(after, fresh);
    }

    #[test]
    fn case_and_spaces_and_hidden_signs_do_not_matter(
        question in select(&QUESTIONS[..]), space in select(&["  ", " \t", "\u{a0}", " \u{200b}"][..]),
    ) {
        let plain = built_in().probabilities(question);
        prop_assert_eq!(&built_in().probabilities(&question.to_ascii_uppercase()), &plain);
        prop_assert_eq!(&built_in().probabilities(&question.replace(' ', space)), &plain);
        prop_assert_eq!(&built_in().probabilities(&format!("\u{feff} {question} ")), &plain);
        for hidden in ["e\u{ad}", "e\u{200b}", "\u{2060}e"] {
            prop_assert_eq!(&built_in().probabilities(&question.replace('e', hidden)), &plain);
        }
    }
}

#[test]
fn extreme_texts_get_a_sound_answer() {
    let texts = [
        String::new(),
        " \t\r\n".to_owned(),
        "\u{0}\u{1}\u{2}\u{3}\u{1b}[31m\u{7f}".to_owned(),
        "?".to_owned(),
        "?!?!".repeat(2000),
        "\u{301}\u{301}\u{327}".to_owned(),
        "\u{301}".repeat(8192),
        "מה הקשר בין גלוקוז לאינסולין?".to_owned(),
        "\u{202e}?esoculg si tahW\u{202c}".to_owned(),
        "👩‍⚕️🧬🩺".repeat(500),
        "a".repeat(8192),
        "ﷺ".repeat(8192),
        "代".repeat(8192),
        "2025 ".repeat(1600),
        "5.".repeat(4000),
        "'s".repeat(4000),
        "m/z ".repeat(2000),
        "between and ".repeat(700),
        "glucose insulin ".repeat(512),
        "new study? ".repeat(745),
        QUESTIONS.join("\n").repeat(30),
        "the quick brown fox jumps over the lazy dog ".repeat(1112),
    ];
    for text in texts {
        check(built_in(), &text);
    }
}

/// What a cache key leaves out must not change an answer, or the first spelling asked would decide for all others.
#[test]
fn what_shares_a_key_shares_its_answer() {
    let cases = "A newborn has high ammonia. The father read of a new trial. Which enzyme is deficient";
    for question in QUESTIONS.iter().copied().chain([cases]) {
        let bare = question.trim_end_matches(['?', '.', '!', ' ']);
        let usual = built_in().probabilities(bare);
        for spelling in [
            format!("{bare}?"),
            format!("{bare} ?!"),
            format!("{bare}...\n"),
            bare.replace(' ', "\n"),
            bare.replace(' ', " \u{200b}\t"),
            bare.to_uppercase(),
        ] {
            if normalize(&spelling) == normalize(bare) {
                assert_eq!(built_in().probabilities(&spelling), usual, "{spelling:?}");
            }
        }
    }
}

/// Work that grows with the square of the length would take minutes here, and the runner would end the test.
#[test]
fn a_long_text_of_half_matches_is_answered() {
    for start in ["between", "how does"] {
        let text = format!("{start} {}", "and affect ".repeat(120_000));
        check(built_in(), &text);
    }
}

#[test]
fn lists_of_signals_stay_short() {
    let elements = ["glucose", "alanine", "insulin", "leptin", "gout", "metformin", "liver", "uric acid"];
    let years: Vec<String> = (1900..2050).map(|year| year.to_string()).collect();
    let text = format!("{} {}", elements.join(", ").repeat(40), years.join(" "));
    let answer = built_in().classify(&text);
    assert_eq!(answer.temporal_signals.years.len(), 32);
    assert!((elements.len() - 1..=32).contains(&answer.biomedical_signals.entities.len()), "{answer:?}");
}

#[test]
fn every_instance_of_a_model_answers_alike() {
    let other = recent_from(2024);
    for question in QUESTIONS {
        assert_eq!(other.classify(question), built_in().classify(question));
    }
}

#[test]
fn classifiers_of_several_taxonomies_take_turns_on_one_thread() {
    let help_desk = EmbeddedClassifier::from_bytes(&help_desk_model()).unwrap();
    for question in QUESTIONS {
        let alone = built_in().classify(question);
        check(&help_desk, question);
        assert_eq!(built_in().classify(question), alone);
    }
}
