//! Cuts CSV into rows of bounded length, at places where reading can go on later.

use std::io::{self, Read};

use super::source::{Position, Record};

/// So much is read at a time.
const BLOCK_BYTES: usize = 64 << 10;

/// Finds where rows end, by the rules of the `csv` crate: a quote opens a quoted field at the field's start only, a row
/// ends with `\n`, `\r\n` or `\r` outside of quotes, and empty lines are no rows.
///
/// Unlike there, a quote that is never closed does not swallow all that follows: its line is refused, and the next line
/// begins a row.
#[derive(Debug)]
pub(super) struct RecordReader<R> {
    reader: R,
    max_bytes: usize,
    buffer: Vec<u8>,
    /// Where in the buffer the row begins.
    start: usize,
    /// How far it has been looked through.
    scanned: usize,
    state: State,
    at_end: bool,
    position: Position,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Field,
    Quoted,
    QuoteInQuoted,
}

impl<R: Read> RecordReader<R> {
    /// Reads rows of at most `max_bytes` bytes from `reader`, which stands at `position`.
    pub(super) fn new(reader: R, max_bytes: usize, position: Position) -> Self {
        Self {
            reader,
            max_bytes,
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            state: State::FieldStart,
            at_end: false,
            position,
        }
    }

    /// Behind the row read last.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// The next row, without its end.
    pub(super) fn read(&mut self) -> io::Result<Option<Record<'_>>> {
        if self.position.offset == 0 {
            self.skip_byte_order_mark()?;
        }
        loop {
            let start = self.start;
            let line = self.position.line + 1;
            if let Some((end, next)) = self.scan() {
                self.advance(next);
                if end == start {
                    continue;
                }
                return Ok(Some(self.record(line, start, end)));
            }
            if self.scanned - start > self.max_bytes {
                let problem = self.too_long();
                return self.refuse(line, problem).map(Some);
            }
            if !self.at_end {
                self.fill()?;
            } else if self.state == State::Quoted {
                return self.refuse(line, "a quoted field of the row is not closed".to_owned()).map(Some);
            } else if start == self.buffer.len() {
                return Ok(None);
            } else {
                let end = self.buffer.len();
                self.advance(end);
                return Ok(Some(self.record(line, start, end)));
            }
        }
    }

    fn record(&self, line: u64, start: usize, end: usize) -> Record<'_> {
        let text = std::str::from_utf8(&self.buffer[start..end])
            .map_err(|error| format!("the row is not valid UTF-8 at byte {}", error.valid_up_to() + 1));
        Record { line, text }
    }

    /// Looks for the end of the row: where its text ends and where the next row begins.
    ///
    /// How far it looks depends on the text alone, never on how much of it happens to be in the buffer: a run that was
    /// interrupted has to cut where an uninterrupted one does.
    fn scan(&mut self) -> Option<(usize, usize)> {
        while self.scanned < self.buffer.len() && self.scanned - self.start <= self.max_bytes {
            let at = self.scanned;
            self.state = match (self.state, self.buffer[at]) {
                (State::Quoted, b'"') => State::QuoteInQuoted,
                (State::Quoted, _) | (State::FieldStart | State::QuoteInQuoted, b'"') => State::Quoted,
                (_, b',') => State::FieldStart,
                (_, b'\n' | b'\r') => return line_end(&self.buffer, at, self.at_end).map(|next| (at, next)),
                _ => State::Field,
            };
            self.scanned += 1;
        }
        None
    }

    fn too_long(&self) -> String {
        let max = self.max_bytes;
        let is_quoted = matches!(self.state, State::Quoted | State::QuoteInQuoted);
        if is_quoted && self.buffer[self.start..self.scanned].iter().any(|byte| matches!(byte, b'\n' | b'\r'))
        {
            format!("a quoted field of the row is not closed within {max} bytes")
        } else {
            format!("the row is longer than {max} bytes")
        }
    }

    /// Gives up a row and goes on behind its first line.
    fn refuse(&mut self, line: u64, problem: String) -> io::Result<Record<'static>> {
        loop {
            let end = (self.start..self.buffer.len()).find(|&at| matches!(self.buffer[at], b'\n' | b'\r'));
            if let Some(next) = end.and_then(|at| line_end(&self.buffer, at, self.at_end)) {
                self.advance(next);
                break;
            }
            self.advance(end.unwrap_or(self.buffer.len()));
            if self.at_end {
                break;
            }
            self.fill()?;
        }
        Ok(Record { line, text: Err(problem) })
    }

    /// Goes on at `next`, the beginning of a row.
    fn advance(&mut self, next: usize) {
        let passed = &self.buffer[self.start..next];
        let ends_line = |(at, byte): (usize, &u8)| match byte {
            b'\n' => true,
            b'\r' => passed.get(at + 1) != Some(&b'\n'),
            _ => false,
        };
        self.position.line += passed.iter().enumerate().filter(|&each| ends_line(each)).count() as u64;
        self.position.offset += passed.len() as u64;
        self.start = next;
        self.scanned = next;
        self.state = State::FieldStart;
    }

    fn skip_byte_order_mark(&mut self) -> io::Result<()> {
        while self.buffer.len() < 3 && !self.at_end {
            self.fill()?;
        }
        if self.buffer.starts_with(b"\xef\xbb\xbf") {
            self.advance(3);
        }
        Ok(())
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        let filled = self.buffer.len();
        self.buffer.resize(filled + BLOCK_BYTES, 0);
        let read = loop {
            match self.reader.read(&mut self.buffer[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        self.at_end = read? == 0;
        Ok(())
    }
}

/// Behind the end of line at `at`; `None` when that depends on a byte that is not in the buffer yet.
fn line_end(buffer: &[u8], at: usize, at_end: bool) -> Option<usize> {
    match (buffer[at], buffer.get(at + 1)) {
        (b'\r', Some(b'\n')) => Some(at + 2),
        (b'\r', None) if !at_end => None,
        _ => Some(at + 1),
    }
}

#[cfg(test)]
mod tests;
