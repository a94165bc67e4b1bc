//! The workspace's chores, one file per command; each spawns the tools it needs and links none of our crates.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "talking to the person at the terminal is what these commands are for"
)]

mod bench;
mod ci;
mod e2e_llm;
mod fuzz;
mod links;
mod run;
mod test;
mod tidy;
mod train;

mod binary;
mod checkout;
mod full_set;
mod prepare;
mod process;
mod workspace;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::checkout::Checkout;
use crate::process::Failed;

/// The workspace's chores.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

/// One variant for each command; its documentation is its help text.
#[derive(Debug, Subcommand)]
enum Command {
    /// Do the main job: prepare the machine, build `hp-classify` and classify a question.
    Run(run::Run),
    /// Prepare the machine, then run every test of the workspace.
    Test(test::Test),
    /// Run everything `.ci/run` runs, in order, up to the first failure.
    Ci,
    /// Check the rules of the house: edges between crates, opening sentences, file lengths and the like.
    Tidy,
    /// Check that every relative link and anchor in the documents resolves.
    Links,
    /// Train the built-in classifier from the data in the tree.
    Train(train::Train),
    /// Measure the figures we promise, and say which are met.
    Bench(bench::Bench),
    /// Fuzz what parses strangers' input, with cargo-fuzz on the nightly toolchain.
    Fuzz(fuzz::Fuzz),
    /// Try everything against a real language model: a small one, on a server that is installed for it.
    E2eLlm(e2e_llm::E2eLlm),
}

fn main() -> ExitCode {
    match dispatch(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn dispatch(arguments: Arguments) -> anyhow::Result<()> {
    let Some(command) = arguments.command else {
        Arguments::command().print_help()?;
        return Ok(());
    };
    let checkout = Checkout::find()?;
    match command {
        Command::Run(run) => run.execute(&checkout),
        Command::Test(test) => test.execute(&checkout),
        Command::Ci => ci::execute(&checkout),
        Command::Tidy => tidy::execute(&checkout),
        Command::Links => links::execute(&checkout),
        Command::Train(train) => train.execute(&checkout),
        Command::Bench(bench) => bench.execute(&checkout),
        Command::Fuzz(fuzz) => fuzz.execute(&checkout),
        Command::E2eLlm(e2e) => e2e.execute(&checkout),
    }
}

/// Says what went wrong and passes a child's exit code on; an interrupted child needs no words.
fn report(error: &anyhow::Error) -> ExitCode {
    let failed = error.downcast_ref::<Failed>();
    if !failed.is_some_and(Failed::is_interrupted) {
        eprintln!("error: {error:#}");
    }
    ExitCode::from(failed.map_or(1, Failed::exit_code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn alone_it_asks_for_nothing() {
        let arguments = Arguments::try_parse_from(["cargo xtask"]).unwrap();
        assert!(arguments.command.is_none());
    }
}
