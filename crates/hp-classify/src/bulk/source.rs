//! Reads the input in chunks of bounded size, each of which knows where the next one begins.

use std::io::{self, BufReader, Read};
use std::ops::Range;

use anyhow::Context as _;
use classifier_core::dataset::MAX_LINE_BYTES;
use classifier_core::lines::{LineError, LineReader};
use serde::{Deserialize, Serialize};

use super::csv_records::RecordReader;

/// A chunk has no more rows than this.
const MAX_CHUNK_ROWS: usize = 64;
/// A chunk that has this many bytes gets no further row.
const FULL_CHUNK_BYTES: usize = 128 << 10;
/// So much is read at a time.
const BLOCK_BYTES: usize = 64 << 10;

/// A place between two rows of the input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// Bytes before it.
    pub(super) offset: u64,
    /// Lines before it.
    pub(super) line: u64,
}

/// A row as it stands in the input, without its end.
#[derive(Debug)]
pub(super) struct Record<'a> {
    /// The line it begins on, counted from 1.
    pub(super) line: u64,
    /// The row, or why it cannot be read.
    pub(super) text: Result<&'a str, String>,
}

/// Rows that one thread works on at a time.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    text: String,
    rows: Vec<(u64, Result<Range<usize>, String>)>,
    /// Behind its last row.
    pub(super) end: Position,
}

impl Chunk {
    /// Its rows in order.
    pub(super) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.rows.iter().map(|(line, row)| {
            let text = row.as_ref().map(|range| &self.text[range.clone()]).map_err(Clone::clone);
            Record { line: *line, text }
        })
    }

    /// How many bytes its rows have.
    pub(super) fn n_bytes(&self) -> usize {
        self.text.len()
    }

    /// How many rows it has.
    pub(super) fn n_rows(&self) -> usize {
        self.rows.len()
    }

    fn push(&mut self, record: Record<'_>) {
        let row = record.text.map(|text| {
            let start = self.text.len();
            self.text.push_str(text);
            start..self.text.len()
        });
        self.rows.push((record.line, row));
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= MAX_CHUNK_ROWS || self.text.len() >= FULL_CHUNK_BYTES
    }
}

/// What the input is read from.
pub(super) type Reader = Box<dyn Read + Send>;

/// The rows of the input, as an iterator over chunks.
pub(super) enum Source {
    /// One row a line.
    Lines(LineReader<BufReader<Reader>>),
    /// Rows of CSV, behind the header.
    Csv(RecordReader<Reader>),
}

impl Source {
    /// The lines of `reader`, which stands at `from`.
    pub(super) fn lines(reader: Reader, from: Position) -> Self {
        let reader = BufReader::with_capacity(BLOCK_BYTES, reader);
        Self::Lines(LineReader::new(reader, MAX_LINE_BYTES).resumed_at(from.line, from.offset))
    }

    fn read(&mut self) -> io::Result<Option<Record<'_>>> {
        match self {
            Self::Lines(lines) => match lines.read() {
                Ok(None) => Ok(None),
                Ok(Some(line)) => Ok(Some(Record { line: line.number, text: Ok(line.text) })),
                Err(LineError::Line { number, problem }) => {
                    Ok(Some(Record { line: number, text: Err(format!("the line {problem}")) }))
                }
                Err(LineError::Io(error)) => Err(error),
            },
            Self::Csv(records) => records.read(),
        }
    }
}

/// Cuts a source into chunks.
pub(super) struct Chunks {
    source: Source,
    /// Behind the row read last.
    position: Position,
    input: String,
}

impl Chunks {
    /// The chunks of `source`, which stands at `from`; `input` names it in errors.
    pub(super) fn new(source: Source, from: Position, input: String) -> Self {
        Self { source, position: from, input }
    }

    fn fill(&mut self) -> io::Result<Option<Chunk>> {
        let mut chunk = Chunk::default();
        while !chunk.is_full() {
            let Some(record) = self.source.read()? else { break };
            let line = record.line;
            // An empty line is no row, in JSON Lines as in CSV.
            if !matches!(record.text, Ok(text) if text.trim_ascii().is_empty()) {
                chunk.push(record);
            }
            self.position = match &self.source {
                Source::Lines(lines) => Position { offset: lines.offset(), line },
                Source::Csv(records) => records.position(),
            };
        }
        chunk.end = self.position;
        Ok(Some(chunk).filter(|chunk| !chunk.rows.is_empty()))
    }
}

impl Iterator for Chunks {
    type Item = anyhow::Result<Chunk>;

    fn next(&mut self) -> Option<Self::Item> {
        self.fill().with_context(|| format!("cannot read {}", self.input)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::{Chunk, Chunks, MAX_CHUNK_ROWS, MAX_LINE_BYTES, Position, Reader, RecordReader, Source};

    fn chunks(input: &str, is_csv: bool, from: Position) -> Vec<Chunk> {
        let rest = input.as_bytes()[usize::try_from(from.offset).unwrap()..].to_vec();
        let reader: Reader = Box::new(std::io::Cursor::new(rest));
        let source = if is_csv {
            Source::Csv(RecordReader::new(reader, MAX_LINE_BYTES, from))
        } else {
            Source::lines(reader, from)
        };
        Chunks::new(source, from, "the input".to_owned()).collect::<Result<_, _>>().unwrap()
    }

    fn rows(chunks: &[Chunk]) -> Vec<(u64, Result<String, String>)> {
        chunks
            .iter()
            .flat_map(Chunk::records)
            .map(|record| (record.line, record.text.map(str::to_owned)))
            .collect()
    }

    #[test]
    fn every_chunk_says_where_the_next_begins() {
        let input: String =
            (0..500).map(|row| format!("\"row {row}\"{}", ["\n", "\r\n", "\n\n"][row % 3])).collect();
        for is_csv in [false, true] {
            let whole = chunks(&input, is_csv, Position::default());
            assert_eq!(whole.len(), 500_usize.div_ceil(MAX_CHUNK_ROWS));
            assert_eq!(rows(&whole).len(), 500);
            for (n_read, chunk) in whole.iter().enumerate() {
                let rest = chunks(&input, is_csv, chunk.end);
                assert_eq!(rows(&rest), rows(&whole[n_read + 1..]));
            }
        }
    }

    #[test]
    fn chunks_are_bounded_by_rows_and_by_bytes() {
        let long = format!("{}\n", "x".repeat(50_000)).repeat(300);
        let too_long = format!("{}\n", "x".repeat(MAX_LINE_BYTES + 1)).repeat(5);
        for is_csv in [false, true] {
            for chunk in chunks(&"x\n".repeat(1000), is_csv, Position::default()) {
                assert!(chunk.rows.len() <= MAX_CHUNK_ROWS);
            }
            assert_eq!(chunks(&long, is_csv, Position::default()).len(), 100);
            let chunks = chunks(&too_long, is_csv, Position::default());
            assert_eq!((chunks.len(), chunks[0].rows.len(), chunks[0].text.len()), (1, 5, 0));
        }
    }

    #[test]
    fn empty_lines_are_no_rows() {
        for is_csv in [false, true] {
            assert!(chunks("\n \n\r\n", is_csv, Position::default()).is_empty());
            let found = rows(&chunks("\na\n\t\nb", is_csv, Position::default()));
            assert_eq!(found, [(2, Ok("a".to_owned())), (4, Ok("b".to_owned()))]);
        }
    }
}
