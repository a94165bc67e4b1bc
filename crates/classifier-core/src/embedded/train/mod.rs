//! Trains an embedded model from labelled rows; the same rows give the same bytes on any machine.
//!
//! Weights are fitted by L-BFGS ([`fit`]); the temperature comes from predictions on rows that grouped
//! cross-validation held out ([`folds`]). All arithmetic is IEEE addition, multiplication, division and square root in
//! a fixed order, and `exp`/`ln` in software (libm), so no machine's mathematics library has a say.

mod fit;
mod folds;

use serde::Serialize;

use self::fit::{Examples, fit};
use super::analysis::{Analysis, Analyzer};
use super::features::{self, Features};
use super::model::Model;
use crate::dataset::Row;
use crate::error::{Error, ErrorKind, Result};
use crate::evaluation::{Evaluation, Prediction};
use crate::taxonomy::Taxonomy;

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// Years from this one on count as recent, as they will when the model is used. Default: 2024.
    pub recent_from_year: u16,
    /// Strength of the L2 penalty against the summed loss of the rows, so that few rows are trusted less than many;
    /// larger is smoother. Default: 0.015, the best by cross-validation of 0.015, 0.05 and 0.1, by little.
    pub l2: f64,
    /// Parts of the grouped cross-validation that calibrates and measures; 0 leaves it out. Default: 5.
    pub n_folds: usize,
    /// Passes of the optimiser at the most. Default: 150.
    pub max_iterations: usize,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self { recent_from_year: 2024, l2: 0.015, n_folds: 5, max_iterations: 150 }
    }
}

/// A trained model and what is known of it.
#[derive(Debug)]
pub struct Trained {
    /// The model file's bytes, for [`EmbeddedClassifier::from_bytes`](super::EmbeddedClassifier::from_bytes).
    pub bytes: Vec<u8>,
    /// How it was made and how it did on rows held out.
    pub report: TrainReport,
}

/// How a model was made and how it did on rows held out.
#[derive(Debug, Clone, Serialize)]
pub struct TrainReport {
    /// Rows given.
    pub n_rows: usize,
    /// Groups they belong to; a group is never on both sides of a split.
    pub n_groups: usize,
    /// Rows per label, in the taxonomy's order.
    pub labels: Vec<(String, usize)>,
    /// Parts of the cross-validation; 0 when there were too few groups for one.
    pub n_folds: usize,
    /// What logits are divided by.
    pub temperature: f64,
    /// Length of the model file in bytes.
    pub n_bytes: usize,
    /// The cross-validation's result after calibration, every row predicted by a model that had not seen its group.
    pub cross_validation: Option<Evaluation>,
}

/// Trains a model for `taxonomy` from labelled `rows`.
///
/// # Errors
/// [`InvalidData`](ErrorKind::InvalidData) when a label is not in the taxonomy or a category has no row.
pub fn train(taxonomy: &Taxonomy, rows: &[Row], options: &TrainOptions) -> Result<Trained> {
    let analyzer = Analyzer::new(taxonomy)?;
    let labels: Vec<&str> = taxonomy.labels().collect();
    let targets = targets(rows, &labels, taxonomy.categories().len())?;
    let examples = examples(
        &analyzer,
        features::n_dense(taxonomy),
        rows,
        targets,
        labels.len(),
        options.recent_from_year,
    );
    let fold_of = folds::assign(rows, options.n_folds);
    let n_folds = fold_of.as_ref().map_or(0, |_| options.n_folds);
    let held_out = fold_of.map(|fold_of| folds::predict(&examples, &fold_of, n_folds, options));
    let temperature = held_out.as_ref().map_or(1.0, |logits| folds::temperature(logits, &examples.targets));
    let all: Vec<usize> = (0..examples.len()).collect();
    let weights = fit(&examples, &all, options);
    let bytes = Model::encode(taxonomy, &weights, temperature, rows.len(), &rows_digest(rows))?;
    let cross_validation =
        held_out.map(|logits| evaluate(taxonomy, rows, &logits, temperature)).transpose()?;
    let report = TrainReport {
        n_rows: rows.len(),
        n_groups: folds::n_groups(rows),
        labels: labels
            .iter()
            .enumerate()
            .map(|(at, label)| ((*label).to_owned(), examples.targets.iter().filter(|&&t| t == at).count()))
            .collect(),
        n_folds,
        temperature,
        n_bytes: bytes.len(),
        cross_validation,
    };
    Ok(Trained { bytes, report })
}

fn targets(rows: &[Row], labels: &[&str], n_categories: usize) -> Result<Vec<usize>> {
    let error = |message: String| Err(Error::new(ErrorKind::InvalidData, message));
    let mut targets = Vec::with_capacity(rows.len());
    for row in rows {
        match labels.iter().position(|label| *label == row.label) {
            Some(index) => targets.push(index),
            None => {
                let hint = crate::error::suggestion(&row.label, labels.iter().copied());
                return error(format!(
                    "{}: the label `{}` is not in the taxonomy{hint}",
                    row.place, row.label
                ));
            }
        }
    }
    match (0..n_categories).find(|category| !targets.contains(category)) {
        Some(missing) => {
            error(format!("no row has the label `{}`; give every category some rows", labels[missing]))
        }
        None => Ok(targets),
    }
}

fn examples(
    analyzer: &Analyzer,
    n_dense: usize,
    rows: &[Row],
    targets: Vec<usize>,
    n_outputs: usize,
    recent_from: u16,
) -> Examples {
    let mut analysis = Analysis::default();
    let mut features = Features::default();
    let mut examples = Examples::new(n_dense, n_outputs, targets);
    for row in rows {
        analyzer.analyze(&row.query, recent_from, &mut analysis);
        features::extract(analyzer, &analysis, &mut features);
        examples.push(&features);
    }
    examples
}

fn rows_digest(rows: &[Row]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for row in rows {
        for part in [&row.query, &row.label, &row.group] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
    }
    let mut digest = [0; 16];
    hasher.finalize_xof().fill(&mut digest);
    digest
}

fn evaluate(taxonomy: &Taxonomy, rows: &[Row], logits: &[Vec<f64>], temperature: f64) -> Result<Evaluation> {
    let predictions: Vec<Prediction> = rows
        .iter()
        .zip(logits)
        .map(|(row, logits)| {
            let mut outputs = logits.clone();
            super::model::softmax(&mut outputs, temperature);
            Prediction::new(
                taxonomy,
                &row.label,
                super::classifier::category_probabilities(taxonomy, &outputs),
            )
        })
        .collect();
    Evaluation::of(taxonomy, &predictions)
}
