//! Reads lines of bounded length from input that strangers send.

use std::fmt;
use std::io::{self, BufRead};

/// Reads lines one by one into a buffer it reuses; a line too long is skipped, not kept.
#[derive(Debug)]
pub struct LineReader<R> {
    reader: R,
    max_bytes: usize,
    buffer: Vec<u8>,
    number: u64,
    offset: u64,
}

/// One line, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Counted from 1.
    pub number: u64,
    /// Without `\n` or `\r\n`; a byte order mark at the start of the input is dropped.
    pub text: &'a str,
}

/// Why a line is not to be had.
#[derive(Debug)]
pub enum LineError {
    /// Reading failed; there will be no further line.
    Io(io::Error),
    /// This line cannot be used; the next one can be read.
    Line {
        /// Counted from 1.
        number: u64,
        /// What is wrong with it.
        problem: LineProblem,
    },
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineProblem {
    /// Longer than the bound, in bytes.
    TooLong {
        /// The bound.
        max_bytes: usize,
    },
    /// Not UTF-8 from this byte of the line on.
    NotUtf8 {
        /// Counted from 1.
        byte: usize,
    },
}

impl fmt::Display for LineProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { max_bytes } => write!(f, "is longer than {max_bytes} bytes"),
            Self::NotUtf8 { byte } => write!(f, "is not valid UTF-8 at byte {byte}"),
        }
    }
}

impl<R: BufRead> LineReader<R> {
    /// Reads lines of at most `max_bytes` bytes from `reader`.
    pub fn new(reader: R, max_bytes: usize) -> Self {
        Self { reader, max_bytes, buffer: Vec::new(), number: 0, offset: 0 }
    }

    /// Goes on with line `number + 1` at byte `offset`, where `reader` stands already.
    #[must_use]
    pub fn resumed_at(mut self, number: u64, offset: u64) -> Self {
        self.number = number;
        self.offset = offset;
        self
    }

    /// How many bytes of the input have been read, counted from its start.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next line, or `None` at the end of the input.
    ///
    /// # Errors
    /// [`LineError::Line`] for a line that cannot be used, after which the next can be read; [`LineError::Io`].
    pub fn read(&mut self) -> Result<Option<Line<'_>>, LineError> {
        self.buffer.clear();
        let mut too_long = false;
        let mut any = false;
        loop {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(LineError::Io(error)),
            };
            if chunk.is_empty() {
                break;
            }
            any = true;
            let newline = chunk.iter().position(|&byte| byte == b'\n');
            let used = newline.map_or(chunk.len(), |at| at + 1);
            let content = &chunk[..newline.unwrap_or(chunk.len())];
            // Four bytes more than allowed are kept, for a byte order mark and a `\r` that belong to the line's ends.
            if self.buffer.len() + content.len() > self.max_bytes.saturating_add(4) {
                too_long = true;
            } else {
                self.buffer.extend_from_slice(content);
            }
            self.reader.consume(used);
            self.offset += used as u64;
            if newline.is_some() {
                break;
            }
        }
        if !any {
            return Ok(None);
        }
        self.number += 1;
        let number = self.number;
        let problem = |problem| Err(LineError::Line { number, problem });
        let mut line = self.buffer.as_slice();
        line = line.strip_suffix(b"\r").unwrap_or(line);
        if number == 1 {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if too_long || line.len() > self.max_bytes {
            return problem(LineProblem::TooLong { max_bytes: self.max_bytes });
        }
        match std::str::from_utf8(line) {
            Ok(text) => Ok(Some(Line { number, text })),
            Err(error) => problem(LineProblem::NotUtf8 { byte: error.valid_up_to() + 1 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LineError, LineProblem, LineReader};

    fn all(input: &[u8], max_bytes: usize, buffer: usize) -> Vec<Result<String, (u64, LineProblem)>> {
        let mut reader = LineReader::new(std::io::BufReader::with_capacity(buffer, input), max_bytes);
        let mut lines = Vec::new();
        loop {
            match reader.read() {
                Ok(Some(line)) => lines.push(Ok(line.text.to_owned())),
                Ok(None) => break,
                Err(LineError::Line { number, problem }) => lines.push(Err((number, problem))),
                Err(LineError::Io(error)) => panic!("{error}"),
            }
        }
        assert_eq!(reader.offset(), input.len() as u64);
        lines
    }

    #[test]
    fn lines_of_any_end_and_buffer() {
        for buffer in [1, 2, 3, 64] {
            let lines =
                all(b"\xef\xbb\xbfone\r\ntwo\n\nfour\xff\nlonger than ten\nten chars.\r\nlast", 10, buffer);
            assert_eq!(
                lines,
                [
                    Ok("one".to_owned()),
                    Ok("two".to_owned()),
                    Ok(String::new()),
                    Err((4, LineProblem::NotUtf8 { byte: 5 })),
                    Err((5, LineProblem::TooLong { max_bytes: 10 })),
                    Ok("ten chars.".to_owned()),
                    Ok("last".to_owned()),
                ]
            );
        }
        assert_eq!(all(b"", 10, 8), []);
        assert_eq!(all(b"\xef\xbb\xbften chars.\r\n", 10, 4), [Ok("ten chars.".to_owned())]);
        assert_eq!(all(b"any", usize::MAX, 4), [Ok("any".to_owned())]);
    }
}
