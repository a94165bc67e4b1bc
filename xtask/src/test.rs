//! `cargo xtask test`: every test of the workspace, then the examples in the documentation.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::ops::AddAssign;
use std::process::{Command, ExitStatus};

use anyhow::bail;

use crate::checkout::Checkout;
use crate::process::{self, Stream};
use crate::{full_set, prepare};

/// Arguments of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    /// Run only the tests whose name contains one of these.
    filters: Vec<String>,
}

impl Test {
    /// Prepares the machine and runs the tests; the last line says how many passed and failed.
    pub(crate) fn execute(&self, checkout: &Checkout) -> anyhow::Result<()> {
        prepare::machine(prepare::TESTS)?;
        full_set::announce(checkout)?;
        let (counts, result) = run(checkout, &self.filters);
        if let Some(counts) = counts {
            println!("{counts}");
        }
        result
    }
}

/// How many tests ran, as the tools that ran them say.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    passed: u64,
    failed: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Runs the tests; the counts are `None` when some tool ended without saying how many it ran.
pub(crate) fn run(checkout: &Checkout, filters: &[String]) -> (Option<Counts>, anyhow::Result<()>) {
    let mut counts = Counts::default();
    match run_all(checkout, filters, &mut counts) {
        Ok(Outcome { is_counted, result }) => (is_counted.then_some(counts), result),
        Err(error) => (None, Err(error)),
    }
}

struct Outcome {
    is_counted: bool,
    result: anyhow::Result<()>,
}

fn run_all(checkout: &Checkout, filters: &[String], counts: &mut Counts) -> anyhow::Result<Outcome> {
    let suite = if has_nextest(checkout) {
        eprintln!("cargo-nextest is present: building every test in release, then running them with it");
        let mut build = checkout.cargo(["nextest", "run", "--release", "--workspace", "--no-run"]);
        process::announce_and_run(&mut build)?;
        full_set::mark_as_built(checkout)?;
        Suite { command: nextest(checkout, filters), stream: Stream::Error, count: count_nextest }
    } else {
        eprintln!(
            "cargo-nextest is not installed: building every test in release, then running them with cargo test"
        );
        process::announce_and_run(cargo_test(checkout, &[]).arg("--no-run"))?;
        full_set::mark_as_built(checkout)?;
        Suite { command: cargo_test(checkout, filters), stream: Stream::Out, count: count_libtest }
    };
    let documentation =
        Suite { command: doc_tests(checkout, filters), stream: Stream::Out, count: count_libtest };

    let mut is_counted = true;
    let mut result = Ok(());
    for (suite, what) in
        [(suite, "running the tests"), (documentation, "running the documentation's examples")]
    {
        eprintln!("{what}");
        let (counted, ended) = suite.run()?;
        is_counted &= counted.is_some();
        *counts += counted.unwrap_or_default();
        if result.is_ok() {
            result = ended;
        }
        // OK to stop here: a suite that fails without counting did not compile, and neither will the next.
        if result.is_err() && !is_counted {
            break;
        }
    }
    if result.is_ok() && is_counted && *counts == Counts::default() {
        bail!("no test ran{}", if filters.is_empty() { "" } else { ": no test's name contains the filter" });
    }
    Ok(Outcome { is_counted, result })
}

/// One tool run over many tests, and how it counts them.
struct Suite {
    command: Command,
    stream: Stream,
    count: fn(&str) -> Option<Counts>,
}

impl Suite {
    fn run(mut self) -> anyhow::Result<(Option<Counts>, anyhow::Result<()>)> {
        eprintln!("+ {}", process::spell(&self.command));
        let (status, copy): (ExitStatus, _) = process::watch(&mut self.command, self.stream)?;
        let counts = (self.count)(&without_colours(&String::from_utf8_lossy(&copy)));
        // A tool that fails although no test did was cut short, so what it counted is not all there is.
        let counts = counts.filter(|counts| status.success() || counts.failed > 0);
        Ok((counts, process::succeeded(&self.command, status)))
    }
}

fn has_nextest(checkout: &Checkout) -> bool {
    process::works(&mut checkout.cargo(["nextest", "--version"]))
}

fn nextest(checkout: &Checkout, filters: &[String]) -> Command {
    let mut command = checkout.cargo(["nextest", "run", "--release", "--workspace", "--no-fail-fast"]);
    if io::stderr().is_terminal() {
        // We stand between nextest and the terminal, so it would go without colours.
        command.args(["--color", "always"]);
    }
    if !filters.is_empty() {
        // A filter may fit documentation examples alone; that nothing at all ran is noticed at the end.
        command.arg("--no-tests=pass").args(filters);
    }
    command
}

