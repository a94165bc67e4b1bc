//! `cargo xtask ci`: everything that must hold before a change is good, in order, up to the first failure.

use std::time::{Duration, Instant};

use crate::binary::Set;
use crate::checkout::Checkout;
use crate::process;
use crate::test::{self, Counts};
use crate::{full_set, links, prepare, tidy, train};

/// One thing to check.
struct Step {
    name: &'static str,
    /// What a person types to do just this step again.
    repeat: &'static str,
    run: fn(&Checkout, &mut Tally) -> anyhow::Result<Done>,
}

/// What came of a step that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Passed,
    Skipped(&'static str),
}

/// What the steps leave behind for the closing line.
#[derive(Debug, Default)]
struct Tally {
    tests: Option<Counts>,
}

/// The quick ones first; what takes minutes comes when those hold.
const STEPS: &[Step] = &[
    Step { name: "fmt", repeat: "cargo fmt --all --check", run: fmt },
    Step { name: "tidy", repeat: "cargo xtask tidy", run: tidy },
    Step {
        name: "clippy",
        repeat: "cargo clippy --release --workspace --all-targets -- -D warnings",
        run: clippy,
    },
    Step { name: "model", repeat: "cargo xtask train --check", run: model },
    Step { name: "test", repeat: "cargo xtask test", run: test },
    Step {
        name: "docs",
        repeat: "RUSTDOCFLAGS='-D warnings' cargo doc --release --workspace --no-deps",
        run: docs,
    },
    Step { name: "links", repeat: "cargo xtask links", run: links },
    Step { name: "benches", repeat: "cargo bench --workspace --bench '*' -- --test", run: benches },
    Step { name: "deny", repeat: "cargo deny check bans licenses sources", run: deny },
];

/// Runs every step; ends with a table of them and a line that says how many tests passed and failed.
pub(crate) fn execute(checkout: &Checkout) -> anyhow::Result<()> {
    prepare::machine(prepare::CHECKS)?;
    full_set::announce(checkout)?;
    let mut tally = Tally::default();
    let mut rows = Vec::new();
    let mut failure = None;
    for (index, step) in STEPS.iter().enumerate() {
        eprintln!("\n[{}/{}] {}", index + 1, STEPS.len(), step.name);
        let started = Instant::now();
        let result = (step.run)(checkout, &mut tally);
        let took = started.elapsed();
        let outcome = match &result {
            Ok(Done::Passed) => "passed".to_owned(),
            Ok(Done::Skipped(reason)) => format!("skipped: {reason}"),
            Err(_) => "FAILED".to_owned(),
        };
        eprintln!("[{}/{}] {}, {}: {outcome}", index + 1, STEPS.len(), step.name, spell(took));
        rows.push(Row { name: step.name, took, outcome });
        if let Err(error) = result {
            failure =
                Some(error.context(format!("step {} failed; repeat it with `{}`", step.name, step.repeat)));
            break;
        }
    }
    print!("\n{}", table(&rows));
    if let Some(counts) = tally.tests {
        println!("\n{counts}");
    }
    failure.map_or(Ok(()), Err)
}

fn fmt(checkout: &Checkout, _: &mut Tally) -> anyhow::Result<Done> {
    process::announce_and_run(&mut checkout.cargo(["fmt", "--all", "--check"]))?;
    Ok(Done::Passed)
}

fn tidy(checkout: &Checkout, _: &mut Tally) -> anyhow::Result<Done> {
    tidy::execute(checkout)?;
    Ok(Done::Passed)
}

fn clippy(checkout: &Checkout, _: &mut Tally) -> anyhow::Result<Done> {
    let words = ["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"];
    process::announce_and_run(&mut checkout.cargo(words))?;
    Ok(Done::Passed)
}

fn model(checkout: &Checkout, _: &mut Tally) -> anyhow::Result<Done> {
    train::check(checkout, Set::Full)?;
    Ok(Done::Passed)
}

fn test(checkout: &Checkout, tally: &mut Tally) -> anyhow::Result<Done> {
    let (counts, result) = test::run(checkout, &[]);
    tally.tests = counts;
    result?;
    Ok(Done::Passed)
}

fn docs(checkout: &Checkout, _: &mut Tally) -> anyhow::Result<Done> {
    let mut command = checkout.cargo(["doc", "--release", "--workspace", "--no-deps"]);
    process::announce_and_run(command.env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Done::Passed)
}

fn links(checkout: &Checkout, _: &mut Tally) -> anyhow::Result<Done> {
    links::execute(checkout)?;
    Ok(Done::Passed)
}

/// Every bench runs each of its loops once; the bench profile is the release profile, so nothing is built anew.
fn benches(checkout: &Checkout, _: &mut Tally) -> anyhow::Result<Done> {
    process::announce_and_run(&mut checkout.cargo(["bench", "--workspace", "--bench", "*", "--", "--test"]))?;
    Ok(Done::Passed)
}

/// Advisories are left to a person: they change with the day and need the network, the rest depends on the tree alone.
fn deny(checkout: &Checkout, _: &mut Tally) -> anyhow::Result<Done> {
    if !process::works(&mut checkout.cargo(["deny", "--version"])) {
        return Ok(Done::Skipped("cargo-deny is not installed; cargo install cargo-deny"));
    }
    process::announce_and_run(&mut checkout.cargo(["deny", "check", "bans", "licenses", "sources"]))?;
    Ok(Done::Passed)
}

/// One line of the closing table.
struct Row {
    name: &'static str,
    took: Duration,
    outcome: String,
}

fn table(rows: &[Row]) -> String {
    let mut table = format!("{:<2} {:<8} {:>10}  {}\n", "#", "step", "time", "result");
    for (index, Row { name, took, outcome }) in rows.iter().enumerate() {
        table.push_str(&format!("{:<2} {name:<8} {:>10}  {outcome}\n", index + 1, spell(*took)));
    }
    let total = rows.iter().map(|row| row.took).sum();
    table + &format!("{:<2} {:<8} {:>10}\n", "", "all", spell(total))
}

/// Tenths of a second below a minute, minutes and seconds above.
fn spell(took: Duration) -> String {
    let seconds = took.as_secs();
    if seconds < 60 {
        format!("{:.1} s", took.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_table_sums_up() {
        let rows = [
            Row { name: "fmt", took: Duration::from_millis(840), outcome: "passed".to_owned() },
            Row { name: "clippy", took: Duration::from_secs(125), outcome: "FAILED".to_owned() },
        ];
        expect![[r#"
             #  step           time  result
             1  fmt           0.8 s  passed
             2  clippy   2 min 05 s  FAILED
                all      2 min 05 s
        "#]]
        .assert_eq(&table(&rows));
    }

    #[test]
    fn what_failed_travels_with_the_exit_code_of_its_tool() {
        let mut command = std::process::Command::new("sh");
        let error = process::run(command.args(["-c", "exit 101"])).unwrap_err().context("step test failed");
        let failed = error.downcast_ref::<process::Failed>();
        assert_eq!(failed.map(process::Failed::exit_code), Some(101));
    }
}
