//! Turns a chunk of rows into the text of its answers and the text of what is wrong with the others.

use std::sync::Arc;

use classifier_core::{Classification, EmbeddedClassifier};
use serde::Serialize;

use super::csv_rows::{CsvLayout, RowParser};
use super::json_rows;
use super::source::{Chunk, Position};

/// Most answers take no more than this, so that most chunks need no larger buffer.
const ANSWER_BYTES: usize = 1024;

/// Answers chunks; the same chunk always gets the same bytes.
#[derive(Debug)]
pub(super) struct Desk {
    asker: Asker,
    layout: Layout,
}

/// How the rows are written.
#[derive(Debug)]
pub(super) enum Layout {
    /// One JSON object a line, with the question in the field of this name.
    Json {
        /// The field's name.
        column: String,
    },
    /// CSV under this header.
    Csv(CsvLayout),
}

/// What has become of a chunk.
#[derive(Debug)]
pub(super) struct Answered {
    /// For the output.
    pub(super) output: Vec<u8>,
    /// For the side file.
    pub(super) side: Vec<u8>,
    /// Rows in `output`.
    pub(super) n_answered: u64,
    /// Rows in `side`.
    pub(super) n_refused: u64,
    /// Behind the chunk.
    pub(super) end: Position,
}

/// A line of the side file.
#[derive(Serialize)]
struct Refused<'a> {
    line: u64,
    reason: &'a str,
}

/// How much memory a chunk and its answers take at the most, about, in bytes: the text, the field or row taken from it,
/// and the answers, which quote it.
pub(super) fn cost(chunk: &Chunk) -> u64 {
    (6 * chunk.n_bytes() + 2 * ANSWER_BYTES * chunk.n_rows()) as u64
}

impl Desk {
    /// Answers with `classifier`, and refuses queries of more than `max_query_chars` characters.
    pub(super) fn new(classifier: Arc<EmbeddedClassifier>, max_query_chars: usize, layout: Layout) -> Self {
        Self { asker: Asker { classifier, max_query_chars }, layout }
    }

    /// Answers the rows of `chunk`.
    pub(super) fn answer(&self, chunk: &Chunk) -> Answered {
        match &self.layout {
            Layout::Json { column } => {
                answer_each(chunk, |text, output| json_rows::answer(text, column, &self.asker, output))
            }
            Layout::Csv(layout) => {
                let mut parser = RowParser::new();
                answer_each(chunk, |text, output| layout.answer(parser.parse(text)?, &self.asker, output))
            }
        }
    }
}

/// Collects what `answer` appends for each row of `chunk`, and the rows for which it fails.
fn answer_each<'a>(
    chunk: &'a Chunk,
    mut answer: impl FnMut(&'a str, &mut Vec<u8>) -> Result<(), String>,
) -> Answered {
    let output = Vec::with_capacity(chunk.n_bytes() + ANSWER_BYTES * chunk.n_rows());
    let mut answered = Answered { output, side: Vec::new(), n_answered: 0, n_refused: 0, end: chunk.end };
    for record in chunk.records() {
        let complete = answered.output.len();
        match record.text.and_then(|text| answer(text, &mut answered.output)) {
            Ok(()) => answered.n_answered += 1,
            Err(reason) => {
                answered.n_refused += 1;
                answered.output.truncate(complete);
                refuse(&mut answered.side, &Refused { line: record.line, reason: &reason });
            }
        }
    }
    answered
}

fn refuse(side: &mut Vec<u8>, refused: &Refused<'_>) {
    // OK because a number and a string always have a JSON text, and memory takes all that is written to it.
    let _ = serde_json::to_writer(&mut *side, refused);
    side.push(b'\n');
}

/// Asks the classifier, if there is a question to ask.
#[derive(Debug)]
pub(super) struct Asker {
    classifier: Arc<EmbeddedClassifier>,
    max_query_chars: usize,
}

impl Asker {
    /// The answer to `query`, or why it gets none.
    pub(super) fn ask(&self, query: &str) -> Result<Classification, String> {
        if query.chars().all(|c| c.is_whitespace() || c.is_control()) {
            return Err("the query is empty".to_owned());
        }
        // Bytes bound characters from above, so most queries need no counting.
        let max = self.max_query_chars;
        if query.len() > max {
            let n_chars = query.chars().count();
            if n_chars > max {
                return Err(format!("the query has {n_chars} characters, more than max_query_chars = {max}"));
            }
        }
        Ok(self.classifier.classify(query))
    }
}
