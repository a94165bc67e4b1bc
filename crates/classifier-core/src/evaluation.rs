//! Measures predictions against labels: accuracy and what hides behind it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::taxonomy::Taxonomy;

/// Bins of equal width in the calibration error.
const N_BINS: usize = 10;
/// Resamples of the bootstrap.
const N_RESAMPLES: usize = 1000;
/// Shares of the surest rows whose accuracy is reported, in percent.
const COVERAGES: [usize; 4] = [80, 85, 90, 100];
/// A hybrid question counts as seen when its second category has this probability.
const SECOND_STRONG: f64 = 0.2;

/// A labelled question and what a classifier said.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    label: Label,
    /// Probability of each category, in the taxonomy's order.
    probabilities: Vec<f64>,
}

#[derive(Debug, Clone, PartialEq)]
enum Label {
    Category(usize),
    /// The index of the hybrid.
    Hybrid(usize),
    Outside(String),
}

impl Prediction {
    /// Pairs a row's label with the probabilities of the taxonomy's categories.
    #[must_use]
    pub fn new(taxonomy: &Taxonomy, label: &str, probabilities: Vec<f64>) -> Self {
        let label = match (taxonomy.index_of(label), taxonomy.hybrids().iter().position(|h| h.label == label))
        {
            (Some(category), _) => Label::Category(category),
            (None, Some(hybrid)) => Label::Hybrid(hybrid),
            (None, None) => Label::Outside(label.to_owned()),
        };
        Self { label, probabilities }
    }

    fn best(&self) -> usize {
        let mut best = 0;
        for (index, probability) in self.probabilities.iter().enumerate() {
            if *probability > self.probabilities[best] {
                best = index;
            }
        }
        best
    }

    fn confidence(&self) -> f64 {
        self.probabilities[self.best()]
    }

    fn second(&self) -> f64 {
        let best = self.best();
        let others = self.probabilities.iter().enumerate().filter(|(index, _)| *index != best);
        others.map(|(_, probability)| *probability).fold(0.0, f64::max)
    }
}

/// How good a classifier is on labelled rows.
///
/// All but [`hybrid`](Self::hybrid) and [`outside`](Self::outside) speak of the rows that have one category.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Rows with one category.
    pub n: usize,
    /// Share whose most probable category is the label.
    pub accuracy: f64,
    /// Mean of the categories' F1 scores; categories with neither row nor prediction are left out.
    pub macro_f1: f64,
    /// Expected calibration error: the mean distance between confidence and accuracy over ten bins of equal width.
    pub ece: f64,
    /// Precision, recall and F1 of each category.
    pub per_class: BTreeMap<String, ClassScore>,
    /// Rows by label, then by predicted category.
    pub confusion: BTreeMap<String, BTreeMap<String, usize>>,
    /// Accuracy on the surest 80, 85, 90 and 100 % of the rows.
    pub coverage: BTreeMap<String, f64>,
    /// 95 % intervals (percentile bootstrap over rows, 1,000 resamples, fixed seed).
    pub ci95: Intervals,
    /// Rows that ask for two categories at once.
    pub hybrid: HybridScore,
    /// Rows whose label is not in the taxonomy, by label.
    pub outside: BTreeMap<String, usize>,
}

/// How good a classifier is on one category.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ClassScore {
    /// Of the rows predicted so, the share labelled so; 0 when none is predicted so.
    pub precision: f64,
    /// Of the rows labelled so, the share predicted so; 0 when none is labelled so.
    pub recall: f64,
    /// The harmonic mean of the two.
    pub f1: f64,
    /// Rows labelled so.
    pub support: usize,
}

/// 95 % intervals, lower and upper end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Intervals {
    /// Of the accuracy.
    pub accuracy: [f64; 2],
    /// Of the macro-averaged F1.
    pub macro_f1: [f64; 2],
    /// Of the calibration error.
    pub ece: [f64; 2],
}

/// How well questions that ask for two categories are told from those that ask for one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HybridScore {
    /// Rows labelled as hybrid.
    pub n: usize,
    /// Share of them whose second category has a probability of at least 0.2.
    pub second_strong: f64,
    /// Share of them whose two most probable categories are the two asked for.
    pub both_first: f64,
    /// Share of the rows with one category whose second has a probability of at least 0.2.
    pub second_strong_among_single: f64,
}

