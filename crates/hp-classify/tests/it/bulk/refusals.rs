//! What `bulk` will not do, and what it says then.

use std::fs;

use super::{Desk, question};

const ROW: &str = "{\"query\":\"What is gout?\"}\n";

#[test]
fn an_output_is_never_written_over() {
    let desk = Desk::new("in.jsonl", ROW);
    fs::write(desk.path("out.jsonl"), "precious").unwrap();
    assert!(desk.fail(2, &[]).contains("out.jsonl exists already"));
    assert!(desk.fail(2, &["--resume"]).contains("its journal out.jsonl.progress is missing"));
    assert_eq!(desk.output(), "precious");

    fs::write(desk.path("out.jsonl"), "").unwrap();
    desk.finish(&[]);
    assert!(desk.fail(2, &[]).contains("--resume"));
}

#[test]
fn the_input_is_never_written_over() {
    let mut desk = Desk::new("in.jsonl", ROW);
    desk.output = "in.jsonl";
    for arguments in [&[][..], &["--resume"]] {
        assert!(desk.fail(2, arguments).contains("would be written over the input"));
    }
    assert_eq!(desk.text("in.jsonl"), ROW);
}

#[test]
fn a_missing_column_is_named_with_the_nearest() {
    let desk = Desk::new("in.csv", "id,Question,text\n1,a,b\n");
    let message = desk.fail(2, &["--column", "questions"]);
    assert!(
        message.contains(
            "no column `questions`, only `id`, `Question`, `text`; did you mean --column Question?"
        )
    );
    assert!(!desk.path("out.csv").exists());
    assert!(desk.fail(2, &[]).contains("name the question's column with --column"));
    desk.finish(&["--column", "Question"]);
}

#[test]
fn the_question_does_not_stand_where_the_answer_goes() {
    let csv = Desk::new("in.csv", "route\na\n");
    assert!(csv.fail(2, &["--column", "route"]).contains("the answer goes to `route`"));
    let jsonl = Desk::new("in.jsonl", ROW);
    assert!(jsonl.fail(2, &["--column", "classification"]).contains("the answer goes to"));
}

#[test]
fn names_that_say_nothing_need_a_format() {
    let desk = Desk::new("in.txt", ROW);
    assert!(desk.fail(2, &[]).contains("add --format jsonl or --format csv"));
    desk.finish(&["--format", "jsonl"]);
}

#[test]
fn files_have_to_be_where_they_are_said_to_be() {
    let mut desk = Desk::new("in.jsonl", ROW);
    desk.output = "nowhere/out.jsonl";
    assert!(desk.fail(2, &[]).contains("there is no folder nowhere"));
    desk.output = ".";
    assert!(desk.fail(2, &[]).contains("it is a folder"));
    desk.input = "other.jsonl";
    assert!(desk.fail(2, &[]).contains("cannot read other.jsonl"));
}

#[test]
fn streams_cannot_be_resumed_and_their_summary_is_for_people() {
    let mut desk = Desk::new("in.jsonl", ROW);
    desk.output = "-";
    assert!(desk.fail(2, &["--resume"]).contains("--resume needs files"));
    assert!(desk.fail(2, &["--json"]).contains("name a file as --output"));
}

#[test]
fn concurrency_has_bounds() {
    let desk = Desk::new("in.jsonl", ROW);
    for n_threads in ["0", "257", "many"] {
        desk.fail(2, &["--concurrency", n_threads]);
    }
    desk.finish(&["--concurrency", "256"]);
}

#[test]
fn another_run_is_not_resumed() {
    let row = |column: &str| format!("{{\"{column}\":\"{}\"}}\n", question(1));
    let desk = Desk::new("in.jsonl", row("query"));
    desk.finish(&[]);
    let output = desk.output();
    assert!(desk.fail(2, &["--resume", "--column", "text"]).contains("--column was query and is text"));
    assert!(desk.fail(2, &["--resume", "--format", "csv"]).contains("--format was jsonl and is csv"));
    fs::write(desk.path("in.jsonl"), row("query") + &row("query")).unwrap();
    assert!(desk.fail(2, &["--resume"]).contains("the input has changed"));
    assert_eq!(desk.output(), output);
}
