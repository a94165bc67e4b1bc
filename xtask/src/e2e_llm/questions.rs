//! What is asked: a few questions of each category, none of them from the training data.

/// A question, and where it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) category: &'static str,
    pub(super) text: &'static str,
}

/// All of them, in turn one of each category: a run that is slow at first is then as slow for all.
pub(super) fn questions() -> Vec<Question> {
    let all = rows(include_str!("questions.tsv"));
    let mut categories: Vec<&str> = all.iter().map(|question| question.category).collect();
    categories.dedup();
    let of = |category: &str| {
        all.iter().copied().filter(|question| question.category == category).collect::<Vec<_>>()
    };
    let by_category: Vec<Vec<Question>> = categories.iter().map(|category| of(category)).collect();
    let most = by_category.iter().map(Vec::len).max().unwrap_or_default();
    (0..most).flat_map(|nth| by_category.iter().filter_map(move |of_one| of_one.get(nth).copied())).collect()
}

fn rows(text: &'static str) -> Vec<Question> {
    let row = |line: &'static str| {
        let (category, text) = line.split_once('\t')?;
        Some(Question { category, text })
    };
    text.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn categories_take_turns() {
        let questions = questions();
        let first: Vec<&str> = questions.iter().take(4).map(|question| question.category).collect();
        assert_eq!(first, ["KNOWLEDGE_GRAPH", "REAL_TIME", "GENERAL", "KNOWLEDGE_GRAPH"]);
        let n_lines = include_str!("questions.tsv").lines().count();
        assert_eq!(questions.len(), n_lines, "a line has no tab");
        // With fewer, the program does not judge the model.
        assert!(n_lines >= 30);
        let texts: BTreeSet<&str> = questions.iter().map(|question| question.text).collect();
        assert_eq!(texts.len(), n_lines, "a question stands there twice");
    }
}
