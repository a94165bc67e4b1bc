//! What is on disk when, by a clock that moves only when told to.

use hp_base::ManualClock;

use super::{
    Answered, Arc, CHECKPOINT_INTERVAL, Duration, Files, Identity, Journal, Path, Progress, Sink, Writer, fs,
};
use crate::bulk::source::Position;

/// Files in a folder of their own.
fn files(folder: &Path) -> Files {
    Files::of(&folder.join("out")).unwrap()
}

fn sink(files: &Files, progress: Progress, clock: Arc<ManualClock>) -> Sink {
    Sink::files(files, progress, Some(Identity::for_tests()), clock).unwrap()
}

/// A chunk of two good rows and a bad one, which ends at `offset`.
fn answered(offset: u64) -> Answered {
    Answered {
        output: b"good\ngood\n".to_vec(),
        side: b"bad\n".to_vec(),
        n_answered: 2,
        n_refused: 1,
        end: Position { offset, line: offset / 10 },
    }
}

fn journal(files: &Files) -> Journal {
    Journal::load(&files.journal).unwrap().unwrap()
}

#[test]
fn the_journal_is_there_first_and_moves_on_with_time() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let clock = Arc::new(ManualClock::new());
    let mut sink = sink(&files, Progress::default(), clock.clone());
    assert_eq!(journal(&files), Journal::new(Identity::for_tests()));

    clock.advance(CHECKPOINT_INTERVAL - Duration::from_millis(1));
    sink.write(&answered(30)).unwrap();
    assert_eq!(journal(&files).progress, Progress::default());

    clock.advance(Duration::from_millis(1));
    sink.write(&answered(60)).unwrap();
    let expected = Progress {
        input: Position { offset: 60, line: 6 },
        output_bytes: 20,
        side_bytes: 8,
        n_answered: 4,
        n_refused: 2,
    };
    assert_eq!((journal(&files).progress, journal(&files).finished), (expected, false));

    sink.write(&answered(90)).unwrap();
    assert_eq!(journal(&files).progress, expected);
    sink.finish().unwrap();
    assert_eq!((journal(&files).progress, journal(&files).finished), (sink.progress(), true));
}

#[test]
fn what_is_behind_the_journal_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    fs::write(&files.output, "good\ngood\nlost").unwrap();
    fs::write(&files.side, "bad\nlost").unwrap();
    let progress = Progress { output_bytes: 10, side_bytes: 4, ..Progress::default() };
    let mut resumed = sink(&files, progress, Arc::new(ManualClock::new()));
    resumed.finish().unwrap();
    assert_eq!(fs::read_to_string(&files.output).unwrap(), "good\ngood\n");
    assert_eq!(fs::read_to_string(&files.side).unwrap(), "bad\n");
    resumed.write(&answered(30)).unwrap();
    assert_eq!(fs::read_to_string(&files.output).unwrap(), "good\n".repeat(4));
    assert_eq!(fs::read_to_string(&files.side).unwrap(), "bad\n".repeat(2));

    // A side file of which the journal knows nothing would not be there in an uninterrupted run.
    sink(&files, Progress { output_bytes: 5, ..Progress::default() }, Arc::new(ManualClock::new()));
    assert_eq!(fs::read_to_string(&files.output).unwrap(), "good\n");
    assert!(!files.side.exists());
}

#[test]
fn errors_name_the_file_and_say_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let mut sink = sink(&files, Progress::default(), Arc::new(ManualClock::new()));
    sink.output.writer = Writer::Later(folder.path().join("no folder/out"));
    let error = sink.write(&answered(30)).unwrap_err();
    let name = files.output.display();
    assert_eq!(error.to_string(), format!("cannot write {name}; mend that and go on with --resume"));
    assert_eq!((sink.progress(), journal(&files).progress), (Progress::default(), Progress::default()));
}

#[test]
fn a_run_that_cannot_be_resumed_leaves_no_journal() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    Journal::new(Identity::for_tests()).save(&files.journal).unwrap();
    let mut sink = Sink::files(&files, Progress::default(), None, Arc::new(ManualClock::new())).unwrap();
    sink.write(&answered(30)).unwrap();
    sink.finish().unwrap();
    assert!(!files.journal.exists());
    assert_eq!(fs::read_to_string(&files.side).unwrap(), "bad\n");
}
