//! The data of the built-in model: enough of it, labelled by the taxonomy, and nothing on both sides of a split.

use std::collections::{HashMap, HashSet};

use cache_tiers::normalize;
use classifier_core::Taxonomy;
use classifier_core::dataset::{Row, read_path};

use crate::support::data;

fn rows(name: &str) -> Vec<Row> {
    read_path(&data(name)).unwrap()
}

fn sentences(rows: &[Row]) -> HashMap<String, &Row> {
    rows.iter().map(|row| (normalize(&row.query).into_owned(), row)).collect()
}

#[test]
fn there_are_enough_distinct_rows_of_each_label() {
    let rows = rows("train");
    let distinct = sentences(&rows);
    assert!(distinct.len() >= 6000, "{} distinct rows", distinct.len());
    for label in Taxonomy::clinical_metabolomics().labels() {
        let n = distinct.values().filter(|row| row.label == label).count();
        assert!(n >= 100, "{n} rows of {label}");
    }
}

#[test]
fn every_label_is_in_the_taxonomy() {
    let taxonomy = Taxonomy::clinical_metabolomics();
    let labels: HashSet<&str> = taxonomy.labels().collect();
    for name in ["train", "heldout"] {
        for row in rows(name) {
            assert!(labels.contains(row.label.as_str()), "{}: the label is {}", row.place, row.label);
        }
    }
}

#[test]
fn no_sentence_stands_on_both_sides() {
    let train = rows("train");
    let train = sentences(&train);
    for row in rows("heldout") {
        if let Some(twin) = train.get(normalize(&row.query).as_ref()) {
            panic!("{} says the same as {}: {}", row.place, twin.place, row.query);
        }
    }
}

#[test]
fn no_group_stands_on_both_sides() {
    let train = rows("train");
    let groups: HashMap<&str, &Row> = train.iter().map(|row| (row.group.as_str(), row)).collect();
    for row in rows("heldout") {
        if let Some(sibling) = groups.get(row.group.as_str()) {
            panic!("{} and {} are both of the group {}", row.place, sibling.place, row.group);
        }
    }
}

#[test]
fn no_sentence_has_two_labels() {
    let rows: Vec<Row> = ["train", "heldout"].into_iter().flat_map(rows).collect();
    let sentences = sentences(&rows);
    for row in &rows {
        let last = sentences[normalize(&row.query).as_ref()];
        assert_eq!(last.label, row.label, "{} and {}: {}", last.place, row.place, row.query);
    }
}
