//! `hp-classify train`: a taxonomy and labelled rows in, a model file and a report out.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use classifier_core::dataset::read_path;
use classifier_core::{Config, Taxonomy, TrainOptions, TrainReport, train};

use crate::cli::TrainArgs;
use crate::terminal::{self, BOLD};

pub(crate) fn run(args: &TrainArgs, config: &Config, json: bool) -> anyhow::Result<()> {
    let taxonomy = match &config.taxonomy {
        Some(path) => Taxonomy::load(path)?,
        None => Taxonomy::clinical_metabolomics(),
    };
    let mut rows = Vec::new();
    for path in &args.data {
        rows.extend(read_path(path)?);
    }
    writeln!(terminal::stderr(), "training on {} rows; a few milliseconds each", rows.len())?;
    let mut options = TrainOptions::default();
    if let Some(year) = config.embedded.recent_from_year {
        options.recent_from_year = year;
    }
    let trained = train(&taxonomy, &rows, &options)?;
    replace(&args.out, &trained.bytes)?;
    if let Some(path) = &args.report {
        let mut report = serde_json::to_vec_pretty(&trained.report)?;
        report.push(b'\n');
        replace(path, &report)?;
    }
    if json {
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, &trained.report).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    write_report(&trained.report, &taxonomy)?;
    writeln!(
        terminal::stdout(),
        "\nwrote {}; use it with `hp-classify classify --model {} …`",
        args.out.display(),
        args.out.display()
    )?;
    Ok(())
}

/// Writes a file so that at any moment there is the old one or the new one, never half of one.
fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    fs::write(&part, bytes)
        .and_then(|()| fs::rename(&part, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn write_report(report: &TrainReport, taxonomy: &Taxonomy) -> anyhow::Result<()> {
    let mut out = terminal::stdout();
    let labels: Vec<_> = report.labels.iter().map(|(label, n)| format!("{label} {n}")).collect();
    writeln!(
        out,
        "{BOLD}{} rows in {} groups{BOLD:#}: {}",
        report.n_rows,
        report.n_groups,
        labels.join(", ")
    )?;
    writeln!(out, "{} bytes, temperature {:.3}", report.n_bytes, report.temperature)?;
    match &report.cross_validation {
        Some(evaluation) => {
            writeln!(out, "\ncross-validated in {} parts, no group on both sides:", report.n_folds)?;
            drop(out);
            let labels: Vec<&str> =
                taxonomy.categories().iter().map(|category| category.id.as_str()).collect();
            super::eval::write_table(evaluation, &labels)
        }
        None => {
            writeln!(
                out,
                "too few groups for cross-validation: nothing is known of its accuracy, confidences are raw"
            )?;
            Ok(())
        }
    }
}
