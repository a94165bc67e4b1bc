//! Where a run begins, for each state an earlier one may have left.

use std::fs;

use super::{Files, Identity, Journal, Progress, Start, UsageError};
use crate::bulk::source::Position;

const PROGRESS: Progress = Progress {
    input: Position { offset: 100, line: 10 },
    output_bytes: 4,
    side_bytes: 2,
    n_answered: 9,
    n_refused: 1,
};

/// What an earlier run has left.
#[derive(Default)]
struct Left<'a> {
    output: Option<&'a str>,
    side: Option<&'a str>,
    journal: Option<Journal>,
}

fn journal(progress: Progress, finished: bool) -> Option<Journal> {
    let mut journal = Journal::new(Identity::for_tests());
    journal.progress = progress;
    journal.finished = finished;
    Some(journal)
}

/// The start with and without `--resume`; messages without the folder's name.
fn starts(left: Left<'_>) -> (Result<Start, String>, Result<Start, String>) {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::of(&folder.path().join("out")).unwrap();
    for (path, text) in [(&files.output, left.output), (&files.side, left.side)] {
        if let Some(text) = text {
            fs::write(path, text).unwrap();
        }
    }
    if let Some(journal) = left.journal {
        journal.save(&files.journal).unwrap();
    }
    let prefix = format!("{}/", folder.path().display());
    let spell = |start: anyhow::Result<Start>| {
        start.map_err(|error| error.downcast::<UsageError>().unwrap().0.replace(&prefix, ""))
    };
    (spell(files.resume(&Identity::for_tests())), spell(files.start_fresh()))
}

fn refused(message: &str) -> Result<Start, String> {
    Err(message.to_owned())
}

#[test]
fn nothing_or_an_empty_output_is_a_fresh_start() {
    for output in [None, Some("")] {
        assert_eq!(starts(Left { output, ..Left::default() }), (Ok(Start::Fresh), Ok(Start::Fresh)));
    }
}

#[test]
fn an_output_without_a_journal_is_left_alone() {
    let fresh = |path| refused(&format!("{path} exists already; remove it or choose another --output"));
    assert_eq!(
        starts(Left { output: Some("1234"), side: Some(""), journal: None }),
        (
            refused(
                "cannot resume: out has 4 bytes, but its journal out.progress is missing; remove out to start over"
            ),
            fresh("out"),
        )
    );
    assert_eq!(
        starts(Left { side: Some("12"), ..Left::default() }),
        (
            refused(
                "cannot resume: out.errors.jsonl has 2 bytes, but its journal out.progress is missing; \
                 remove out.errors.jsonl to start over"
            ),
            fresh("out.errors.jsonl"),
        )
    );
}

#[test]
fn an_interrupted_run_is_resumed_on_request_only() {
    let fresh = refused("out exists already; go on with its run by --resume, or remove it to start over");
    for (output, side) in [("1234", "12"), ("12345", "12"), ("1234", "123")] {
        let left = Left { output: Some(output), side: Some(side), journal: journal(PROGRESS, false) };
        assert_eq!(starts(left), (Ok(Start::Resumed(PROGRESS)), fresh.clone()));
    }
    // The journal is written before the output is made.
    let left = Left { journal: journal(Progress::default(), false), ..Left::default() };
    assert_eq!(starts(left), (Ok(Start::Resumed(Progress::default())), Ok(Start::Fresh)));
}

#[test]
fn a_finished_run_is_known() {
    let left = |output| Left { output: Some(output), side: Some("12"), journal: journal(PROGRESS, true) };
    assert_eq!(starts(left("1234")).0, Ok(Start::Finished(PROGRESS)));
    assert_eq!(
        starts(left("12345")).0,
        refused(
            "cannot resume: the run was finished, and out or its side file has become longer since; \
             remove out and out.progress to start over"
        )
    );
}

#[test]
fn an_output_that_lost_something_is_not_resumed() {
    for (output, side) in [(Some("123"), Some("12")), (Some("1234"), None), (None, None)] {
        for finished in [false, true] {
            assert_eq!(
                starts(Left { output, side, journal: journal(PROGRESS, finished) }).0,
                refused(
                    "cannot resume: out or its side file has become shorter since; \
                     remove out and out.progress to start over"
                )
            );
        }
    }
}

#[test]
fn another_run_is_not_resumed() {
    let identity = Identity { column: "text".to_owned(), ..Identity::for_tests() };
    assert_eq!(
        starts(Left { output: Some("1234"), side: None, journal: Some(Journal::new(identity)) }).0,
        refused(
            "cannot resume: --column was text and is query; go on with what the run began with, \
             or remove out and out.progress to start over"
        )
    );
}

#[test]
fn the_input_is_not_written_over_and_folders_have_to_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["out", "out.errors.jsonl", "out.progress"] {
        fs::write(path(name), "").unwrap();
        let files = Files::of(&path("out")).unwrap();
        files.check(&path(name)).unwrap_err();
        files.check(&folder.path().join(".").join(name)).unwrap_err();
    }
    Files::of(&path("other")).unwrap().check(&path("out")).unwrap();
    Files::of(&path("no folder/out")).unwrap().check(&path("out")).unwrap_err();
    assert!(Files::of(std::path::Path::new("-")).is_none());
}
