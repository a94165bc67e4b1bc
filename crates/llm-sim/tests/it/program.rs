//! The program.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::client::{json_of, openai, post};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_llm-sim"))
}

#[tokio::test]
async fn it_serves_what_it_is_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let labels = directory.path().join("labels.jsonl");
    std::fs::write(&labels, "{\"query\": \"blue\", \"label\": \"REAL_TIME\"}\n").unwrap();
    let mut serve = program();
    serve
        .args(["serve", "--port", "0", "--fault", "usage_missing=1", "--latency", "1", "--labels"])
        .arg(&labels);
    let mut child = serve.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.split(' ').next().unwrap();
    let response = post(&format!("{url}/v1/chat/completions"), &openai("blue", false)).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let body = json_of(response.unwrap()).await;
    assert!(body["choices"][0]["message"]["content"].as_str().unwrap().contains("REAL_TIME"));
    assert!(body.get("usage").is_none());
}

#[test]
fn it_lists_the_faults() {
    let output = program().arg("faults").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), llm_sim::FAULTS.len());
    assert!(text.contains("hang_mid_stream"));
}

#[test]
fn bad_usage_is_told_what_to_do() {
    for (arguments, advice) in [
        (["--fault", "sever_error=1"], "did you mean server_error?"),
        (["--fault", "server_error=2"], "from 0 to 1"),
        (["--latency", "soon"], "write milliseconds"),
        (["--labels", "/no/such/file"], "/no/such/file cannot be read"),
    ] {
        let output = program().arg("serve").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(advice), "{error}");
    }
}
