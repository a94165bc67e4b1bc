//! Training is a function of the rows: the same rows give the same bytes, and other rows leave their mark.

use classifier_core::{EmbeddedClassifier, ErrorKind, Taxonomy, TrainOptions, dataset, train};
use expect_test::{Expect, expect};

use crate::support::{HELP_DESK, help_desk_rows};

fn taxonomy() -> Taxonomy {
    Taxonomy::parse(HELP_DESK).unwrap()
}

/// The header of a model file, which stands as JSON behind the magic, the version and its own length.
fn header(file: &[u8]) -> serde_json::Value {
    let length = u32::from_le_bytes(*file[12..].first_chunk().unwrap()) as usize;
    serde_json::from_slice(&file[16..16 + length]).unwrap()
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    // Enough groups for cross-validation, whose parts are fitted by several threads.
    let rows: Vec<_> = (0..3)
        .flat_map(|copy| {
            help_desk_rows().into_iter().map(move |mut row| {
                row.query.push_str(&format!(" number {copy}"));
                row.group.push_str(&copy.to_string());
                row
            })
        })
        .collect();
    let [first, second] = [(), ()].map(|()| train(&taxonomy(), &rows, &TrainOptions::default()).unwrap());
    assert_eq!(first.report.n_folds, 5);
    assert_eq!(first.report.n_groups, 120);
    assert!(first.report.cross_validation.is_some());
    assert_eq!(first.bytes, second.bytes);
    assert_eq!(first.report.n_bytes, first.bytes.len());
}

#[test]
fn another_order_of_rows_is_another_file_that_answers_alike() {
    let rows = help_desk_rows();
    let reversed: Vec<_> = rows.iter().rev().cloned().collect();
    let [there, back] =
        [&rows, &reversed].map(|rows| train(&taxonomy(), rows, &TrainOptions::default()).unwrap().bytes);
    assert_ne!(header(&there)["rows_digest"], header(&back)["rows_digest"]);
    let [there, back] = [there, back].map(|bytes| EmbeddedClassifier::from_bytes(&bytes).unwrap());
    assert_ne!(there.digest(), back.digest());
    for row in rows {
        assert_eq!(there.classify(&row.query).category, back.classify(&row.query).category, "{}", row.query);
    }
}

#[test]
fn every_field_of_a_row_counts_in_the_digest() {
    let rows = help_desk_rows();
    let digest = |rows: &[dataset::Row]| {
        header(&train(&taxonomy(), rows, &TrainOptions::default()).unwrap().bytes)["rows_digest"].clone()
    };
    let plain = digest(&rows);
    let changes: [fn(&mut dataset::Row); 3] =
        [|row| row.query.push('s'), |row| row.label = "TECHNICAL".to_owned(), |row| row.group.push('x')];
    for (at, change) in changes.into_iter().enumerate() {
        let mut rows = rows.clone();
        change(&mut rows[0]);
        assert_ne!(digest(&rows), plain, "change {at}");
    }
}

#[track_caller]
fn check(lines: &str, expected: Expect) {
    let rows = dataset::read_rows("rows.jsonl", lines.as_bytes()).unwrap();
    let error = train(&taxonomy(), &rows, &TrainOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    expected.assert_eq(&error.to_string());
}

#[test]
fn rows_that_cannot_be_used_are_refused_by_name() {
    check("", expect!["no row has the label `BILLING`; give every category some rows"]);
    check(
        "{\"query\": \"a\", \"label\": \"BILLING\"}",
        expect!["no row has the label `TECHNICAL`; give every category some rows"],
    );
    check(
        "{\"query\": \"a\", \"label\": \"BILLING\"}\n{\"query\": \"b\", \"label\": \"TECHNICL\"}",
        expect!["rows.jsonl, line 2: the label `TECHNICL` is not in the taxonomy; did you mean `TECHNICAL`?"],
    );
}

#[test]
fn a_word_seen_in_one_category_only_decides() {
    let rows: String = (0..10)
        .flat_map(|at| {
            [
                format!("{{\"query\": \"zyxwv {at}\", \"label\": \"BILLING\"}}\n"),
                format!("{{\"query\": \"qponm {at}\", \"label\": \"TECHNICAL\"}}\n"),
            ]
        })
        .collect();
    let rows = dataset::read_rows("rows.jsonl", rows.as_bytes()).unwrap();
    let trained = train(&taxonomy(), &rows, &TrainOptions::default()).unwrap();
    assert_eq!(trained.report.labels, [("BILLING".to_owned(), 10), ("TECHNICAL".to_owned(), 10)]);
    let classifier = EmbeddedClassifier::from_bytes(&trained.bytes).unwrap();
    assert_eq!(classifier.classify("zyxwv").category.as_str(), "BILLING");
    assert_eq!(classifier.classify("qponm").category.as_str(), "TECHNICAL");
}
