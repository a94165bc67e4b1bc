//! What the fuzz targets share: what a sound answer is, and how a few rows become a model.

use classifier_core::dataset::{Row, read_rows};
use classifier_core::{EmbeddedClassifier, Result, Taxonomy, TrainOptions, Trained, train};

/// By how much sums of probabilities may differ from 1.
const TOLERANCE: f64 = 1e-9;

/// No reasoning is longer than this, in bytes, when the taxonomy's own clauses are short.
const MAX_REASONING: usize = 2048;

/// Panics unless `classifier` answers `question` with probabilities, signals and a reasoning to rely on.
pub fn assert_sound(classifier: &EmbeddedClassifier, question: &str) {
    let probabilities = classifier.probabilities(question);
    assert_eq!(probabilities.len(), classifier.taxonomy().categories().len());
    assert!(probabilities.iter().all(|p| (0.0..=1.0 + TOLERANCE).contains(p)), "{probabilities:?}");
    let sum: f64 = probabilities.iter().sum();
    assert!((sum - 1.0).abs() <= TOLERANCE, "{probabilities:?} sum to {sum}");

    let answer = classifier.classify(question);
    let sum = answer.confidence + answer.alternative_categories.iter().map(|a| a.confidence).sum::<f64>();
    assert!((sum - 1.0).abs() <= TOLERANCE, "confidences sum to {sum}");
    assert!(answer.alternative_categories.iter().map(|a| a.confidence).is_sorted_by(|a, b| a >= b));
    assert!(answer.alternative_categories.iter().all(|a| a.confidence <= answer.confidence));
    assert_eq!(answer.alternative_categories.len() + 1, probabilities.len());
    let chosen =
        classifier.taxonomy().index_of(answer.category.as_str()).expect("a category of the taxonomy");
    assert_eq!(answer.route, classifier.taxonomy().categories()[chosen].route);

    let named = &answer.biomedical_signals;
    let timed = &answer.temporal_signals;
    let signals =
        [&named.entities, &named.relationships, &named.techniques, &timed.keywords, &timed.patterns];
    for signal in signals.into_iter().flatten() {
        assert!(
            !signal.is_empty() && question.contains(signal.as_str()),
            "{signal:?} is not in {question:?}"
        );
    }
    assert!(timed.years.iter().all(|year| (1900..2050).contains(year)), "{:?}", timed.years);
    assert!(answer.reasoning.starts_with(answer.category.as_str()), "{}", answer.reasoning);

    assert_eq!(classifier.classify(question), answer, "the second answer to {question:?} is another");
}

/// Panics when the reasoning for `question` grows with the question.
pub fn assert_brief(classifier: &EmbeddedClassifier, question: &str) {
    let reasoning = classifier.classify(question).reasoning;
    assert!(reasoning.len() <= MAX_REASONING, "{} bytes: {reasoning}", reasoning.len());
}

/// A hasty model from two short rows a label: what it says is worth little, but it must say it soundly.
///
/// # Errors
/// Those of [`train`].
pub fn train_hastily(taxonomy: &Taxonomy) -> Result<Trained> {
    let mut lines = String::new();
    let examples =
        taxonomy.categories().iter().flat_map(|c| c.examples.iter().map(|e| (e.as_str(), c.id.as_str())));
    for (query, label) in
        taxonomy.labels().flat_map(|label| [(label, label), ("what is it", label)]).chain(examples)
    {
        if !query.trim().is_empty() {
            lines.push_str(&serde_json::json!({"query": query, "label": label}).to_string());
            lines.push('\n');
        }
    }
    let rows: Vec<Row> = read_rows("fuzz", lines.as_bytes())?;
    train(taxonomy, &rows, &TrainOptions { max_iterations: 2, n_folds: 0, ..TrainOptions::default() })
}
