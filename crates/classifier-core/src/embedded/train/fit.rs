//! Fits a multinomial logistic regression by L-BFGS.
//!
//! Minimised is the mean cross-entropy of n rows plus `l2 / 2n · |w|²`: convex and smooth, so the two-loop recursion with a
//! backtracking line search converges from zero (Nocedal and Wright, *Numerical Optimization*, algorithms 7.4 and 3.1).

use std::collections::VecDeque;

use super::super::features::{Block, Features};
use super::super::model::{self, RawWeights};
use super::TrainOptions;

/// How many steps the optimiser remembers.
const MEMORY: usize = 10;
/// Stop when the gradient is this much shorter than at the start.
const TOLERANCE: f64 = 1e-4;
/// A step must win this share of what the slope promises (the Armijo condition).
const SUFFICIENT_DECREASE: f64 = 1e-4;

/// Rows as sparse features, the columns in the order of a model's weight rows.
#[derive(Debug)]
pub(super) struct Examples {
    n_columns: usize,
    n_dense: usize,
    pub(super) n_outputs: usize,
    /// The index of each row's label.
    pub(super) targets: Vec<usize>,
    starts: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl Examples {
    pub(super) fn new(n_dense: usize, n_outputs: usize, targets: Vec<usize>) -> Self {
        Self {
            n_columns: model::n_rows(n_dense),
            n_dense,
            n_outputs,
            targets,
            starts: vec![0],
            columns: Vec::new(),
            values: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, features: &Features) {
        for &(column, value) in &features.dense {
            self.columns.push(column);
            self.values.push(value);
        }
        for block in Block::ALL {
            let value = features.bucket_value(block);
            for &bucket in &features.buckets[block as usize] {
                self.columns.push(model::bucket_row(self.n_dense, block, bucket) as u32);
                self.values.push(value);
            }
        }
        self.starts.push(self.columns.len());
    }

    pub(super) fn len(&self) -> usize {
        self.targets.len()
    }

    fn row(&self, row: usize) -> impl Iterator<Item = (usize, f64)> {
        let range = self.starts[row]..self.starts[row + 1];
        let columns = self.columns[range.clone()].iter().map(|&column| column as usize);
        columns.zip(self.values[range].iter().map(|&value| f64::from(value)))
    }

    /// The logits of one row.
    pub(super) fn logits(&self, row: usize, weights: &[f64], logits: &mut [f64]) {
        logits.fill(0.0);
        let n = self.n_outputs;
        for (column, value) in self.row(row) {
            for (logit, weight) in logits.iter_mut().zip(&weights[column * n..][..n]) {
                *logit += value * weight;
            }
        }
    }
}

/// Fits the weights to the rows numbered by `rows`.
pub(super) fn fit(examples: &Examples, rows: &[usize], options: &TrainOptions) -> RawWeights {
    // Columns that no row has keep the weight zero; leaving them out makes the vectors short.
    let compact = Compact::new(examples, rows);
    let mut weights = vec![0.0; compact.n_columns * examples.n_outputs];
    minimise(&mut weights, options.max_iterations, |weights, gradient| {
        compact.loss(weights, gradient, options.l2 / rows.len() as f64)
    });
    compact.expand(&weights)
}

/// The rows of a fit with their columns numbered without gaps.
struct Compact<'a> {
    examples: &'a Examples,
    rows: &'a [usize],
    n_columns: usize,
    /// Per column of the examples: its number here.
    number: Vec<u32>,
    /// Per column here: what its values are multiplied with during the fit, and its weight afterwards.
    rarity: Vec<f64>,
}

impl<'a> Compact<'a> {
    fn new(examples: &'a Examples, rows: &'a [usize]) -> Self {
        let mut number = vec![u32::MAX; examples.n_columns];
        let mut n_columns = 0;
        for &row in rows {
            for (column, _) in examples.row(row) {
                if number[column] == u32::MAX {
                    number[column] = n_columns;
                    n_columns += 1;
                }
            }
        }
        let rarity = rarity(examples, rows, &number, n_columns as usize);
        Self { examples, rows, n_columns: n_columns as usize, number, rarity }
    }

    /// The mean loss and, into `gradient`, its gradient.
    fn loss(&self, weights: &[f64], gradient: &mut [f64], l2: f64) -> f64 {
        let n = self.examples.n_outputs;
        let share = 1.0 / self.rows.len() as f64;
        let mut loss = 0.0;
        for (slope, weight) in gradient.iter_mut().zip(weights) {
            *slope = l2 * weight;
            loss += 0.5 * l2 * weight * weight;
        }
        let mut outputs = vec![0.0; n];
        for &row in self.rows {
            outputs.fill(0.0);
            for (column, value) in self.examples.row(row) {
                let number = self.number[column] as usize;
                let value = value * self.rarity[number];
                for (output, weight) in outputs.iter_mut().zip(&weights[number * n..][..n]) {
                    *output += value * weight;
                }
            }
            model::softmax(&mut outputs, 1.0);
            let target = self.examples.targets[row];
            loss -= share * libm::log(outputs[target].max(f64::MIN_POSITIVE));
            outputs[target] -= 1.0;
            for (column, value) in self.examples.row(row) {
                let number = self.number[column] as usize;
                let value = share * value * self.rarity[number];
                for (slope, output) in gradient[number * n..][..n].iter_mut().zip(&outputs) {
                    *slope += value * output;
                }
            }
        }
        loss
    }

