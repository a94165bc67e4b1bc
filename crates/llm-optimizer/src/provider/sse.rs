//! Server-sent events, read from bytes that come in any pieces.

use crate::{LlmError, LlmErrorKind};

/// Bytes of one event at the most, its names and line ends aside.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SseEvent {
    /// Its name; empty where none was given.
    pub(crate) name: String,
    /// Its lines of data, put together.
    pub(crate) data: String,
}

/// Takes bytes, gives events.
#[derive(Debug, Default)]
pub(crate) struct SseParser {
    line: Vec<u8>,
    name: String,
    data: String,
    has_data: bool,
    after_cr: bool,
    is_past_start: bool,
}

impl SseParser {
    /// Reads on, and hands each event over as it ends. An event that has no data is none.
    ///
    /// # Errors
    /// Those of `each`; [`LlmErrorKind::InvalidReply`] for what is not UTF-8, or is an event of more than 1 MiB.
    pub(crate) fn read(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(SseEvent) -> Result<(), LlmError>,
    ) -> Result<(), LlmError> {
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let part = &bytes[..end.unwrap_or(bytes.len())];
            if self.line.len() + self.data.len() + part.len() > MAX_EVENT_BYTES {
                return Err(invalid("an event of the stream is longer than 1 MiB"));
            }
            self.line.extend_from_slice(part);
            let Some(end) = end else { return Ok(()) };
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            if let Some(event) = self.end_line(&line)? {
                each(event)?;
            }
        }
        Ok(())
    }

    fn end_line(&mut self, line: &[u8]) -> Result<Option<SseEvent>, LlmError> {
        let line = std::str::from_utf8(line)
            .map_err(|error| invalid("the stream is not UTF-8").with_source(error))?;
        let line = match std::mem::replace(&mut self.is_past_start, true) {
            true => line,
            false => line.strip_prefix('\u{feff}').unwrap_or(line),
        };
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            let data = std::mem::take(&mut self.data);
            return Ok(std::mem::take(&mut self.has_data).then_some(SseEvent { name, data }));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            "event" => value.clone_into(&mut self.name),
            // A comment, or what is for clients that reconnect.
            _ => {}
        }
        Ok(None)
    }
}

fn invalid(message: &str) -> LlmError {
    LlmError::new(LlmErrorKind::InvalidReply, message)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn events(pieces: &[&[u8]]) -> Result<Vec<SseEvent>, LlmError> {
        let mut parser = SseParser::default();
        let mut events = Vec::new();
        for piece in pieces {
            parser.read(piece, |event| {
                events.push(event);
                Ok(())
            })?;
        }
        Ok(events)
    }

    #[track_caller]
    fn check(input: &str, expected: Expect) {
        let text: String = events(&[input.as_bytes()])
            .unwrap()
            .iter()
            .map(|event| format!("{:?} {:?}\n", event.name, event.data))
            .collect();
        expected.assert_eq(&text);
    }

    #[test]
    fn events_end_at_an_empty_line() {
        check(
            "data: one\n\nevent: named\ndata: two\n\ndata: unfinished\n",
            expect![[r#"
                "" "one"
                "named" "two"
            "#]],
        );
    }

    #[test]
    fn lines_of_data_are_put_together_and_one_space_is_dropped() {
        check(
            "data:a\ndata:  b\ndata\ndata: c:d\n\n",
            expect![[r#"
                "" "a\n b\n\nc:d"
            "#]],
        );
    }

    #[test]
    fn all_line_ends_count_and_a_mark_at_the_start_does_not() {
        check(
            "\u{feff}data: a\r\ndata: z\r\n\r\ndata: b\r\rdata: c\n\n\ndata: \u{feff}d\n\n",
            expect![[r#"
                "" "a\nz"
                "" "b"
                "" "c"
                "" "\u{feff}d"
            "#]],
        );
    }

    #[test]
    fn comments_other_fields_and_events_without_data_are_passed_over() {
        check(
            ": keep-alive\n\nid: 7\nretry: 10\nother: x\ndata: a\n\nevent: empty\n\ndata: b\n\n",
            expect![[r#"
                "" "a"
                "" "b"
            "#]],
        );
    }

    #[test]
    fn what_is_no_utf8_or_too_long_is_an_error() {
        assert_eq!(events(&[b"data: \xff\n"]).unwrap_err().to_string(), "the stream is not UTF-8");
        let long = vec![b'a'; MAX_EVENT_BYTES];
        let message = "an event of the stream is longer than 1 MiB";
        assert_eq!(events(&[b"data: ", &long]).unwrap_err().to_string(), message);
        assert_eq!(
            events(&[b"data: ", &long[..MAX_EVENT_BYTES / 2], b"\ndata: ", &long[..MAX_EVENT_BYTES / 2 + 1]])
                .unwrap_err()
                .to_string(),
            message
        );
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            lines in prop::collection::vec(("(data|event|id|)(: ?| |)[ä-üa-c:]{0,5}|", "\n|\r|\r\n"), 0..20),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let text: String = lines.iter().map(|(line, end)| format!("{line}{end}")).collect();
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let one_by_one: Vec<&[u8]> = bytes.chunks(1).collect();
            let whole = events(&[bytes]).unwrap();
            prop_assert_eq!(&events(&pieces).unwrap(), &whole);
            prop_assert_eq!(&events(&one_by_one).unwrap(), &whole);
        }

        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
            let _ = events(&[&bytes]);
        }
    }
}
