//! `hp-classify eval`: measures the classifier on labelled rows.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};

use anyhow::Context as _;
use classifier_core::EmbeddedClassifier;
use classifier_core::dataset::{Row, read_rows};
use classifier_core::evaluation::{Evaluation, Prediction};
use serde_json::{Value, json};

use crate::UsageError;
use crate::cli::EvalArgs;
use crate::terminal::{self, BOLD, DIM};

pub(crate) fn run(args: &EvalArgs, classifier: &EmbeddedClassifier, json: bool) -> anyhow::Result<()> {
    let name = args.file.display().to_string();
    let file = File::open(&args.file)
        .map_err(|error| UsageError(format!("cannot open {name}: {error}; name a file of labelled rows")))?;
    let mut rows = read_rows(&name, BufReader::new(file))?;
    for (field, value) in &args.filter {
        rows.retain(|row| holds(row, field, value));
    }
    if rows.is_empty() {
        return Err(UsageError(format!("no row of {name} is left to measure on")).into());
    }
    let taxonomy = classifier.taxonomy();
    let predictions: Vec<Prediction> = rows
        .iter()
        .map(|row| Prediction::new(taxonomy, &row.label, classifier.probabilities(&row.query)))
        .collect();
    if let Some(path) = &args.predictions {
        write_predictions(path, &rows, classifier)
            .with_context(|| format!("cannot write the predictions to {}", path.display()))?;
    }
    let evaluation = Evaluation::of(taxonomy, &predictions)?;
    if json {
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, &evaluation).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    let labels: Vec<&str> = taxonomy.categories().iter().map(|category| category.id.as_str()).collect();
    write_table(&evaluation, &labels)
}

/// Whether a field of a row has a value, which may be written as JSON or as plain text.
fn holds(row: &Row, field: &str, value: &str) -> bool {
    let found = match field {
        "label" => Value::from(row.label.as_str()),
        "query" => Value::from(row.query.as_str()),
        "group" => Value::from(row.group.as_str()),
        _ => row.extra.get(field).cloned().unwrap_or(Value::Null),
    };
    found.as_str() == Some(value) || serde_json::from_str::<Value>(value).is_ok_and(|value| value == found)
}

fn write_predictions(
    path: &std::path::Path,
    rows: &[Row],
    classifier: &EmbeddedClassifier,
) -> anyhow::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for row in rows {
        let answer = classifier.classify(&row.query);
        let line = json!({
            "query": row.query,
            "label": row.label,
            "predicted": answer.category,
            "confidence": answer.confidence,
            "alternative_categories": answer.alternative_categories,
            "hybrid": answer.hybrid,
            "right": answer.category.as_str() == row.label,
        });
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(())
}

/// Writes an evaluation for people.
pub(crate) fn write_table(evaluation: &Evaluation, labels: &[&str]) -> anyhow::Result<()> {
    let mut out = terminal::stdout();
    let width = labels.iter().map(|label| label.len()).max().unwrap_or(0).max(10);
    let interval = |[low, high]: [f64; 2]| format!("[{low:.3}, {high:.3}]");
    writeln!(out, "{BOLD}{} rows with one category{BOLD:#}", evaluation.n)?;
    let ci = &evaluation.ci95;
    writeln!(out, "  accuracy           {:.4}  95 % {}", evaluation.accuracy, interval(ci.accuracy))?;
    writeln!(out, "  macro F1           {:.4}  95 % {}", evaluation.macro_f1, interval(ci.macro_f1))?;
    writeln!(out, "  calibration error  {:.4}  95 % {}", evaluation.ece, interval(ci.ece))?;
    let mut coverage: Vec<_> = evaluation.coverage.iter().collect();
    coverage.sort_by_key(|(percent, _)| percent.parse::<u32>().unwrap_or(0));
    let coverage: Vec<_> =
        coverage.iter().map(|(percent, accuracy)| format!("{percent} %: {accuracy:.4}")).collect();
    writeln!(out, "  on the surest      {}", coverage.join("   "))?;
    writeln!(out, "\n  {DIM}{:<width$}  precision  recall  F1      rows{DIM:#}", "category")?;
    for label in labels {
        if let Some(score) = evaluation.per_class.get(*label) {
            writeln!(
                out,
                "  {label:<width$}  {:.4}     {:.4}  {:.4}  {:>4}",
                score.precision, score.recall, score.f1, score.support
            )?;
        }
    }
    writeln!(out, "\n  {DIM}{:<width$}  predicted: {}{DIM:#}", "labelled", labels.join("  "))?;
    for label in labels {
        if let Some(row) = evaluation.confusion.get(*label) {
            let cells: Vec<_> = labels
                .iter()
                .map(|other| format!("{:>w$}", row.get(*other).copied().unwrap_or(0), w = other.len()))
                .collect();
            writeln!(out, "  {label:<width$}             {}", cells.join("  "))?;
        }
    }
    let hybrid = &evaluation.hybrid;
    writeln!(
        out,
        "\n  hybrid: {} rows ask for two categories; the second has 0.2 or more on {:.1} % of them, and on {:.1} % of the \
         rows that ask for one",
        hybrid.n,
        100.0 * hybrid.second_strong,
        100.0 * hybrid.second_strong_among_single
    )?;
    for (label, n) in &evaluation.outside {
        writeln!(out, "  outside the taxonomy: {n} rows labelled {label:?}, not scored")?;
    }
    Ok(())
}
