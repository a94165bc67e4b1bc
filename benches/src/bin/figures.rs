//! The program that measures what we promise: `figures --list` names the benchmarks, `figures l1` runs one.

use std::io::{self, Write as _};
use std::path::PathBuf;

use benches::Questions;
use benches::figures::{BENCHMARKS, measure, table};
use clap::Parser;
use clap::builder::PossibleValuesParser;

/// Measures the figures we promise and prints them with their goals.
///
/// Exit codes: 0 measured, whether or not the goals are met; 2 bad usage; 1 anything else.
#[derive(Debug, Parser)]
#[command(name = "figures")]
struct Cli {
    /// Measure only these; without any, all of them.
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(BENCHMARKS.iter().map(|one| one.name)))]
    names: Vec<String>,
    /// Print the names of the benchmarks, one a line, each with what it measures.
    #[arg(long)]
    list: bool,
    /// Print an array of objects with the keys `name`, `value`, `unit`, `goal` and `met`.
    #[arg(long)]
    json: bool,
    /// Ask these questions, JSON Lines with a field `query`, instead of those of FIGURES_QUESTIONS or the held-out
    /// rows.
    #[arg(long, value_name = "FILE")]
    questions: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let mut out = io::stdout().lock();
    if cli.list {
        let width = BENCHMARKS.iter().map(|one| one.name.len()).max().unwrap_or(0);
        for one in BENCHMARKS {
            writeln!(out, "{:width$}  {}", one.name, one.description)?;
        }
        return Ok(());
    }
    let questions = Questions::load(cli.questions.as_deref())?;
    let figures = measure(&cli.names, &questions, |doing| {
        // OK to ignore: the figures do not depend on whether anybody hears what is being measured.
        let _ = writeln!(io::stderr(), "{doing} …");
    })?;
    if cli.json {
        serde_json::to_writer_pretty(&mut out, &figures)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", table(&figures))?;
    }
    Ok(())
}
