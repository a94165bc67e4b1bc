//! The whole program asked question after question: what it answers, who has answered, and how long it took.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{bail, ensure};

use super::Scene;
use super::program::{Answer, Settings};
use super::questions::{Question, questions};

/// The default of `max_response_time_ms`.
const DEFAULT_LIMIT: Duration = Duration::from_secs(2);
/// A limit that even a busy machine keeps.
const GENEROUS_LIMIT: Duration = Duration::from_secs(20);
/// With the generous limit so many in a hundred come from the model; others are replies that are no answers.
const LEAST_BY_LLM: usize = 90;
/// What the program says of a model that always says the same.
const WARNING: &str = "says the same of nearly every question";
/// How long after its limit an answer is still waited for, to be told how late it is.
const SLACK: Duration = Duration::from_secs(60);

/// With the default limit an answer is in time, whoever has to give it.
pub(super) fn in_time(scene: &Scene) -> anyhow::Result<()> {
    run(scene, DEFAULT_LIMIT, &[]).map(drop)
}

/// With time enough it is the model that answers. What it goes on to say would keep it from the next question, and would make
/// it look slow to the circuit breaker, so that is cut.
pub(super) fn with_time_enough(scene: &Scene) -> anyhow::Result<()> {
    let (limit, timeout) = (GENEROUS_LIMIT.as_millis().to_string(), GENEROUS_LIMIT.as_secs().to_string());
    let settings = [
        ("max_response_time_ms", limit.as_str()),
        ("llm_call_timeout", timeout.as_str()),
        ("early_acceptance", "cut"),
    ];
    let summary = run(scene, GENEROUS_LIMIT, &settings)?;
    let (n_by_llm, n_asked) = (summary.n_by_llm, summary.n_asked);
    ensure!(
        100 * n_by_llm >= LEAST_BY_LLM * n_asked,
        "only {n_by_llm} of {n_asked} answers are the model's, fewer than {LEAST_BY_LLM} %"
    );
    Ok(())
}

/// Asks everything in one process; an error where an answer is late, or does not say where it comes from.
fn run(scene: &Scene, limit: Duration, settings: Settings<'_>) -> anyhow::Result<Summary> {
    let mut asking = scene.program.asking(settings)?;
    let mut summary = Summary::default();
    let mut faults = Vec::new();
    for question in questions() {
        let answer = asking.ask(question.text, limit + SLACK)?;
        println!("   {}", row(&question, &answer));
        if let Some(fault) = fault(&answer, limit) {
            faults.push(format!("`{}` {fault}", question.text));
        }
        summary.count(&question, &answer);
    }
    let told = asking.finish()?;
    summary.is_warned = told.iter().any(|line| line.contains(WARNING));
    summary.to_string().lines().for_each(|line| println!("   {line}"));
    match faults.first() {
        None => Ok(summary),
        Some(first) => bail!("{} answers are wrong; {first}", faults.len()),
    }
}

/// What is wrong with an answer, whatever it says.
fn fault(answer: &Answer, limit: Duration) -> Option<String> {
    let metadata = &answer.metadata;
    if metadata.response_time_ms > limit.as_secs_f64() * 1e3 {
        return Some(format!("was answered after {:.0} ms", metadata.response_time_ms));
    }
    match (metadata.source.as_str(), metadata.degraded, &metadata.degraded_reason) {
        ("llm", false, None) | ("embedded", true, Some(_)) => None,
        (source, true, None) => Some(format!("was answered by {source}, degraded for no reason")),
        (source, _, _) => {
            Some(format!("was to be answered by the model, and was by {source} without a word"))
        }
    }
}

fn row(question: &Question, answer: &Answer) -> String {
    let metadata = &answer.metadata;
    let agrees = if answer.category == question.category { ' ' } else { '≠' };
    let detail = match (&metadata.degraded_reason, &metadata.llm) {
        (Some(reason), _) => reason.clone(),
        (None, Some(llm)) => llm.to_string(),
        (None, None) => String::new(),
    };
    let text: String = question.text.chars().take(44).collect();
    format!(
        "{text:<44} {:<15}{agrees} {:<8} {:>6.0} ms  {detail}",
        answer.category, metadata.source, metadata.response_time_ms
    )
    .trim_end()
    .to_owned()
}

