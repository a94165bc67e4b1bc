//! `cargo xtask bench`: the figures we promise, measured by the `figures` program of `benches`.

use std::process::Command;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::binary;
use crate::checkout::Checkout;
use crate::full_set;
use crate::prepare::{self, Need};
use crate::process;

/// Arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    /// Measure only these; without any, all of them.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Print the array of objects with the keys `name`, `value`, `unit`, `goal` and `met`.
    #[arg(long)]
    json: bool,
}

/// One measured figure; `goal` and its `met` are null where nothing is promised.
#[derive(Debug, Deserialize)]
struct Figure {
    name: String,
    value: Value,
    unit: String,
    goal: Option<Value>,
    met: Option<bool>,
}

impl Figure {
    fn is_missed(&self) -> bool {
        self.goal.is_some() && self.met != Some(true)
    }

    fn verdict(&self) -> &'static str {
        match (&self.goal, self.met) {
            (None, _) => "",
            (Some(_), Some(true)) => "yes",
            (Some(_), Some(false)) => "NO",
            (Some(_), None) => "not judged",
        }
    }
}

impl Bench {
    /// Measures, prints, and fails when a goal is not met.
    pub(crate) fn execute(&self, checkout: &Checkout) -> anyhow::Result<()> {
        prepare::machine(needs(&self.names))?;
        full_set::announce(checkout)?;
        // One figure is the time hp-classify takes to start, and others ask llm-sim, so they must be there and new.
        let program = binary::build(checkout, &["figures", "hp-classify", "llm-sim"])?;
        let mut list = Command::new(&program);
        let known = process::capture(list.current_dir(checkout.root()).arg("--list"))?;
        refuse_unknown(&self.names, &known)?;

        let mut measure = Command::new(&program);
        measure.current_dir(checkout.root()).args(&self.names).arg("--json");
        eprintln!("+ {}", process::spell(&measure));
        let output = process::capture(&mut measure)?;
        let figures: Vec<Figure> =
            serde_json::from_str(&output).context("cannot read what `figures` printed")?;
        if self.json {
            print!("{output}");
        } else {
            print!("{}", table(&figures));
        }
        let missed: Vec<&str> = figures.iter().filter(|f| f.is_missed()).map(|f| f.name.as_str()).collect();
        if !missed.is_empty() {
            bail!("{} of {} figures missed their goal: {}", missed.len(), figures.len(), missed.join(", "));
        }
        Ok(())
    }
}

/// What the machine must have to measure these, or everything without a name.
fn needs(names: &[String]) -> &'static [Need] {
    // The benchmark that starts a server.
    let is_served = names.is_empty() || names.iter().any(|name| name == "cache");
    if is_served { prepare::SERVED } else { prepare::FULL }
}

/// Fails for a name that does not open one of the listed lines, and repeats the list.
fn refuse_unknown(names: &[String], list: &str) -> anyhow::Result<()> {
    let known: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => bail!("no benchmark is called `{name}`; there are:\n{}", list.trim_end()),
        None => Ok(()),
    }
}

fn table(figures: &[Figure]) -> String {
    let mut rows = vec![["figure", "value", "unit", "goal", "met"].map(str::to_owned)];
    rows.extend(figures.iter().map(|figure| {
        let goal = figure.goal.as_ref().map(spell).unwrap_or_default();
        [figure.name.clone(), spell(&figure.value), figure.unit.clone(), goal, figure.verdict().to_owned()]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (names, values, units, goals) = (width(0), width(1), width(2), width(3));
    let mut table = String::new();
    for [name, value, unit, goal, met] in &rows {
        let line = format!("{name:names$}  {value:>values$}  {unit:units$}  {goal:>goals$}  {met}");
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

/// A number to three decimals at most, whole from a thousand on; anything else as it is.
fn spell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.abs() >= 1000.0 => format!("{float:.0}"),
            Some(float) if number.is_f64() && float.abs() >= 0.001 => {
                format!("{float:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    const FIGURES: &str = r#"[
        {"name": "classify_p50", "value": 21.25391, "unit": "µs", "goal": "≤ 40", "met": true},
        {"name": "classify_throughput", "value": 43210.9, "unit": "queries/s", "goal": 25000, "met": true},
        {"name": "resident_memory", "value": 51, "unit": "MB", "goal": "≤ 40", "met": false},
        {"name": "model_size", "value": 0.4, "unit": "MB", "goal": null, "met": null}
    ]"#;

    fn figures() -> Vec<Figure> {
        serde_json::from_str(FIGURES).unwrap()
    }

    #[test]
    fn the_table_is_aligned() {
        expect![[r#"
            figure                value  unit        goal  met
            classify_p50         21.254  µs          ≤ 40  yes
            classify_throughput   43211  queries/s  25000  yes
            resident_memory          51  MB          ≤ 40  NO
            model_size              0.4  MB
        "#]]
        .assert_eq(&table(&figures()));
    }

    #[test]
    fn only_a_goal_can_be_missed() {
        let missed: Vec<_> = figures().into_iter().filter(Figure::is_missed).map(|f| f.name).collect();
        assert_eq!(missed, ["resident_memory"]);
    }

    #[test]
    fn a_goal_nobody_judged_counts_as_missed() {
        let figure = r#"{"name": "x", "value": 1, "unit": "s", "goal": 2}"#;
        let figure: Figure = serde_json::from_str(figure).unwrap();
        assert!(figure.is_missed());
        assert_eq!(figure.verdict(), "not judged");
    }

    #[test]
    fn only_a_benchmark_that_starts_a_server_needs_one() {
        let has_server = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            needs(&names).iter().any(|need| need.name == "redis-server")
        };
        assert!(has_server(&[]) && has_server(&["l1", "cache"]));
        assert!(!has_server(&["l1"]));
    }

    #[test]
    fn unknown_names_are_refused_with_the_list() {
        let list = "classify  embedded classification\nl1  a get from memory\n";
        assert!(refuse_unknown(&["l1".to_owned()], list).is_ok());
        let error = refuse_unknown(&["l1".to_owned(), "embedded".to_owned()], list).unwrap_err();
        expect![[r#"
            no benchmark is called `embedded`; there are:
            classify  embedded classification
            l1  a get from memory"#]]
        .assert_eq(&error.to_string());
    }
}
