//! What one run of the program leaves to the next, on a real disk.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as the tests do")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

const QUESTION: &str = "Which enzymes convert kynurenine to quinolinic acid?";

/// A folder with a cache in it, and the program that uses it.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hp-classify"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HP_")) {
            command.env_remove(name);
        }
        command.env("HP_L2_CACHE_PATH", self.0.path().join("l2")).args(args).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[track_caller]
    fn text(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A process that stays and holds the cache on disk, having answered one question.
    fn holder(&self) -> Holder {
        let mut command = self.command(&["classify", "-", "--json"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        writeln!(child.stdin.as_mut().unwrap(), "hello there").unwrap();
        answers.read_line(&mut String::new()).unwrap();
        Holder(child)
    }
}

/// Ends when dropped.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}

#[test]
fn a_second_start_answers_from_the_disk() {
    let desk = Desk::new();
    let first = desk.json(&["classify", QUESTION]);
    assert_eq!(first["metadata"]["source"], "embedded");
    let second = desk.json(&["classify", QUESTION]);
    assert_eq!(second["metadata"]["cache_level"], "l2_persistent");
    assert_eq!(second["metadata"]["source"], "l2");
    assert_eq!(second["metadata"]["optimizations_applied"], json!(["multi_level_cache"]));
    for field in ["category", "confidence", "reasoning", "biomedical_signals", "alternative_categories"] {
        assert_eq!(first[field], second[field], "{field}");
    }
    let off = desk.json(&["classify", QUESTION, "--set", "l2_cache_enabled=false"]);
    assert_eq!(off["metadata"]["source"], "embedded");
}

#[test]
fn the_cache_goes_to_the_users_folder_unless_told_otherwise() {
    let desk = Desk::new();
    let mut command = desk.command(&["classify", QUESTION]);
    command.env_remove("HP_L2_CACHE_PATH").env("XDG_CACHE_HOME", desk.0.path().join("caches"));
    assert!(command.output().unwrap().status.success());
    assert!(desk.0.path().join("caches/hp-classify/l2").is_dir());

    let mut command = desk.command(&["cache", "stats", "--json"]);
    let output =
        command.env_remove("HP_L2_CACHE_PATH").env_remove("XDG_CACHE_HOME").env_remove("HOME").output();
    let stats: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    assert!(stats["missing"][0]["reason"].as_str().unwrap().contains("set l2_cache_path"), "{stats}");
}

#[test]
fn what_is_wrong_can_be_seen_and_forgotten() {
    let desk = Desk::new();
    desk.json(&["classify", QUESTION]);
    let seen = desk.json(&["cache", "inspect", "which enzymes convert kynurenine to quinolinic acid"]);
    let tier = &seen["tiers"][0];
    assert_eq!((&tier["tier"], &tier["present"]), (&json!("l2_persistent"), &json!(true)));
    assert_eq!(tier["value"]["category"], "KNOWLEDGE_GRAPH");
    let ttl = tier["ttl_seconds"].as_f64().unwrap();
    assert!((3000.0..=3600.0).contains(&ttl), "{ttl}");
    assert!(tier["bytes"].as_u64().unwrap() > 100);
    let by_key = desk.json(&["cache", "inspect", seen["key"].as_str().unwrap()]);
    assert_eq!(by_key["tiers"][0]["value"], tier["value"]);

    let told = desk.json(&["cache", "forget", QUESTION]);
    assert_eq!(told["keys"], json!([seen["key"]]));
    assert_eq!(told["tiers"]["l2_persistent"]["done"], true);
    assert_eq!(told["replicas_told"], false);
    assert!(desk.text(&["cache", "inspect", QUESTION]).contains("l2_persistent: not there"));
    assert_eq!(desk.json(&["classify", QUESTION])["metadata"]["source"], "embedded");

    assert!(desk.text(&["cache", "flush"]).starts_with("l2_persistent: forgotten"));
    assert_eq!(desk.json(&["classify", QUESTION])["metadata"]["source"], "embedded");
    let stats = desk.json(&["cache", "stats"]);
    assert_eq!((&stats["l2_cache"]["enabled"], &stats["l2_cache"]["state"]), (&json!(true), &json!("ready")));
}

#[test]
fn a_disk_that_another_process_has_open_is_spoken_of_clearly() {
    let desk = Desk::new();
    let _holder = desk.holder();
    let answer = desk.json(&["classify", QUESTION]);
    assert_eq!(answer["metadata"]["source"], "embedded", "it answers all the same");
    assert_eq!(desk.json(&["cache", "stats"])["l2_cache"]["state"], "locked");
    for command in [&["cache", "flush"][..], &["cache", "forget", QUESTION], &["warm", QUESTION]] {
        let output = desk.run(command);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("in use by another process"), "{said}");
    }
}

#[test]
fn what_is_warmed_is_there_for_the_next_start() {
    let desk = Desk::new();
    let file = desk.0.path().join("queries.txt");
    std::fs::write(&file, "What is gout?\n\nwhat is  GOUT\nlatest statin trials\n").unwrap();
    let file = file.to_str().unwrap();
    let report = desk.json(&["warm", QUESTION, "--file", file, "--depth", "0"]);
    assert_eq!(report, json!({"total": 3, "warmed": 3, "skipped": 0, "failed": 0, "cancelled": false}));
    assert_eq!(desk.json(&["classify", "what is gout"])["metadata"]["cache_level"], "l2_persistent");

    let again =
        desk.json(&["warm", "--file", file, "--depth", "2", "--per-second", "10000", "--concurrency", "4"]);
    assert_eq!(again["skipped"], 2);
    assert!(again["warmed"].as_u64().unwrap() >= 2, "{again}");

    let listed = desk.json(&["warm", "--set", "cache_warm_queries=what is an enzyme", "--depth", "0"]);
    assert_eq!((&listed["total"], &listed["warmed"]), (&json!(2), &json!(1)), "the list, and what was asked");
    let top = desk.json(&["warm", "--top", "5", "--depth", "0"]);
    assert_eq!((&top["total"], &top["skipped"]), (&json!(1), &json!(1)));

    let failed = desk.run(&["warm", "", "--depth", "0"]);
    assert_eq!(failed.status.code(), Some(2));
    let nothing = Desk::new().run(&["warm"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("there is nothing to warm"));
}

#[cfg(unix)]
#[test]
fn warming_that_is_interrupted_keeps_what_it_has_and_says_how_far_it_came() {
    let desk = Desk::new();
    let questions: String = (0..500).map(|number| format!("question number {number}\n")).collect();
    let file = desk.0.path().join("queries.txt");
    std::fs::write(&file, questions).unwrap();
    let mut command = desk.command(&["warm", "--json", "--depth", "0", "--per-second", "50", "--file"]);
    let child = command.arg(&file).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The interrupt is for a process that listens; until it does, none has come.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let listens = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 2 != 0)
    };
    while !listens() {
        assert!(std::time::Instant::now() < deadline, "it never listens");
        std::thread::yield_now();
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["cancelled"], &report["total"]), (&json!(true), &json!(500)));
    assert!(report["warmed"].as_u64().unwrap() < 500);
}
