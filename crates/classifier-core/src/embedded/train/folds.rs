//! Grouped cross-validation: every row predicted by a model that has not seen its group.

use std::collections::BTreeSet;

use super::TrainOptions;
use super::fit::{Examples, fit};
use crate::dataset::Row;
use crate::embedded::model::softmax;

/// With fewer groups a part the numbers would say nothing.
const MIN_GROUPS_PER_FOLD: usize = 10;

/// How many groups the rows belong to.
pub(super) fn n_groups(rows: &[Row]) -> usize {
    rows.iter().map(|row| &row.group).collect::<BTreeSet<_>>().len()
}

/// The part of each row; `None` when there are too few groups to split.
pub(super) fn assign(rows: &[Row], n_folds: usize) -> Option<Vec<usize>> {
    if n_folds < 2 || n_groups(rows) < n_folds * MIN_GROUPS_PER_FOLD {
        return None;
    }
    let fold = |row: &Row| {
        let hash = blake3::hash(row.group.as_bytes());
        (u64::from_le_bytes(*hash.as_bytes().first_chunk().unwrap_or(&[0; 8])) % n_folds as u64) as usize
    };
    Some(rows.iter().map(fold).collect())
}

/// The logits of every row from the model that did not see its part. The parts are fitted side by side; each is a
/// computation of its own, so the result does not depend on how many run at once.
pub(super) fn predict(
    examples: &Examples,
    fold_of: &[usize],
    n_folds: usize,
    options: &TrainOptions,
) -> Vec<Vec<f64>> {
    let weights: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..n_folds)
            .map(|fold| {
                let rows: Vec<usize> = (0..examples.len()).filter(|&row| fold_of[row] != fold).collect();
                scope.spawn(move || fit(examples, &rows, options))
            })
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    (0..examples.len())
        .map(|row| {
            let mut logits = vec![0.0; examples.n_outputs];
            examples.logits(row, &weights[fold_of[row]].rows, &mut logits);
            logits
        })
        .collect()
}

/// The temperature under which the held-out labels are likeliest, by golden-section search in `ln T` (Guo et al. 2017).
pub(super) fn temperature(logits: &[Vec<f64>], targets: &[usize]) -> f64 {
    let loss = |ln_temperature: f64| {
        let temperature = libm::exp(ln_temperature);
        let mut loss = 0.0;
        for (logits, &target) in logits.iter().zip(targets) {
            let mut outputs = logits.clone();
            softmax(&mut outputs, temperature);
            loss -= libm::log(outputs[target].max(f64::MIN_POSITIVE));
        }
        loss
    };
    let ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (libm::log(0.1), libm::log(10.0));
    for _ in 0..40 {
        let (a, b) = (high - ratio * (high - low), low + ratio * (high - low));
        if loss(a) < loss(b) { high = b } else { low = a }
    }
    libm::exp((low + high) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::temperature;

    #[test]
    fn overconfident_logits_are_cooled() {
        // Three of four are right, yet the logits claim near certainty.
        let logits: Vec<Vec<f64>> = (0..400).map(|_| vec![8.0, 0.0]).collect();
        let targets: Vec<usize> = (0..400).map(|row| usize::from(row % 4 == 0)).collect();
        let t = temperature(&logits, &targets);
        let confidence = 1.0 / (1.0 + (-8.0 / t).exp());
        assert!((confidence - 0.75).abs() < 0.01, "{confidence}");
    }
}