impl Evaluation {
    /// Measures `predictions`.
    ///
    /// # Errors
    /// [`InvalidData`](ErrorKind::InvalidData) when no row has a label of the taxonomy.
    pub fn of(taxonomy: &Taxonomy, predictions: &[Prediction]) -> Result<Self> {
        let names: Vec<&str> = taxonomy.categories().iter().map(|category| category.id.as_str()).collect();
        let single: Vec<Scored> = predictions.iter().filter_map(Scored::of).collect();
        let mut outside = BTreeMap::new();
        for prediction in predictions {
            if let Label::Outside(label) = &prediction.label {
                *outside.entry(label.clone()).or_insert(0) += 1;
            }
        }
        let hybrid = hybrid_score(taxonomy, predictions);
        if single.is_empty() && hybrid.n == 0 {
            return Err(Error::new(
                ErrorKind::InvalidData,
                format!("no row has one of the labels {}", names.join(", ")),
            ));
        }
        let matrix = confusion(names.len(), &single);
        let scores = class_scores(&matrix);
        let mut confusion = BTreeMap::new();
        for (label, row) in names.iter().zip(&matrix) {
            let row = names.iter().zip(row).map(|(predicted, n)| ((*predicted).to_owned(), *n)).collect();
            confusion.insert((*label).to_owned(), row);
        }
        Ok(Self {
            n: single.len(),
            accuracy: accuracy(&single),
            macro_f1: macro_f1(&scores),
            ece: calibration_error(&single),
            per_class: names.iter().map(|name| (*name).to_owned()).zip(scores).collect(),
            confusion,
            coverage: coverage(&single),
            ci95: intervals(names.len(), &single),
            hybrid,
            outside,
        })
    }
}

/// A row with one category, reduced to what scores need.
#[derive(Debug, Clone, Copy)]
struct Scored {
    label: usize,
    predicted: usize,
    confidence: f64,
}

impl Scored {
    fn of(prediction: &Prediction) -> Option<Self> {
        let Label::Category(label) = prediction.label else { return None };
        Some(Self { label, predicted: prediction.best(), confidence: prediction.confidence() })
    }

    fn right(&self) -> bool {
        self.label == self.predicted
    }
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn accuracy(rows: &[Scored]) -> f64 {
    share(rows.iter().filter(|row| row.right()).count(), rows.len())
}

fn confusion(n_classes: usize, rows: &[Scored]) -> Vec<Vec<usize>> {
    let mut matrix = vec![vec![0; n_classes]; n_classes];
    for row in rows {
        matrix[row.label][row.predicted] += 1;
    }
    matrix
}

fn class_scores(matrix: &[Vec<usize>]) -> Vec<ClassScore> {
    let score = |class: usize| {
        let right = matrix[class][class];
        let support = matrix[class].iter().sum();
        let precision = share(right, matrix.iter().map(|row| row[class]).sum());
        let recall = share(right, support);
        let f1 = if right == 0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) };
        ClassScore { precision, recall, f1, support }
    };
    (0..matrix.len()).map(score).collect()
}

fn macro_f1(scores: &[ClassScore]) -> f64 {
    let met = scores.iter().filter(|score| score.support > 0 || score.precision > 0.0);
    let (sum, n) = met.fold((0.0, 0), |(sum, n), score| (sum + score.f1, n + 1));
    if n == 0 { 0.0 } else { sum / f64::from(n) }
}

fn calibration_error(rows: &[Scored]) -> f64 {
    let mut bins = [(0_usize, 0.0, 0_usize); N_BINS];
    for row in rows {
        let bin = &mut bins[((row.confidence * N_BINS as f64) as usize).min(N_BINS - 1)];
        bin.0 += 1;
        bin.1 += row.confidence;
        bin.2 += usize::from(row.right());
    }
    let distance: f64 = bins.iter().map(|(_, confidence, right)| (confidence - *right as f64).abs()).sum();
    if rows.is_empty() { 0.0 } else { distance / rows.len() as f64 }
}

fn coverage(rows: &[Scored]) -> BTreeMap<String, f64> {
    let mut surest = rows.to_vec();
    surest.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    let at = |percent: usize| accuracy(&surest[..(rows.len() * percent).div_ceil(100)]);
    COVERAGES.into_iter().map(|percent| (percent.to_string(), at(percent))).collect()
}

fn hybrid_score(taxonomy: &Taxonomy, predictions: &[Prediction]) -> HybridScore {
    let strong = |prediction: &Prediction| prediction.second() >= SECOND_STRONG;
    let (mut n, mut second_strong, mut both_first, mut n_single, mut strong_single) = (0, 0, 0, 0, 0);
    for prediction in predictions {
        match prediction.label {
            Label::Hybrid(index) => {
                let [a, b] = taxonomy.hybrids()[index].categories;
                let others =
                    prediction.probabilities.iter().enumerate().filter(|(at, _)| *at != a && *at != b);
                let weaker = prediction.probabilities[a].min(prediction.probabilities[b]);
                n += 1;
                second_strong += usize::from(strong(prediction));
                both_first += usize::from(others.into_iter().all(|(_, other)| *other < weaker));
            }
            Label::Category(_) => {
                n_single += 1;
                strong_single += usize::from(strong(prediction));
            }
            Label::Outside(_) => {}
        }
    }
    HybridScore {
        n,
        second_strong: share(second_strong, n),
        both_first: share(both_first, n),
        second_strong_among_single: share(strong_single, n_single),
    }
}

