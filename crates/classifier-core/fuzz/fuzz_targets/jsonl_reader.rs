//! The readers of lines and of rows: the same lines whatever the buffer, and from wherever reading is resumed.

#![no_main]

use std::io::BufReader;

use classifier_core::ErrorKind;
use classifier_core::dataset::read_rows;
use classifier_core::lines::{LineError, LineProblem, LineReader};
use libfuzzer_sys::fuzz_target;

/// The number of a line, its text or what is wrong with it, and where in the input it ends.
type Read = (u64, Result<String, LineProblem>, u64);

fn read(input: &[u8], max_bytes: usize, buffer: usize, number: u64, offset: u64) -> Vec<Read> {
    let reader = BufReader::with_capacity(buffer, &input[offset as usize..]);
    let mut reader = LineReader::new(reader, max_bytes).resumed_at(number, offset);
    let mut lines = Vec::new();
    loop {
        let (number, line) = match reader.read() {
            Ok(None) => break,
            Ok(Some(line)) => (line.number, Ok(line.text.to_owned())),
            Err(LineError::Line { number, problem }) => (number, Err(problem)),
            Err(LineError::Io(error)) => panic!("reading from memory failed: {error}"),
        };
        lines.push((number, line, reader.offset()));
    }
    assert_eq!(reader.offset(), input.len() as u64);
    lines
}

/// The same by other means, with the whole input at hand.
fn split(input: &[u8], max_bytes: usize) -> Vec<Read> {
    let mut lines = Vec::new();
    let mut offset = 0;
    for (at, with_end) in input.split_inclusive(|&byte| byte == b'\n').enumerate() {
        offset += with_end.len();
        let line = with_end.strip_suffix(b"\n").unwrap_or(with_end);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = if at == 0 { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        let text = match std::str::from_utf8(line) {
            _ if line.len() > max_bytes => Err(LineProblem::TooLong { max_bytes }),
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(LineProblem::NotUtf8 { byte: error.valid_up_to() + 1 }),
        };
        lines.push((at as u64 + 1, text, offset as u64));
    }
    lines
}

fuzz_target!(|data: &[u8]| {
    let Some((&max_bytes, input)) = data.split_first() else { return };
    let max_bytes = usize::from(max_bytes);

    let lines = split(input, max_bytes);
    for buffer in [1, 2, 3, 7, 64, 4096] {
        assert_eq!(read(input, max_bytes, buffer, 0, 0), lines, "with a buffer of {buffer} bytes");
    }
    for (at, (number, _, offset)) in lines.iter().enumerate() {
        let rest = read(input, max_bytes, 3, *number, *offset);
        assert_eq!(rest, lines[at + 1..], "resumed behind line {number}");
    }

    let whole = read_rows("rows.jsonl", input);
    let piecemeal = read_rows("rows.jsonl", BufReader::with_capacity(1, input));
    match (whole, piecemeal) {
        (Ok(rows), Ok(others)) => {
            assert_eq!(rows, others);
            assert!(rows.len() <= lines.len());
            assert!(rows.iter().all(|row| !row.query.trim().is_empty()));
        }
        (Err(error), Err(other)) => {
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert_eq!(error.to_string(), other.to_string());
            assert!(error.to_string().starts_with("rows.jsonl, line "), "{error}");
        }
        (whole, piecemeal) => panic!("{whole:?} at once, {piecemeal:?} byte by byte"),
    }
});
