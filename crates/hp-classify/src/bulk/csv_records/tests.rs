//! Compares the cuts with those of the `csv` crate, and tries what that crate does otherwise.

use std::io::{self, Read};

use super::{Position, RecordReader};

/// Hands out a few bytes at a time.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n_bytes = self.1.min(buffer.len());
        self.0.read(&mut buffer[..n_bytes])
    }
}

/// Rows with their line, or what is wrong with them, and the position behind each.
type Rows = Vec<(u64, Result<String, String>, Position)>;

fn rows(input: &[u8], max_bytes: usize, step: usize, from: Position) -> Rows {
    let rest = &input[usize::try_from(from.offset).unwrap()..];
    let mut reader = RecordReader::new(Trickle(rest, step), max_bytes, from);
    let mut rows = Vec::new();
    while let Some(record) = reader.read().unwrap() {
        let (line, text) = (record.line, record.text.map(str::to_owned));
        rows.push((line, text, reader.position()));
    }
    assert_eq!(reader.position().offset, input.len() as u64);
    rows
}

/// The fields of the one row that `text` is.
fn fields(text: &[u8]) -> Vec<csv::ByteRecord> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
    reader.byte_records().map(Result::unwrap).collect()
}

/// All texts of up to `max_len` bytes of those that matter.
fn texts(max_len: usize) -> impl Iterator<Item = Vec<u8>> {
    const BYTES: &[u8] = b"a,\"\n\r";
    (0..=max_len).flat_map(|len| {
        (0..BYTES.len().pow(u32::try_from(len).unwrap())).map(move |mut number| {
            let mut text = Vec::new();
            for _ in 0..len {
                text.push(BYTES[number % BYTES.len()]);
                number /= BYTES.len();
            }
            text
        })
    })
}

#[test]
fn cuts_are_those_of_the_csv_crate() {
    for text in texts(6) {
        let cut = rows(&text, 100, 100, Position::default());
        if cut.iter().any(|(_, row, _)| row.is_err()) {
            continue;
        }
        let cut: Vec<_> =
            cut.iter().flat_map(|(_, row, _)| fields(row.as_ref().unwrap().as_bytes())).collect();
        assert_eq!(cut, fields(&text), "{:?}", String::from_utf8_lossy(&text));
    }
}

#[test]
fn cuts_depend_neither_on_the_blocks_nor_on_where_reading_began() {
    for text in texts(5) {
        for max_bytes in [2, 100] {
            let whole = rows(&text, max_bytes, 100, Position::default());
            assert_eq!(rows(&text, max_bytes, 1, Position::default()), whole);
            for (n_read, (_, _, position)) in whole.iter().enumerate() {
                let rest = rows(&text, max_bytes, 100, *position);
                assert_eq!(
                    rest,
                    whole[n_read + 1..],
                    "{:?} from {position:?}",
                    String::from_utf8_lossy(&text)
                );
            }
        }
    }
}

#[track_caller]
fn check(input: &[u8], max_bytes: usize, expected: &[(u64, Result<&str, &str>)]) {
    let rows = rows(input, max_bytes, 3, Position::default());
    let rows: Vec<_> =
        rows.iter().map(|(line, row, _)| (*line, row.as_deref().map_err(String::as_str))).collect();
    assert_eq!(rows, expected);
}

#[test]
fn lines_are_counted_in_quotes_and_out_of_them() {
    check(
        b"\xef\xbb\xbf\"a\nb\",c\r\nd\n\n\r\n\"e\r\nf\rg\"\rh",
        100,
        &[(1, Ok("\"a\nb\",c")), (3, Ok("d")), (6, Ok("\"e\r\nf\rg\"")), (9, Ok("h"))],
    );
}

#[test]
fn a_row_of_the_longest_length_is_read_and_a_longer_one_skipped() {
    let too_long = "the row is longer than 5 bytes";
    check(
        b"12345\n123456\n1,3,5\r\n\"2345\"\nx",
        5,
        &[(1, Ok("12345")), (2, Err(too_long)), (3, Ok("1,3,5")), (4, Err(too_long)), (5, Ok("x"))],
    );
}

#[test]
fn a_quote_without_end_costs_one_line() {
    check(
        b"a,\"b\nc,d\ne,f",
        100,
        &[(1, Err("a quoted field of the row is not closed")), (2, Ok("c,d")), (3, Ok("e,f"))],
    );
    check(
        b"a,\"b\nc,d\ne,f\ng,h\n",
        9,
        &[
            (1, Err("a quoted field of the row is not closed within 9 bytes")),
            (2, Ok("c,d")),
            (3, Ok("e,f")),
            (4, Ok("g,h")),
        ],
    );
}

#[test]
fn invalid_utf8_costs_one_row() {
    check(
        b"a\nb\xff\nc",
        100,
        &[(1, Ok("a")), (2, Err("the row is not valid UTF-8 at byte 2")), (3, Ok("c"))],
    );
}