fn intervals(n_classes: usize, rows: &[Scored]) -> Intervals {
    let mut state = 0x5eed_u64;
    let mut samples: [Vec<f64>; 3] = Default::default();
    let mut sample = Vec::with_capacity(rows.len());
    for _ in 0..if rows.is_empty() { 0 } else { N_RESAMPLES } {
        sample.clear();
        for _ in rows {
            sample.push(rows[(next_random(&mut state) % rows.len() as u64) as usize]);
        }
        samples[0].push(accuracy(&sample));
        samples[1].push(macro_f1(&class_scores(&confusion(n_classes, &sample))));
        samples[2].push(calibration_error(&sample));
    }
    let [accuracy, macro_f1, ece] = samples.map(|mut values| {
        values.sort_by(f64::total_cmp);
        let at =
            |q: f64| values.get((q * (values.len() as f64 - 1.0)).round() as usize).copied().unwrap_or(0.0);
        [at(0.025), at(0.975)]
    });
    Intervals { accuracy, macro_f1, ece }
}

/// Splitmix64 (Steele, Lea, Flood 2014).
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Evaluation, Prediction};
    use crate::Taxonomy;

    fn predictions(rows: &[(&str, [f64; 3])]) -> Evaluation {
        let taxonomy = Taxonomy::clinical_metabolomics();
        let rows: Vec<_> =
            rows.iter().map(|(label, p)| Prediction::new(&taxonomy, label, p.to_vec())).collect();
        Evaluation::of(&taxonomy, &rows).unwrap()
    }

    #[test]
    fn scores_by_hand() {
        let evaluation = predictions(&[
            ("KNOWLEDGE_GRAPH", [0.9, 0.05, 0.05]),
            ("KNOWLEDGE_GRAPH", [0.4, 0.55, 0.05]),
            ("REAL_TIME", [0.1, 0.8, 0.1]),
            ("GENERAL", [0.0, 0.3, 0.7]),
            ("HYBRID", [0.5, 0.4, 0.1]),
            ("HYBRID", [0.9, 0.02, 0.08]),
            ("SPORT", [0.2, 0.2, 0.6]),
        ]);
        assert_eq!(evaluation.n, 4);
        assert!((evaluation.accuracy - 0.75).abs() < 1e-12);
        let graph = evaluation.per_class["KNOWLEDGE_GRAPH"];
        assert_eq!((graph.precision, graph.recall, graph.support), (1.0, 0.5, 2));
        assert!((evaluation.per_class["REAL_TIME"].f1 - 2.0 / 3.0).abs() < 1e-12);
        assert!((evaluation.macro_f1 - (2.0 / 3.0 + 2.0 / 3.0 + 1.0) / 3.0).abs() < 1e-12);
        // Bins: 0.5–0.6 wrong at 0.55; 0.7–0.8 right at 0.7; 0.8–0.9 right at 0.8; 0.9–1 right at 0.9.
        assert!((evaluation.ece - (0.55 + 0.3 + 0.2 + 0.1) / 4.0).abs() < 1e-12);
        assert_eq!(evaluation.confusion["KNOWLEDGE_GRAPH"]["REAL_TIME"], 1);
        assert_eq!(evaluation.coverage["80"], 0.75);
        assert_eq!(evaluation.hybrid.n, 2);
        assert_eq!((evaluation.hybrid.second_strong, evaluation.hybrid.both_first), (0.5, 0.5));
        assert_eq!(evaluation.hybrid.second_strong_among_single, 0.5);
        assert_eq!(evaluation.outside["SPORT"], 1);
        assert!(evaluation.ci95.accuracy[0] < 0.75 && evaluation.ci95.accuracy[1] > 0.75);
    }

    #[test]
    fn rows_without_a_known_label_are_an_error() {
        let taxonomy = Taxonomy::clinical_metabolomics();
        let error =
            Evaluation::of(&taxonomy, &[Prediction::new(&taxonomy, "X", vec![0.2, 0.3, 0.5])]).unwrap_err();
        assert_eq!(error.to_string(), "no row has one of the labels KNOWLEDGE_GRAPH, REAL_TIME, GENERAL");
    }
}