    fn expand(&self, weights: &[f64]) -> RawWeights {
        let n = self.examples.n_outputs;
        let mut rows = vec![0.0; self.examples.n_columns * n];
        for (column, &number) in self.number.iter().enumerate() {
            if number != u32::MAX {
                let number = number as usize;
                for (row, weight) in rows[column * n..][..n].iter_mut().zip(&weights[number * n..][..n]) {
                    *row = weight * self.rarity[number];
                }
            }
        }
        RawWeights { n_outputs: n, rows }
    }
}

/// The square root of the inverse document frequency, which lets rare n-grams speak up against common ones; it costs
/// nothing afterwards, since it goes into the weight. Dense features are left as they are.
fn rarity(examples: &Examples, rows: &[usize], number: &[u32], n_columns: usize) -> Vec<f64> {
    let mut n_rows_with = vec![0.0_f64; n_columns];
    for &row in rows {
        for (column, _) in examples.row(row) {
            n_rows_with[number[column] as usize] += 1.0;
        }
    }
    let n_rows = rows.len() as f64;
    let mut rarity: Vec<f64> =
        n_rows_with.iter().map(|n| (libm::log(1.0 + n_rows / n) / 5.0).sqrt()).collect();
    for &number in number[..examples.n_dense].iter().filter(|&&number| number != u32::MAX) {
        rarity[number as usize] = 1.0;
    }
    rarity
}

/// One remembered step: the move, the change of the gradient, and 1 over their product.
struct Step {
    moved: Vec<f64>,
    turned: Vec<f64>,
    rho: f64,
}

/// Moves `x` to a minimum of a convex function that returns its value and writes its gradient.
fn minimise(x: &mut [f64], max_iterations: usize, mut function: impl FnMut(&[f64], &mut [f64]) -> f64) {
    let mut gradient = vec![0.0; x.len()];
    let mut value = function(x, &mut gradient);
    let enough = TOLERANCE * dot(&gradient, &gradient).sqrt();
    let mut steps: VecDeque<Step> = VecDeque::with_capacity(MEMORY);
    let mut next = vec![0.0; x.len()];
    let mut next_gradient = vec![0.0; x.len()];
    for _ in 0..max_iterations {
        let mut direction = direction(&gradient, &steps);
        let mut slope = dot(&direction, &gradient);
        if slope >= 0.0 {
            steps.clear();
            direction = gradient.iter().map(|g| -g).collect();
            slope = -dot(&gradient, &gradient);
        }
        let mut length = if steps.is_empty() { 1.0 / (-slope).sqrt().max(1e-12) } else { 1.0 };
        let next_value = loop {
            for ((next, x), d) in next.iter_mut().zip(&*x).zip(&direction) {
                *next = x + length * d;
            }
            let next_value = function(&next, &mut next_gradient);
            if next_value <= value + SUFFICIENT_DECREASE * length * slope {
                break next_value;
            }
            length *= 0.5;
            if length < 1e-10 {
                return;
            }
        };
        let moved: Vec<f64> = next.iter().zip(&*x).map(|(next, x)| next - x).collect();
        let turned: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(next, g)| next - g).collect();
        let product = dot(&moved, &turned);
        if product > 1e-14 {
            if steps.len() == MEMORY {
                steps.pop_front();
            }
            steps.push_back(Step { moved, turned, rho: 1.0 / product });
        }
        x.copy_from_slice(&next);
        std::mem::swap(&mut gradient, &mut next_gradient);
        value = next_value;
        if dot(&gradient, &gradient).sqrt() <= enough {
            return;
        }
    }
}

/// Minus the gradient, bent by the remembered steps (the two-loop recursion).
fn direction(gradient: &[f64], steps: &VecDeque<Step>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut alphas = Vec::with_capacity(steps.len());
    for step in steps.iter().rev() {
        let alpha = step.rho * dot(&step.moved, &direction);
        add(&mut direction, -alpha, &step.turned);
        alphas.push(alpha);
    }
    if let Some(last) = steps.back() {
        let scale = 1.0 / (last.rho * dot(&last.turned, &last.turned));
        direction.iter_mut().for_each(|d| *d *= scale);
    }
    for (step, alpha) in steps.iter().zip(alphas.iter().rev()) {
        let beta = step.rho * dot(&step.turned, &direction);
        add(&mut direction, alpha - beta, &step.moved);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Four running sums in a fixed order: as fast as the machine can, and the same on every machine.
    let mut sums = [0.0; 4];
    let (a4, b4) = (a.chunks_exact(4), b.chunks_exact(4));
    let rest: f64 = a4.remainder().iter().zip(b4.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a4.zip(b4) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

fn add(to: &mut [f64], times: f64, what: &[f64]) {
    for (to, what) in to.iter_mut().zip(what) {
        *to += times * what;
    }
}

#[cfg(test)]
mod tests {
    use super::minimise;

    #[test]
    fn finds_the_minimum_of_a_badly_scaled_quadratic() {
        let scale = [1.0, 100.0, 0.01, 7.0, 3.0];
        let at = [3.0, -2.0, 40.0, 0.5, 0.0];
        let mut x = vec![0.0; 5];
        minimise(&mut x, 200, |x, gradient| {
            (0..5)
                .map(|i| {
                    gradient[i] = scale[i] * (x[i] - at[i]);
                    0.5 * scale[i] * (x[i] - at[i]).powi(2)
                })
                .sum()
        });
        for (x, at) in x.iter().zip(at) {
            assert!((x - at).abs() < 0.05, "{x} is not {at}");
        }
    }
}
