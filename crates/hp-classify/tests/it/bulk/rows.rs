//! What becomes of rows, good and bad.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use super::{Desk, binary, question};

/// The object without its answer, and the answer.
fn split(line: &str) -> (&str, Value) {
    let (object, answer) = line.rsplit_once(",\"classification\":").unwrap();
    (object, serde_json::from_str(answer.strip_suffix('}').unwrap()).unwrap())
}

#[test]
fn objects_keep_every_byte_and_get_an_answer() {
    let rows = [
        r#"{"id":1,"query":"What is a metabolome?"}"#,
        r#"{"z":1.50e+2,"a":{"n":[1.0,-0,12345678901234567890123],"query":"no"},"query":"Is le\u0070tin\n a hormone?"}"#,
        r#"{ "query" : "news on gout" , "s" : "\u00e4\/\ud83d\ude00 é" }"#,
        r#"{"\u0071uery":"What is gout?","":null,"":true}"#,
    ];
    let desk = Desk::new("in.jsonl", rows.join("\r\n\n"));
    let summary = desk.finish(&[]);
    assert_eq!((&summary["n_answered"], &summary["n_refused"]), (&4.into(), &0.into()));
    assert_eq!(summary["errors"], Value::Null);
    assert!(!desk.path("out.jsonl.errors.jsonl").exists());

    let output = desk.output();
    assert_eq!(output.lines().count(), rows.len());
    for (line, row) in output.lines().zip(rows) {
        let (object, answer) = split(line);
        assert_eq!(object, row.strip_suffix('}').unwrap().trim_end());
        assert!(answer["confidence"].as_f64().unwrap() > 0.0);
        assert!(answer["route"].is_string() && answer["reasoning"].is_string());
        assert!(answer.get("metadata").is_none());
    }
    assert_eq!(split(output.lines().next().unwrap()).1["category"], "GENERAL");
}

#[test]
fn an_answer_that_is_there_is_replaced() {
    let desk = Desk::new("in.jsonl", "{\"query\":\"What is gout?\",\"n\":1.0}\n");
    desk.finish(&[]);
    let answered = desk.output();
    let again = Desk::new("in.jsonl", answered.replace("\"n\"", "\"classification\" : 0, \"n\""));
    again.finish(&[]);
    assert_eq!(again.output(), answered);
}

#[test]
fn many_rows_keep_their_order_whatever_the_concurrency() {
    let mut text = String::new();
    for number in 0..3000 {
        match number % 100 {
            7 => text.push_str("not json\n"),
            8 => text.push('\n'),
            _ => writeln!(text, "{{\"id\":{number},\"query\":\"{}\"}}", question(number)).unwrap(),
        }
    }
    let outputs = ["1", "4"].map(|concurrency| {
        let desk = Desk::new("in.jsonl", &text);
        desk.finish(&["--concurrency", concurrency]);
        (desk.output(), desk.text("out.jsonl.errors.jsonl"))
    });
    assert!(outputs[0] == outputs[1], "the outputs differ");
    let ids: Vec<u64> = outputs[0]
        .0
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64().unwrap())
        .collect();
    let expected: Vec<u64> = (0..3000).filter(|number| !matches!(number % 100, 7 | 8)).collect();
    assert_eq!(ids, expected);
    assert_eq!(outputs[0].1.lines().count(), 30);
}

#[test]
fn csv_gets_the_answers_columns() {
    let text = "\u{feff}id,query,\"a \"\"note\"\"\"\r\n\
                1,\"What is a\r\nmetabolome, really?\",\r\n\
                \r\n\
                2,Any news on gout this year?,\"x, \"\"y\"\"\n\"\n\
                3,leptin";
    let desk = Desk::new("in.csv", text);
    let summary = desk.finish(&[]);
    assert_eq!((&summary["n_answered"], &summary["n_refused"]), (&2.into(), &1.into()));
    assert_eq!(desk.refused(), [(7, "the row has 2 fields where the header has 3".to_owned())]);

    let mut reader = csv::Reader::from_path(desk.path("out.csv")).unwrap();
    let header: Vec<_> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(header[..4], ["id", "query", "a \"note\"", "category"]);
    assert_eq!(
        header[4..],
        ["confidence", "hybrid", "route", "alternative_category", "alternative_confidence", "uncertainty"]
    );
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        rows[0].iter().take(4).collect::<Vec<_>>(),
        ["1", "What is a\r\nmetabolome, really?", "", "GENERAL"]
    );
    assert_eq!(
        rows[1].iter().take(4).collect::<Vec<_>>(),
        ["2", "Any news on gout this year?", "x, \"y\"\n", "REAL_TIME"]
    );
    for row in &rows {
        let number = |index: usize| row[index].parse::<f64>().unwrap();
        assert!(number(4) >= number(8) && number(4) <= 1.0);
        assert!(["true", "false"].contains(&&row[5]));
    }
}

