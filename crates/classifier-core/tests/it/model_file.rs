//! A model file is what was written, or it is refused with a word on what to do.

use std::sync::LazyLock;

use classifier_core::{EmbeddedClassifier, ErrorKind};
use proptest::prelude::*;

use crate::support::{data, help_desk_model};

static FILE: LazyLock<Vec<u8>> = LazyLock::new(help_desk_model);

#[track_caller]
fn check_refused(bytes: &[u8], what: &str) {
    let Err(error) = EmbeddedClassifier::from_bytes(bytes) else { panic!("{what}, and yet it loads") };
    assert_eq!(error.kind(), ErrorKind::InvalidModel, "{what}: {error}");
    let message = error.to_string();
    let remedies = ["train it again", "make one with `hp-classify train`"];
    assert!(remedies.iter().any(|remedy| message.contains(remedy)), "{what}: {message}");
}

#[test]
fn the_model_as_written_loads() {
    let classifier = EmbeddedClassifier::from_bytes(&FILE).unwrap();
    assert_eq!(classifier.digest(), FILE[FILE.len() - 16..]);
    assert_eq!(classifier.n_training_rows(), 40);
    assert_eq!(classifier.taxonomy().revision(), "help-desk-1");
}

#[test]
fn the_built_in_model_is_the_one_in_the_tree_and_small() {
    let bytes = std::fs::read(data("model.bin")).unwrap();
    let built_in = EmbeddedClassifier::built_in();
    assert_eq!(EmbeddedClassifier::from_bytes(&bytes).unwrap().digest(), built_in.digest());
    assert!(bytes.len() <= 1 << 20, "{} bytes", bytes.len());
    assert_eq!(built_in.taxonomy().labels().count(), 4);
    assert!(built_in.n_training_rows() >= 6000, "{} rows", built_in.n_training_rows());
}

#[test]
fn the_built_in_model_knows_the_taxonomy_of_today() {
    let taxonomy = classifier_core::Taxonomy::clinical_metabolomics();
    assert_eq!(EmbeddedClassifier::built_in().taxonomy(), &taxonomy);
}

#[test]
fn a_file_cut_short_anywhere_in_its_head_or_tail_is_refused() {
    let n = FILE.len();
    for length in (0..80).chain(n - 40..n) {
        check_refused(&FILE[..length], &format!("cut to {length} of {n} bytes"));
    }
}

#[test]
fn a_file_with_more_behind_it_is_refused() {
    check_refused(&[&FILE[..], b"\n"].concat(), "a byte more");
    check_refused(&[&FILE[..], &FILE[..]].concat(), "twice over");
}

#[test]
fn a_file_of_another_format_version_is_refused_by_name() {
    let mut file = FILE.clone();
    file[8] = 2;
    let message = EmbeddedClassifier::from_bytes(&file).unwrap_err().to_string();
    assert!(message.contains("format version 2") && message.contains("reads version 1"), "{message}");
}

#[test]
fn an_altered_header_is_refused_even_with_a_digest_that_matches() {
    let length = u32::from_le_bytes(*FILE[12..].first_chunk().unwrap()) as usize;
    let header = std::str::from_utf8(&FILE[16..16 + length]).unwrap();
    let weights = &FILE[16 + length..FILE.len() - 16];
    let seal = |header: &str, weights: &[u8]| {
        let mut file = FILE[..12].to_vec();
        file.extend_from_slice(&(header.len() as u32).to_le_bytes());
        file.extend_from_slice(header.as_bytes());
        file.extend_from_slice(weights);
        let mut digest = [0; 16];
        blake3::Hasher::new().update(&file).finalize_xof().fill(&mut digest);
        file.extend_from_slice(&digest);
        file
    };
    assert!(EmbeddedClassifier::from_bytes(&seal(header, weights)).is_ok());
    let alterations = [
        ("\"temperature\":", "\"temperature\":-"),
        ("\"temperature\":", "\"temperature\":0,\"x\":"),
        ("\"outputs\":[\"BILLING\"", "\"outputs\":[\"BILING\""),
        ("\"outputs\":[\"BILLING\"", "\"outputs\":[\"TECHNICAL\""),
        ("\"scales\":[", "\"scales\":[[0.0,0.0],"),
        ("\"scales\":[[", "\"scales\":[[0.0,"),
        ("\"n_dense\":", "\"n_dense\":1"),
        ("\"feature_version\":", "\"feature_version\":1"),
        ("\"lexicons\":\"", "\"lexicons\":\"00"),
        ("patterns = ", "patterns = 1 # "),
        ("invoice*", "(invoice*"),
    ];
    for (from, to) in alterations {
        assert!(header.contains(from), "{from} is not in {header}");
        let refused = EmbeddedClassifier::from_bytes(&seal(&header.replacen(from, to, 1), weights));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidModel, "{to}");
    }
    for weights in [&weights[1..], &weights[..0], &[weights, &[0]].concat()] {
        check_refused(&seal(header, weights), "weights of another number");
    }
}

proptest! {
    #[test]
    fn a_file_cut_short_is_refused(length in 0..FILE.len()) {
        check_refused(&FILE[..length], &format!("cut to {length} bytes"));
    }

    #[test]
    fn a_file_with_a_flipped_bit_is_refused(at in 0..FILE.len(), bit in 0..8_u32) {
        let mut file = FILE.clone();
        file[at] ^= 1_u8 << bit;
        check_refused(&file, &format!("bit {bit} of byte {at} flipped"));
    }

    #[test]
    fn a_flipped_bit_in_the_head_is_refused(at in 0..600_usize, bit in 0..8_u32) {
        let mut file = FILE.clone();
        file[at] ^= 1_u8 << bit;
        check_refused(&file, &format!("bit {bit} of byte {at} flipped"));
    }

    #[test]
    fn bytes_that_are_no_model_are_refused(bytes in any::<Vec<u8>>()) {
        check_refused(&bytes, "random bytes");
        check_refused(&[b"HPMODEL\0\x01\0\0\0".as_slice(), &bytes].concat(), "random bytes behind a good head");
    }
}
