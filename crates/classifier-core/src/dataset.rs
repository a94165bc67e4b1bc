//! Labelled rows: JSON Lines with `query`, `label` and, for training, `group`.

use std::fmt;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::lines::{LineError, LineReader};

/// A line of a data file is refused when it is longer than this, in bytes.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// A labelled question.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The question.
    pub query: String,
    /// A category, a hybrid's label, or anything else, which an evaluation reports apart.
    pub label: String,
    /// Rows of one group are variants of each other and never stand on both sides of a split; by default a row is a
    /// group of its own.
    pub group: String,
    /// The other fields of the row.
    pub extra: Map<String, Value>,
    /// Where it was read, for error messages.
    pub place: Place,
}

impl Row {
    /// A taxonomy's example as a row, counted from 1.
    pub(crate) fn example(query: &str, label: &str, number: u64) -> Self {
        let place = Place { file: "the taxonomy's examples".into(), line: number };
        Self {
            query: query.to_owned(),
            label: label.to_owned(),
            group: place.to_string(),
            extra: Map::new(),
            place,
        }
    }
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    file: Arc<str>,
    line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.file, self.line)
    }
}

/// Reads labelled rows; `name` stands in error messages.
///
/// # Errors
/// [`InvalidData`](ErrorKind::InvalidData) with the line when one is too long, is no UTF-8, is no JSON object or lacks a
/// `query` or `label`; [`Io`](ErrorKind::Io) when reading fails.
pub fn read_rows(name: &str, reader: impl BufRead) -> Result<Vec<Row>> {
    let file: Arc<str> = name.into();
    let mut rows = Vec::new();
    let mut lines = LineReader::new(reader, MAX_LINE_BYTES);
    loop {
        let (line, text) = match lines.read() {
            Ok(None) => return Ok(rows),
            Ok(Some(line)) => (line.number, Ok(line.text.trim().to_owned())),
            Err(LineError::Io(error)) => {
                return Err(
                    Error::new(ErrorKind::Io, format!("cannot read {name}: {error}")).with_source(error)
                );
            }
            Err(LineError::Line { number, problem }) => (number, Err(problem.to_string())),
        };
        let place = Place { file: file.clone(), line };
        match text.and_then(|text| if text.is_empty() { Ok(None) } else { row(&text, &place).map(Some) }) {
            Ok(row) => rows.extend(row),
            Err(problem) => return Err(Error::new(ErrorKind::InvalidData, format!("{place}: {problem}"))),
        }
    }
}

/// Reads one `.jsonl` file, or all of a folder in the order of their names.
///
/// # Errors
/// As [`read_rows`]; also when a folder holds no `.jsonl` file.
pub fn read_path(path: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for file in files(path)? {
        let opened = std::fs::File::open(&file).map_err(|error| Error::io("open", &file, error))?;
        rows.extend(read_rows(&file.display().to_string(), std::io::BufReader::new(opened))?);
    }
    Ok(rows)
}

fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| Error::io("read the folder", path, error))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.map_err(|error| Error::io("read the folder", path, error))?.path();
        if file.extension().is_some_and(|extension| extension == "jsonl") {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Error::new(
            ErrorKind::InvalidData,
            format!("there is no .jsonl file in {}", path.display()),
        ));
    }
    Ok(files)
}

fn row(line: &str, place: &Place) -> std::result::Result<Row, String> {
    let mut fields: Map<String, Value> = serde_json::from_str(line)
        .map_err(|error| format!("not a JSON object like {{\"query\": …, \"label\": …}}: {error}"))?;
    let mut take = |name: &str| match fields.remove(name) {
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Null) | None => Ok(None),
        Some(_) => Err(format!("`{name}` is not a string")),
    };
    let query = take("query")?.ok_or("`query` is missing")?;
    let label = take("label")?.ok_or("`label` is missing")?;
    let group = take("group")?.unwrap_or_else(|| place.to_string());
    if query.trim().is_empty() {
        return Err("`query` is empty".to_owned());
    }
    Ok(Row { query, label, group, extra: fields, place: place.clone() })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::read_rows;

    #[track_caller]
    fn check(data: &[u8], expected: Expect) {
        let rows = read_rows("rows.jsonl", data).map(|rows| {
            rows.iter()
                .map(|row| format!("{} | {} | {} | {}", row.query, row.label, row.group, row.extra.len()))
                .collect::<Vec<_>>()
                .join("\n")
        });
        expected.assert_eq(&rows.unwrap_or_else(|error| error.to_string()));
    }

    #[test]
    fn rows_and_errors() {
        check(
            b"{\"query\":\"a b\",\"label\":\"X\",\"group\":\"g\",\"kind\":1}\r\n\n{\"query\":\"c\",\"label\":\"Y\"}",
            expect![["a b | X | g | 1\nc | Y | rows.jsonl, line 3 | 0"]],
        );
        check(
            b"{\"query\":\"a\",\"label\":\"X\"}\n{\"query\":\"b\"}",
            expect!["rows.jsonl, line 2: `label` is missing"],
        );
        check(b"{\"query\":5,\"label\":\"X\"}", expect!["rows.jsonl, line 1: `query` is not a string"]);
        check(b"{\"query\":\" \",\"label\":\"X\"}", expect!["rows.jsonl, line 1: `query` is empty"]);
        check(
            b"[1]",
            expect![[
                r#"rows.jsonl, line 1: not a JSON object like {"query": …, "label": …}: invalid type: sequence, expected a map at line 1 column 0"#
            ]],
        );
        check(
            b"{\"query\":\"\xff\",\"label\":\"X\"}",
            expect!["rows.jsonl, line 1: is not valid UTF-8 at byte 11"],
        );
    }
}