/// What became of all questions.
#[derive(Debug, Default)]
struct Summary {
    n_asked: usize,
    n_by_llm: usize,
    /// By the reason for which the embedded classifier stood in.
    degraded: BTreeMap<String, usize>,
    slowest_ms: f64,
    n_llm_agrees: usize,
    n_embedded_agrees: usize,
    /// What the model has said, how often.
    said: BTreeMap<String, usize>,
    is_warned: bool,
}

impl Summary {
    fn count(&mut self, question: &Question, answer: &Answer) {
        let metadata = &answer.metadata;
        let agrees = usize::from(answer.category == question.category);
        self.n_asked += 1;
        self.slowest_ms = self.slowest_ms.max(metadata.response_time_ms);
        if metadata.source == "llm" {
            self.n_by_llm += 1;
            self.n_llm_agrees += agrees;
            *self.said.entry(answer.category.clone()).or_default() += 1;
        } else {
            self.n_embedded_agrees += agrees;
            let reason = metadata.degraded_reason.as_deref().unwrap_or("no reason");
            *self.degraded.entry(reason.to_owned()).or_default() += 1;
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_degraded: usize = self.degraded.values().sum();
        let reasons: Vec<String> = self.degraded.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
        writeln!(
            formatter,
            "{} asked: {} answered by the model, {n_degraded} degraded{reasons}; the slowest took {:.0} ms",
            self.n_asked, self.n_by_llm, self.slowest_ms
        )?;
        writeln!(
            formatter,
            "as expected: {} of {} by the model, {} of {n_degraded} by the embedded classifier in its place",
            self.n_llm_agrees, self.n_by_llm, self.n_embedded_agrees
        )?;
        let said: Vec<String> = self.said.iter().map(|(category, n)| format!("{category} {n}")).collect();
        let said = if said.is_empty() { "nothing".to_owned() } else { said.join(", ") };
        let warned = if self.is_warned { "has warned" } else { "has not warned" };
        write!(
            formatter,
            "the model said {said}; the program {warned} that it says the same of nearly every question"
        )
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn answer(category: &str, source: &str, ms: f64, reason: Option<&str>) -> Answer {
        let reason = reason.map_or("null".to_owned(), |reason| format!("{reason:?}"));
        let degraded = reason != "null";
        let json = format!(
            r#"{{"category":"{category}","metadata":{{"response_time_ms":{ms},"source":"{source}","degraded":{degraded},"degraded_reason":{reason},"llm":null}}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[track_caller]
    fn check(answer: &Answer, expected: Option<&str>) {
        assert_eq!(fault(answer, DEFAULT_LIMIT).as_deref(), expected);
    }

    #[test]
    fn an_answer_is_in_time_and_says_where_it_comes_from() {
        check(&answer("GENERAL", "llm", 2000.0, None), None);
        check(&answer("GENERAL", "embedded", 1940.0, Some("timed_out")), None);
        check(&answer("GENERAL", "llm", 2000.5, None), Some("was answered after 2000 ms"));
        let silent = "was to be answered by the model, and was by embedded without a word";
        check(&answer("GENERAL", "embedded", 1.0, None), Some(silent));
        let cached = "was to be answered by the model, and was by l1 without a word";
        check(&answer("GENERAL", "l1", 1.0, None), Some(cached));
        let mut unexplained = answer("GENERAL", "embedded", 1.0, None);
        unexplained.metadata.degraded = true;
        check(&unexplained, Some("was answered by embedded, degraded for no reason"));
    }

    #[test]
    fn the_summary_tells_who_has_answered() {
        let question = Question { category: "GENERAL", text: "What is a metabolome?" };
        let mut summary = Summary::default();
        for answer in [
            answer("GENERAL", "llm", 900.0, None),
            answer("REAL_TIME", "llm", 800.0, None),
            answer("GENERAL", "embedded", 1941.2, Some("timed_out")),
            answer("GENERAL", "embedded", 0.2, Some("busy")),
        ] {
            summary.count(&question, &answer);
        }
        expect![[r#"
               4 asked: 2 answered by the model, 2 degraded (1 busy, 1 timed_out); the slowest took 1941 ms
               as expected: 1 of 2 by the model, 2 of 2 by the embedded classifier in its place
               the model said GENERAL 1, REAL_TIME 1; the program has not warned that it says the same of nearly every question"#]]
        .assert_eq(&summary.to_string());
        let answer = answer("REAL_TIME", "embedded", 1941.2, Some("timed_out"));
        expect![
            "What is a metabolome?                        REAL_TIME      ≠ embedded   1941 ms  timed_out"
        ]
        .assert_eq(&row(&question, &answer));
    }
}