#[test]
fn csv_and_jsonl_get_the_same_answers() {
    let mut csv = "query\n".to_owned();
    let mut jsonl = String::new();
    for number in 0..300 {
        writeln!(csv, "{}", question(number)).unwrap();
        writeln!(jsonl, "{{\"query\":\"{}\"}}", question(number)).unwrap();
    }
    let (csv, jsonl) = (Desk::new("in.csv", csv), Desk::new("in.jsonl", jsonl));
    csv.finish(&[]);
    jsonl.finish(&[]);
    let mut reader = csv::Reader::from_path(csv.path("out.csv")).unwrap();
    let output = jsonl.output();
    let mut lines = output.lines();
    for row in reader.records().map(Result::unwrap) {
        let line = lines.next().unwrap();
        let (_, answer) = split(line);
        let uncertainty = answer["uncertainty_indicators"].as_array().unwrap().iter();
        let uncertainty: Vec<_> = uncertainty.map(|name| name.as_str().unwrap()).collect();
        assert_eq!(row[1], answer["category"]);
        assert!(line.contains(&format!("\"confidence\":{},", &row[2])), "{line}");
        assert_eq!(row[3] == *"true", answer["hybrid"].as_bool().unwrap());
        assert_eq!(row[4], answer["route"]);
        assert_eq!(row[5], answer["alternative_categories"][0]["category"]);
        assert_eq!(row[7], uncertainty.join(";"));
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn bad_lines_go_to_the_side_file_with_the_reason() {
    let mut text: Vec<u8> = Vec::new();
    let long = |n_chars: usize| format!("{{\"query\":\"{}\"}}", "é".repeat(n_chars));
    for line in [
        "{\"query\":\"What is gout?\"}",
        "{\"query\":",
        "{\"question\":\"a\"}",
        "{\"query\":5}",
        "[\"query\"]",
        "{\"query\":\" \\t\\u0000\"}",
        &long(8192),
        &long(8193),
        &long(1 << 19),
        "{\"query\":\"\\ud800\"}",
    ] {
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
    }
    text.extend_from_slice(b"{\"query\":\"\xff\"}\n{\"query\":\"What is leptin?\"}");
    let desk = Desk::new("in.jsonl", text);
    let summary = desk.finish(&[]);
    assert_eq!((&summary["n_answered"], &summary["n_refused"]), (&3.into(), &9.into()));
    assert_eq!(summary["errors"], "out.jsonl.errors.jsonl");
    let expected = [
        (2, "not JSON: the row ends too early"),
        (3, "the field `query` is missing"),
        (4, "the field `query` is a number, not a string"),
        (5, "not a JSON object"),
        (6, "the query is empty"),
        (8, "the query has 8193 characters, more than max_query_chars = 8192"),
        (9, "the line is longer than 1048576 bytes"),
        (10, "the field `query` has an escape that is not Unicode"),
        (11, "the line is not valid UTF-8 at byte 11"),
    ];
    assert_eq!(desk.refused(), expected.map(|(line, reason)| (line, reason.to_owned())));
    assert_eq!(desk.output().lines().count(), 3);
}

#[test]
fn bad_csv_rows_go_to_the_side_file_with_the_reason() {
    let mut text = b"id,query\n1,What is gout?\n2\n3,\n4,a\xff\n".to_vec();
    text.extend_from_slice(format!("5,{}\n6,What is leptin?\n", "x".repeat(1 << 20)).as_bytes());
    text.extend_from_slice(b"7,\"leptin\n8,What is gout?\n");
    let desk = Desk::new("in.csv", text);
    assert_eq!(desk.finish(&[])["n_answered"], 3);
    let expected = [
        (3, "the row has 1 fields where the header has 2"),
        (4, "the query is empty"),
        (5, "the row is not valid UTF-8 at byte 4"),
        (6, "the row is longer than 1048576 bytes"),
        (8, "a quoted field of the row is not closed"),
    ];
    assert_eq!(desk.refused(), expected.map(|(line, reason)| (line, reason.to_owned())));
    let output = desk.output();
    let ids: Vec<_> = output.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(ids, ["1", "6", "8"]);
}

#[test]
fn an_empty_input_gives_an_empty_output() {
    for (input, text, expected) in [
        ("in.jsonl", "", ""),
        ("in.jsonl", "\n\n", ""),
        ("in.csv", "", ""),
        (
            "in.csv",
            "query\n",
            "query,category,confidence,hybrid,route,alternative_category,alternative_confidence,uncertainty\n",
        ),
    ] {
        let desk = Desk::new(input, text);
        assert_eq!(desk.finish(&[])["n_answered"], 0);
        assert_eq!(desk.output(), expected);
        assert_eq!(desk.finish(&["--resume"])["finished_before"], true);
    }
}

#[test]
fn streams_carry_rows_and_standard_error_the_bad_ones() {
    let mut child = binary()
        .args(["bulk", "--input", "-", "--output", "-", "--format", "jsonl", "--column", "q"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"{\"q\":\"What is gout?\"}\n{}\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(split(String::from_utf8(output.stdout).unwrap().trim_end()).0, "{\"q\":\"What is gout?\"");
    let stderr = String::from_utf8(output.stderr).unwrap();
    let (refused, summary) = stderr.split_once('\n').unwrap();
    assert_eq!(refused, r#"{"line":2,"reason":"the field `q` is missing"}"#);
    assert!(summary.starts_with("1 rows classified, 1 bad rows in standard error;"), "{summary}");
}
