//! Every command but `bulk`, with good and bad input.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as the tests do")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const TAXONOMY: &str = r#"revision = "desk-1"
[[categories]]
id = "BILLING"
description = "Invoices and payments."
route = "finance"
examples = ["where is my invoice", "my card was charged twice", "refund the last payment", "invoice has the wrong address"]
[[categories.cue_groups]]
name = "payment"
evidence = "speaks of a payment"
patterns = ["invoice*", "(charged|paid) twice", "refund*", "payment*"]
[[categories]]
id = "TECHNICAL"
description = "Things that do not work."
route = "support"
examples = ["the app crashes at start", "I cannot log in", "error 500 on upload", "the page does not load"]
[[categories.cue_groups]]
name = "failure"
evidence = "speaks of a failure"
patterns = ["crash*", "error*", "cannot", "not load"]
"#;

fn hp_classify(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hp-classify"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HP_")) {
        command.env_remove(name);
    }
    // Tests leave the user's own cache alone.
    command.env("HP_L2_CACHE_ENABLED", "false");
    command.args(args).stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    hp_classify(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The command fails with exit code 2 and says `message`.
#[track_caller]
fn refused(args: &[&str], message: &str) {
    let output = run(args);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains(message), "{:?} does not say {message:?}", stderr(&output));
    assert!(!stderr(&output).contains("panicked"));
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn classify_prints_people_and_machines_an_answer() {
    let question = "Which enzymes convert kynurenine to quinolinic acid?";
    let people = stdout(&run(&["classify", question]));
    assert!(people.starts_with("KNOWLEDGE_GRAPH"), "{people}");
    assert!(!people.contains('\u{1b}'), "colours only on a terminal");
    let machine = json(&run(&["classify", "--json", "--priority", "high", question]));
    assert_eq!(machine["query"], question);
    assert_eq!(machine["category"], "KNOWLEDGE_GRAPH");
    assert_eq!(machine["route"], "lightrag");
    assert_eq!(machine["metadata"]["priority"], "high");
    assert_eq!(
        machine["biomedical_signals"]["entities"],
        serde_json::json!(["kynurenine", "quinolinic acid"])
    );
}

#[test]
fn standard_input_is_answered_line_by_line() {
    let mut child = hp_classify(&["classify", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"What is LC-MS?\n\nwhat is  lc-ms\n\xff\xfe\n\x01\nlatest statin news").unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(output.status.code(), Some(2), "some lines were refused");
    assert_eq!(lines[0]["metadata"]["source"], "embedded");
    assert_eq!(lines[1]["metadata"]["cache_level"], "l1_memory");
    assert_eq!(lines[2], serde_json::json!({"line": 4, "error": "the line is not valid UTF-8 at byte 1"}));
    assert_eq!(lines[3], serde_json::json!({"line": 5, "error": "the query is empty; ask a question"}));
    assert_eq!(lines[4]["category"], "REAL_TIME");
}

#[test]
fn any_text_gets_an_answer_or_a_clear_refusal() {
    refused(&["classify", ""], "the query is empty");
    refused(&["classify", " \t\u{a0}"], "the query is empty");
    refused(&["classify", &"x".repeat(100_000)], "more than max_query_chars = 8192");
    refused(
        &["classify", "a b c", "--set", "max_query_chars=4"],
        "has 5 characters, more than max_query_chars = 4",
    );
    refused(&["classify", "x", "--context", "previos_query=y"], "did you mean `previous_query`?");
    refused(&["classify", "x", "--priority", "urgent"], "use low, normal or high");
    refused(&["classify"], "required");
    for odd in ["🧬🧪", "ما هو الأيض؟", "\u{1b}[31mred", "e\u{301}\u{301}", "a\0b"] {
        if odd.contains('\0') {
            continue; // No argument of a process can hold it; the test of standard input does.
        }
        let people = run(&["classify", odd]);
        assert!(people.status.success(), "{odd:?}: {}", stderr(&people));
        assert!(!stdout(&people).contains('\u{1b}'));
    }
    let paste = "metabolite ".repeat(700);
    assert!(run(&["classify", &paste]).status.success());
}

#[test]
fn context_decides_only_what_the_question_leaves_open() {
    let previous = "previous_query=How does leucine activate mTOR?";
    let open = json(&run(&["classify", "--json", "and in children?", "--context", previous]));
    assert_eq!(open["category"], "KNOWLEDGE_GRAPH");
    let own = json(&run(&[
        "classify",
        "--json",
        "What are the latest trials of rapamycin in 2026?",
        "--context",
        previous,
    ]));
    assert_eq!(own["category"], "REAL_TIME");
}

#[test]
fn eval_measures_and_filters() {
    let folder = tempfile::tempdir().unwrap();
    let rows = concat!(
        r#"{"query":"What is a lipid?","label":"GENERAL","disputed":null}"#,
        "\n",
        r#"{"query":"How does insulin inhibit lipolysis?","label":"KNOWLEDGE_GRAPH","disputed":null}"#,
        "\n",
        r#"{"query":"newest FDA approvals this month","label":"GENERAL","disputed":"hard"}"#,
        "\n",
        r#"{"query":"football","label":"SPORT"}"#,
        "\n"
    );
    let file = write(folder.path(), "rows.jsonl", rows);
    let all = json(&run(&["eval", &file, "--json"]));
    assert_eq!((all["n"].as_u64(), all["outside"]["SPORT"].as_u64()), (Some(3), Some(1)));
    assert!((all["accuracy"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-9);
    for key in ["n", "accuracy", "macro_f1", "ece", "per_class", "confusion", "coverage", "ci95"] {
        assert!(!all[key].is_null(), "{key}");
    }
    let predictions = folder.path().join("out.jsonl");
    let clear = run(&["eval", &file, "--json", "--where", "disputed=null", "--where", "label=GENERAL"]);
    assert_eq!((json(&clear)["n"].as_u64(), json(&clear)["accuracy"].as_f64()), (Some(1), Some(1.0)));
    let written = run(&["eval", &file, "--predictions", predictions.to_str().unwrap()]);
    assert!(stdout(&written).contains("accuracy"), "{}", stderr(&written));
    assert_eq!(std::fs::read_to_string(&predictions).unwrap().lines().count(), 4);
    refused(&["eval", "missing.jsonl"], "cannot open missing.jsonl");
    refused(
        &["eval", &write(folder.path(), "bad.jsonl", "{\"query\":\"a\"}")],
        "bad.jsonl, line 1: `label` is missing",
    );
    refused(&["eval", &file, "--where", "label=NONE"], "no row of");
}

#[test]
fn ones_own_taxonomy_and_data_give_ones_own_classifier() {
    let folder = tempfile::tempdir().unwrap();
    let taxonomy = write(folder.path(), "desk.toml", TAXONOMY);
    let learnt =
        json(&run(&["classify", "--json", "--taxonomy", &taxonomy, "I was charged twice on this invoice"]));
    assert_eq!((&learnt["category"], &learnt["route"]), (&"BILLING".into(), &"finance".into()));

    let data = write(
        folder.path(),
        "rows.jsonl",
        &TAXONOMY.lines().filter(|line| line.starts_with("examples")).zip(["BILLING", "TECHNICAL"]).fold(
            String::new(),
            |rows, (line, label)| {
                let queries = line.split('"').skip(1).step_by(2);
                queries.fold(rows, |rows, query| {
                    format!("{rows}{{\"query\":\"{query}\",\"label\":\"{label}\"}}\n")
                })
            },
        ),
    );
    let model = folder.path().join("desk.model");
    let model = model.to_str().unwrap();
    let report = json(&run(&["train", "--json", "--taxonomy", &taxonomy, "--data", &data, "--out", model]));
    assert_eq!(report["n_rows"], 8);
    let answer = json(&run(&["classify", "--json", "--model", model, "the upload ends in an error"]));
    assert_eq!(answer["category"], "TECHNICAL");

    let mut bytes = std::fs::read(model).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let altered = folder.path().join("altered.model");
    std::fs::write(&altered, &bytes).unwrap();
    refused(&["classify", "x", "--model", altered.to_str().unwrap()], "truncated or altered");
    refused(
        &["classify", "x", "--taxonomy", &write(folder.path(), "t.toml", "revision = 1")],
        "t.toml: line 1",
    );
    refused(&["train", "--data", &data, "--out", model], "the label `BILLING` is not in the taxonomy");
}

#[test]
fn config_shows_checks_and_describes() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "hp.toml", "l1_cache_ttl = 60\n");
    let shown = hp_classify(&["config", "show", "--json", "--config", &file, "--set", "max_query_chars=99"])
        .env("HP_L1_CACHE_SIZE", "7")
        .output()
        .unwrap();
    let shown = json(&shown);
    assert_eq!(shown["l1_cache_ttl"], serde_json::json!({"value": 60.0, "origin": "file"}));
    assert_eq!(shown["l1_cache_size"], serde_json::json!({"value": 7, "origin": "environment"}));
    assert_eq!(shown["max_query_chars"], serde_json::json!({"value": 99, "origin": "flag"}));
    assert_eq!(shown["target_response_time_ms"], serde_json::json!({"value": 1500.0, "origin": "default"}));
    let schema = json(&run(&["config", "schema"]));
    for name in shown.as_object().unwrap().keys() {
        assert!(schema["properties"][name].is_object(), "{name}");
    }
    assert_eq!(json(&run(&["config", "check", "--json"]))["ok"], true);
    refused(&["config", "check", "--set", "l1_cache_siz=1"], "did you mean `l1_cache_size`?");
    refused(&["config", "check", "--set", "l2_cache_enabled=maybe"], "is not true or false");
    refused(&["config", "check", "--model", "none.bin"], "cannot read the model none.bin");
    let misspelt = write(folder.path(), "bad.toml", "\nl1_cache_tll = 1\n");
    refused(
        &["config", "check", "--config", &misspelt],
        "bad.toml, line 2: `l1_cache_tll` is no parameter; did you mean",
    );
}

#[test]
fn secrets_are_not_shown() {
    let shown = hp_classify(&["config", "show", "--set", "redis_url=redis://ada:hunter2@host"])
        .env("HP_REDIS_PASSWORD", "hunter2")
        .output()
        .unwrap();
    let shown = stdout(&shown);
    assert!(shown.contains("redis://ada:…@host") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn without_a_cache_that_lasts_the_commands_for_it_say_what_to_do() {
    for command in
        [&["warm", "x"][..], &["cache", "forget", "x"], &["cache", "flush"], &["cache", "inspect", "x"]]
    {
        refused(command, "set l2_cache_enabled = true or redis_url");
    }
    let stats = json(&run(&["cache", "stats", "--json"]));
    for tier in ["l1_cache", "l2_cache", "l3_cache"] {
        for field in ["hits", "misses", "hit_rate", "size", "max_size", "enabled"] {
            assert!(!stats[tier][field].is_null(), "{tier}.{field}");
        }
        assert_eq!(stats[tier]["enabled"], tier == "l1_cache");
    }
    for field in ["hit_rate", "total_requests", "total_hits", "avg_hit_time_ms"] {
        assert!(stats["overall"][field].is_number(), "{field}");
    }
    assert!(stdout(&run(&["cache", "stats"])).contains("max_size"));
}

#[cfg(not(feature = "disk"))]
#[test]
fn a_build_without_a_disk_says_so_and_answers() {
    let stats = json(&run(&["cache", "stats", "--json", "--set", "l2_cache_enabled=true"]));
    let reason = stats["missing"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("build with the feature `disk`"), "{reason}");
    assert!(run(&["classify", "What is LC-MS?", "--set", "l2_cache_enabled=true"]).status.success());
}

#[test]
fn completions_and_a_closed_pipe() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&run(&["completions", shell])).contains("hp-classify"));
    }
    let mut child = hp_classify(&["classify", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut input = child.stdin.take().unwrap();
    // OK to fail: the child may be gone before all is written.
    let _ = input.write_all("What is glucose?\n".repeat(2000).as_bytes());
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}
