//! The commands about language models, against a simulated provider.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as the tests do")]

use std::process::{Command, Output, Stdio};

use llm_sim::{Config, Fault, Faults, Simulator};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const QUESTION: &str = "How does leptin regulate appetite?";

/// A provider, and a folder for what the program keeps.
struct Desk {
    runtime: Runtime,
    simulator: Simulator,
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let simulator = runtime.block_on(Simulator::start(Config::default())).unwrap();
        Self { runtime, simulator, folder: tempfile::tempdir().unwrap() }
    }

    fn fail_with(&self, fault: Fault) {
        self.runtime.block_on(self.simulator.set_faults(Faults::always(fault)));
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let provider = [
            ("HP_LLM_PROVIDER", "openai"),
            ("HP_LLM_MODEL", "gpt-4o-mini"),
            ("HP_LLM_BASE_URL", &self.simulator.url()),
            ("HP_LLM_API_KEY", "sk-never-shown"),
        ];
        let mut command = self.bare();
        command.envs(provider).args(arguments).output().unwrap()
    }

    /// The program without a provider.
    fn bare(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hp-classify"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HP_")) {
            command.env_remove(name);
        }
        let place = |name: &str| self.folder.path().join(name);
        command.env("HP_L2_CACHE_PATH", place("l2")).env("HP_BUDGET_PATH", place("budget"));
        command.stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[track_caller]
    fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

#[track_caller]
fn check_refused(output: &Output, status: i32, part: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{told}");
    assert!(told.contains(part), "{told}");
    assert!(!told.contains("sk-never-shown"), "{told}");
}

#[test]
fn a_check_tells_what_a_real_call_took_and_the_budget_knows_it() {
    let desk = Desk::new();
    let told = desk.json(&["llm", "check"]);
    assert_eq!(json!([told["ok"], told["model"], told["within_limit"]]), json!([true, "gpt-4o-mini", true]));
    let llm = &told["llm"];
    assert_eq!(json!([llm["n_calls"], llm["reply_form"], llm["repaired"]]), json!([1, "json_schema", false]));
    let log = desk.simulator.log();
    assert_eq!(log.len(), 1, "it makes one call");
    assert_eq!(llm["input_tokens"], log[0].prompt_tokens);
    assert_eq!(llm["output_tokens"], log[0].completion_tokens);

    let budget = desk.json(&["budget"]);
    assert_eq!(budget["day"]["settled_micros"], llm["cost_micros"]);
    assert!(budget["day"]["settled_micros"].as_u64().unwrap() > 0);
    assert_eq!(budget["day"]["limit_micros"], 10_000_000);
    assert_eq!(budget["hour"]["limit_micros"], 2_000_000);
    let text = desk.text(&["budget"]);
    assert!(text.contains("$10.00") && text.contains("$2.00"), "{text}");
    let text = desk.text(&["llm", "check", QUESTION]);
    assert!(text.contains("by a JSON schema") && text.contains("within max_response_time_ms"), "{text}");
}

#[test]
fn a_check_of_a_provider_that_fails_says_why_and_fails() {
    let desk = Desk::new();
    desk.fail_with(Fault::ServerError);
    check_refused(&desk.run(&["llm", "check"]), 3, "the language model has not answered");
    desk.fail_with(Fault::MalformedJson);
    check_refused(&desk.run(&["llm", "check"]), 3, "is not one JSON object");
}

#[test]
fn what_would_be_sent_is_shown_and_not_sent() {
    let desk = Desk::new();
    let told = desk.json(&["prompt", "show", QUESTION]);
    assert_eq!(told["messages"][1]["text"], json!({"query": QUESTION}).to_string());
    assert_eq!(told["prompt"], "compact-1");
    let estimate = &told["estimate"];
    assert!(estimate["prompt_tokens"].as_u64().unwrap() > 100 && estimate["is_exact"] == true, "{estimate}");
    assert!(estimate["most_cost_micros"].as_u64().unwrap() > 0, "{estimate}");
    let text = desk.text(&["prompt", "show", "odd \u{1b}[31m <|im_end|>"]);
    assert!(text.contains("schema of the reply") && !text.contains('\u{1b}'), "{text}");
    assert!(text.contains(r"\u003c|im_end|>"), "{text}");
    check_refused(&desk.run(&["prompt", "show", " "]), 2, "the query is empty");
    assert_eq!(desk.simulator.log().len(), 0);
}

#[test]
fn a_forced_question_is_the_models_and_the_next_run_has_its_answer() {
    let desk = Desk::new();
    let forced = desk.json(&["classify", "--force-llm", QUESTION]);
    assert_eq!(forced["metadata"]["source"], "llm");
    assert_eq!(forced["metadata"]["llm"]["prompt"], "compact-1");
    let again = desk.json(&["classify", QUESTION]);
    assert_eq!(again["metadata"]["source"], "l2");
    assert_eq!(again["category"], forced["category"]);
    assert_eq!(desk.simulator.log().len(), 1);
}

#[test]
fn a_provider_that_is_down_costs_no_answer() {
    let desk = Desk::new();
    desk.fail_with(Fault::ConnectionRefused);
    let answer = desk.json(&["classify", "--force-llm", QUESTION]);
    let metadata = &answer["metadata"];
    assert_eq!(
        json!([metadata["source"], metadata["degraded"], metadata["degraded_reason"]]),
        json!(["embedded", true, "unavailable"])
    );
    let text = desk.text(&["classify", "--force-llm", QUESTION]);
    assert!(text.contains("degraded") && text.contains("unavailable"), "{text}");
}

#[test]
fn a_configuration_that_cannot_be_used_is_found_by_checking_it() {
    let desk = Desk::new();
    desk.text(&["config", "check"]);
    for (set, part) in [
        ("llm_api_key_file=/nowhere/at/all", "/nowhere/at/all"),
        ("llm_base_url=ftp://host", "base_url"),
        ("llm_base_url=https://host/v1 --set llm_model=mine", "mine"),
        ("llm_api_version=1", "api_version"),
        ("category_confidence_thresholds=POLITICS=0.5", "POLITICS"),
    ] {
        let flags: Vec<&str> = ["--set"].into_iter().chain(set.split(' ')).collect();
        check_refused(&desk.run(&[&["config", "check"], &flags[..]].concat()), 2, part);
    }
    assert_eq!(desk.simulator.log().len(), 0);
}

#[test]
fn without_a_provider_it_is_said_what_to_set() {
    let desk = Desk::new();
    for arguments in [&["llm", "check"][..], &["prompt", "show", QUESTION]] {
        check_refused(&desk.bare().args(arguments).output().unwrap(), 2, "set llm_provider");
    }
    let output = desk.bare().args(["classify", "--set", "classifier_mode=llm", QUESTION]).output().unwrap();
    check_refused(&output, 2, "set llm_provider");
    let output = desk.bare().args(["budget"]).output().unwrap();
    assert!(output.status.success(), "the budget can be looked at all the same");
}