fn cargo_test(checkout: &Checkout, filters: &[String]) -> Command {
    let every =
        ["test", "--release", "--workspace", "--lib", "--bins", "--tests", "--examples", "--no-fail-fast"];
    with_filters(checkout.cargo(every), filters)
}

fn doc_tests(checkout: &Checkout, filters: &[String]) -> Command {
    with_filters(checkout.cargo(["test", "--release", "--workspace", "--doc", "--no-fail-fast"]), filters)
}

fn with_filters(mut command: Command, filters: &[String]) -> Command {
    if !filters.is_empty() {
        command.arg("--").args(filters);
    }
    command
}

/// Reads nextest's last summary, such as `Summary [ 0.1s] 5/7 tests run: 3 passed (1 slow), 2 failed, 1 skipped`.
fn count_nextest(output: &str) -> Option<Counts> {
    let summary = output.lines().rev().find(|line| line.trim_start().starts_with("Summary ["))?;
    let (_, counts) = summary.split_once(']')?;
    let (run, outcomes) = counts.split_once(" run:")?;
    let n_run: u64 = run.trim_start().split(['/', ' ']).next()?.parse().ok()?;
    let passed = outcomes.split_whitespace().zip(outcomes.split_whitespace().skip(1));
    let passed = passed.filter(|(_, word)| word.trim_end_matches(',') == "passed");
    let passed = passed.map(|(number, _)| number.parse::<u64>()).next().unwrap_or(Ok(0)).ok()?;
    // Whatever ran and did not pass has failed: by itself, by taking too long, by a signal.
    Some(Counts { passed, failed: n_run.checked_sub(passed)? })
}

/// Adds up the lines `test result: ok. 3 passed; 0 failed; …` of each test program.
fn count_libtest(output: &str) -> Option<Counts> {
    let mut counts = None;
    for line in output.lines() {
        let Some((_, numbers)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            continue;
        };
        let number = |what: &str| -> Option<u64> {
            numbers.split(';').find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok())
        };
        *counts.get_or_insert_with(Counts::default) +=
            Counts { passed: number("passed")?, failed: number("failed")? };
    }
    counts
}

/// Removes the escape sequences that colour a terminal.
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            // A sequence is `ESC [ … letter`; the bracket is no letter, so it is skipped like the rest.
            let _ = characters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_nextest(summary: &str, expected: Option<(u64, u64)>) {
        assert_eq!(count_nextest(summary), expected.map(|(passed, failed)| Counts { passed, failed }));
    }

    #[test]
    fn nextest_summaries_are_read() {
        check_nextest("     Summary [   0.005s] 2 tests run: 2 passed, 0 skipped", Some((2, 0)));
        check_nextest("     Summary [   0.005s] 1 test run: 1 passed, 0 skipped", Some((1, 0)));
        check_nextest(
            "  Summary [ 9s] 9 tests run: 7 passed (1 slow, 1 leaky), 1 failed, 1 timed out, 0 skipped",
            Some((7, 2)),
        );
        check_nextest(
            "  Summary [ 9s] 3/8 tests run: 2 passed, 1 failed, 0 skipped\n  FAIL [ 1s] a b",
            Some((2, 1)),
        );
        check_nextest("  Summary [ 0s] 1 test run: 0 passed, 1 failed, 0 skipped", Some((0, 1)));
        check_nextest("  Summary [ 0s] 0 tests run: 0 passed, 4 skipped", Some((0, 0)));
    }

    #[test]
    fn no_summary_is_no_count() {
        check_nextest("error: could not compile `x`", None);
        check_nextest("  Summary [ 0s] something else altogether", None);
        assert_eq!(count_libtest("error: could not compile `x`"), None);
    }

    #[test]
    fn cargo_test_results_are_added_up() {
        let output = "\
running 3 tests
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
        assert_eq!(count_libtest(output), Some(Counts { passed: 7, failed: 2 }));
    }

    #[test]
    fn colours_do_not_disturb_the_count() {
        let coloured = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.012s] \u{1b}[1m2\u{1b}[0m tests run: \u{1b}[1m2\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, 0 skipped";
        check_nextest(&without_colours(coloured), Some((2, 0)));
    }

    #[test]
    fn counts_close_with_one_plain_line() {
        assert_eq!(Counts { passed: 12, failed: 0 }.to_string(), "12 passed, 0 failed");
    }
}
