//! A taxonomy of one's own: trained, answered with, and refused by models made for another.

use classifier_core::{EmbeddedClassifier, ErrorKind, Taxonomy, TrainOptions, dataset, train};
use expect_test::{Expect, expect};

use crate::support::{HELP_DESK, help_desk_model, help_desk_rows};

#[test]
fn forty_rows_make_a_classifier_that_knows_them() {
    let classifier = EmbeddedClassifier::from_bytes(&help_desk_model()).unwrap();
    for row in help_desk_rows() {
        let answer = classifier.classify(&row.query);
        assert_eq!(answer.category.as_str(), row.label, "{}: {answer:?}", row.query);
    }
    for category in classifier.taxonomy().categories() {
        for example in &category.examples {
            let answer = classifier.classify(example);
            assert_eq!(answer.category, category.id, "{example}: {answer:?}");
            assert_eq!(answer.route, category.route);
        }
    }
}

#[test]
fn its_reasoning_speaks_in_the_words_of_the_taxonomy() {
    let classifier = EmbeddedClassifier::from_bytes(&help_desk_model()).unwrap();
    let answer = classifier.classify("Where are the invoices for March?");
    let expected = "BILLING: the question names an invoice or a payment (\"invoices\")";
    assert!(answer.reasoning.starts_with(expected), "{}", answer.reasoning);
}

#[test]
fn more_categories_than_the_quick_way_takes_are_told_apart() {
    let words = ["apple", "brick", "cloud", "drum", "eagle", "flute", "grape", "harbour", "island", "jungle"];
    let mut toml = "revision = \"1\"\n".to_owned();
    let mut lines = String::new();
    for word in words {
        let id = word.to_uppercase();
        toml.push_str(&format!("[[categories]]\nid = \"{id}\"\ndescription = \"\"\nroute = \"{word}\"\n"));
        for form in ["tell me of the", "I saw a", "why is there a"] {
            lines.push_str(&format!("{{\"query\": \"{form} {word}\", \"label\": \"{id}\"}}\n"));
        }
    }
    let rows = dataset::read_rows("rows", lines.as_bytes()).unwrap();
    let trained = train(&Taxonomy::parse(&toml).unwrap(), &rows, &TrainOptions::default()).unwrap();
    let classifier = EmbeddedClassifier::from_bytes(&trained.bytes).unwrap();
    for row in rows {
        let answer = classifier.classify(&row.query);
        assert_eq!(answer.category.as_str(), row.label, "{answer:?}");
        let others: f64 = answer.alternative_categories.iter().map(|other| other.confidence).sum();
        assert!((answer.confidence + others - 1.0).abs() <= 1e-9);
    }
}

#[test]
fn a_taxonomy_of_many_long_patterns_takes_turns_with_a_small_one() {
    let letters = "(a|b|c|d|e|f|g|h)";
    let mut large = HELP_DESK.to_owned();
    large.push_str(
        "[[categories.cue_groups]]\nname = \"many\"\nevidence = \"holds many words\"\npatterns = [\n",
    );
    for at in 0..20 {
        large.push_str(&format!("    \"zz{at} ... {letters} {letters} {letters} ... end\",\n"));
    }
    large.push_str("]\n");
    let large =
        train(&Taxonomy::parse(&large).unwrap(), &help_desk_rows(), &TrainOptions::default()).unwrap();
    let large = EmbeddedClassifier::from_bytes(&large.bytes).unwrap();
    let small = EmbeddedClassifier::from_bytes(&help_desk_model()).unwrap();
    let question = (0..20).map(|at| format!("zz{at} h h h ")).collect::<String>();
    for _ in 0..2 {
        assert!(!large.classify(&question).reasoning.is_empty());
        assert!(!small.classify(&question).reasoning.is_empty());
    }
}

#[track_caller]
fn check(from: &str, to: &str, expected: Expect) {
    let built_in = Taxonomy::clinical_metabolomics();
    assert!(built_in.source().contains(from), "there is no {from} to replace");
    let taxonomy = Taxonomy::parse(&built_in.source().replace(from, to)).unwrap();
    let error = EmbeddedClassifier::built_in().with_taxonomy(taxonomy).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidModel);
    expected.assert_eq(&error.to_string());
}

#[test]
fn a_model_refuses_a_taxonomy_whose_labels_or_patterns_are_others() {
    check(
        "REAL_TIME",
        "REALTIME",
        expect![
            "the model does not know the label `REALTIME`; did you mean `REAL_TIME`? train one with `hp-classify train --taxonomy … --data … --out …`"
        ],
    );
    check(
        "GENERAL",
        "ZEBRA",
        expect![
            "the model does not know the label `ZEBRA`; train one with `hp-classify train --taxonomy … --data … --out …`"
        ],
    );
    let alterations = [
        ("\"mechanis*\"", "\"mechanism\""),
        ("name = \"mechanism\"", "name = \"machinery\""),
        ("labels = [\"KNOWLEDGE_GRAPH\", \"REAL_TIME\", ", "labels = [\"REAL_TIME\", \"KNOWLEDGE_GRAPH\", "),
        (
            "categories = [\"KNOWLEDGE_GRAPH\", \"REAL_TIME\"]",
            "categories = [\"KNOWLEDGE_GRAPH\", \"GENERAL\"]",
        ),
    ];
    for (from, to) in alterations {
        check(
            from,
            to,
            expect![
                "the model was trained with other labels or cue groups than this taxonomy has; train one with `hp-classify train --taxonomy … --data … --out …`"
            ],
        );
    }
}

#[test]
fn a_model_of_another_taxonomy_is_refused() {
    let classifier = EmbeddedClassifier::from_bytes(&help_desk_model()).unwrap();
    let error = classifier.with_taxonomy(Taxonomy::clinical_metabolomics()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidModel);
}

#[test]
fn routes_descriptions_and_evidence_may_differ() {
    let toml = HELP_DESK
        .replace("\"finance\"", "\"accounts\"")
        .replace("Invoices and payments.", "Money.")
        .replace("names an invoice or a payment", "is about money")
        .replace("help-desk-1", "help-desk-2");
    let plain = EmbeddedClassifier::from_bytes(&help_desk_model()).unwrap();
    let before = plain.classify("Where is my invoice?");
    let after =
        plain.with_taxonomy(Taxonomy::parse(&toml).unwrap()).unwrap().classify("Where is my invoice?");
    assert_eq!((before.route.as_str(), after.route.as_str()), ("finance", "accounts"));
    assert!(after.reasoning.contains("is about money"), "{}", after.reasoning);
    assert_eq!(after.confidence, before.confidence);
}
