//! The questions everything is measured with.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

/// Names another file of questions when no flag does.
const VARIABLE: &str = "FIGURES_QUESTIONS";

/// The held-out rows: real in kind, and nothing the model was fitted to.
const DEFAULT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/classifier-core/data/clinical-metabolomics/heldout");

/// Distinct questions: no two are one to the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Questions {
    texts: Vec<String>,
}

/// What of a row is read; other fields are passed over.
#[derive(Deserialize)]
struct Row {
    query: String,
}

impl Questions {
    /// Reads the questions from JSON Lines with a field `query`: those of `file`, else of what the environment variable
    /// `FIGURES_QUESTIONS` names, else the held-out rows. A folder stands for its `.jsonl` files, in order.
    ///
    /// # Errors
    /// When a file cannot be read, or a line of it, or when there is no question.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let file = match file {
            Some(file) => file.to_owned(),
            None => std::env::var_os(VARIABLE).map_or_else(|| PathBuf::from(DEFAULT), PathBuf::from),
        };
        let mut rows = Vec::new();
        for file in files(&file).with_context(|| format!("cannot read {}", file.display()))? {
            let text =
                std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            rows.extend(parse(&text).with_context(|| file.display().to_string())?);
        }
        ensure!(!rows.is_empty(), "there is no question in {}", file.display());
        Ok(Self::distinct(rows))
    }

    fn distinct(mut texts: Vec<String>) -> Self {
        let mut known = HashSet::new();
        texts.retain(|text| known.insert(cache_tiers::normalize(text).into_owned()));
        Self { texts }
    }

    /// All of them, in the order in which they were read.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// The question below whose length in bytes a share of them lies; the share is in [0, 1].
    pub fn at_length(&self, share: f64) -> &str {
        let mut by_length: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        by_length.sort_by_key(|text| text.len());
        by_length[((by_length.len() - 1) as f64 * share.clamp(0.0, 1.0)) as usize]
    }

    /// As many distinct questions as asked for. When the file has fewer, they come again with a number behind.
    pub fn numbered(&self, n_questions: usize) -> Vec<String> {
        let rounds = (0_usize..).flat_map(|round| self.texts.iter().map(move |text| (round, text)));
        let spell = |(round, text): (usize, &String)| match round {
            0 => text.clone(),
            _ => format!("{text} ({round})"),
        };
        rounds.take(n_questions).map(spell).collect()
    }
}

fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in path.read_dir()? {
        files.push(entry?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    Ok(files)
}

fn parse(text: &str) -> anyhow::Result<Vec<String>> {
    let mut texts = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = index + 1;
        let Row { query } = serde_json::from_str(line).with_context(|| format!("line {number}"))?;
        ensure!(!query.trim().is_empty(), "line {number}: the query is empty");
        // One question a line is what a program that reads them from standard input is sent.
        texts.push(query.replace(['\n', '\r'], " "));
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = "{\"query\": \"Is it new?\", \"label\": \"REAL_TIME\"}\n\n{\"query\": \"a\\nb\"}\n{\"query\": \"is it  NEW\"}\n{\"query\": \"Why does it?\"}\n";

    fn three() -> Questions {
        Questions::distinct(parse(ROWS).unwrap())
    }

    #[test]
    fn what_is_one_to_the_cache_is_one_question() {
        let questions = three();
        assert_eq!(questions.texts(), ["Is it new?", "a b", "Why does it?"]);
    }

    #[test]
    fn a_bad_line_is_named() {
        let message = |text: &str| format!("{:#}", parse(text).unwrap_err());
        assert!(message("{\"query\": \"x\"}\n{}\n").starts_with("line 2: missing field `query`"));
        assert_eq!(message("{\"query\": \" \"}"), "line 1: the query is empty");
    }

    #[test]
    fn lengths_are_ranked() {
        let questions = three();
        assert_eq!(
            [0.0, 0.5, 1.0].map(|share| questions.at_length(share)),
            ["a b", "Is it new?", "Why does it?"]
        );
    }

    #[test]
    fn numbers_keep_them_distinct() {
        let questions = three();
        assert_eq!(questions.numbered(2), ["Is it new?", "a b"]);
        assert_eq!(questions.numbered(5)[3..], ["Is it new? (1)", "a b (1)"]);
    }

    #[test]
    fn the_held_out_rows_are_found() {
        assert!(Questions::load(Some(Path::new(DEFAULT))).unwrap().texts().len() > 200);
    }
}
