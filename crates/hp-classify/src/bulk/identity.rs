//! What makes a run this run: were any of it different, its answers could not go on where they stopped.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::format::Format;

/// So much of the input is looked at.
const HEAD_BYTES: u64 = 64 << 10;

/// The input and everything else that decides what is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    /// The version of this program.
    pub(super) program: String,
    /// The input.
    pub(super) input: InputIdentity,
    /// How its rows are written.
    pub(super) format: Format,
    /// Where in a row the question stands.
    pub(super) column: String,
    /// The revision of the classifier, in hexadecimal.
    pub(super) classifier: String,
    /// The longest question that is answered, in characters.
    pub(super) max_query_chars: usize,
}

/// What tells one input file from another without reading all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InputIdentity {
    bytes: u64,
    /// In nanoseconds since 1970.
    modified: u64,
    /// FNV-1a of the first 64 KiB, in hexadecimal.
    head: String,
}

impl InputIdentity {
    /// Looks at `file`, and leaves it at its start.
    pub(super) fn of(file: &mut File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let since_1970 = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut head = Vec::new();
        file.take(HEAD_BYTES).read_to_end(&mut head)?;
        file.rewind()?;
        Ok(Self {
            bytes: metadata.len(),
            modified: u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX),
            head: format!("{:016x}", fnv_1a(&head)),
        })
    }
}

impl Identity {
    /// What of `self`, the run that was interrupted, is another than in `now`; nothing when they are the same.
    pub(super) fn differences(&self, now: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        if self.input != now.input {
            differences.push("the input has changed".to_owned());
        }
        let mut compare = |name: &str, then: &dyn std::fmt::Display, now: &dyn std::fmt::Display| {
            let (then, now) = (then.to_string(), now.to_string());
            if then != now {
                differences.push(format!("{name} was {then} and is {now}"));
            }
        };
        compare("--format", &self.format, &now.format);
        compare("--column", &self.column, &now.column);
        compare("max_query_chars", &self.max_query_chars, &now.max_query_chars);
        compare("the version of hp-classify", &self.program, &now.program);
        if self.classifier != now.classifier {
            differences.push("the model, the taxonomy or a threshold is another".to_owned());
        }
        differences
    }
}

/// FNV-1a with 64 bits (draft-eastlake-fnv); enough to notice another file, no defence against a forged one.
fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
impl Identity {
    /// Some run.
    pub(super) fn for_tests() -> Self {
        Self {
            program: "1.2.3".to_owned(),
            input: InputIdentity { bytes: 1, modified: 2, head: "3".to_owned() },
            format: Format::Jsonl,
            column: "query".to_owned(),
            classifier: "00ff".to_owned(),
            max_query_chars: 8192,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::{Format, Identity, InputIdentity, fnv_1a};

    #[test]
    fn fnv_of_the_known_texts() {
        // The test vectors of draft-eastlake-fnv, appendix C.
        assert_eq!(fnv_1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv_1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv_1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn an_input_is_known_by_length_time_and_head() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        fs::write(&path, "abc").unwrap();
        let identity = |path| InputIdentity::of(&mut File::open(path).unwrap()).unwrap();
        let known = identity(&path);
        assert_eq!(identity(&path), known);

        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "abd").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        let changed = identity(&path);
        assert_ne!(changed.head, known.head);
        assert_eq!(InputIdentity { head: known.head.clone(), ..changed }, known);
    }

    #[test]
    fn each_part_counts_and_is_named() {
        let then = Identity::for_tests();
        assert_eq!(then.differences(&then), [""; 0]);
        let now = Identity { column: "text".to_owned(), format: Format::Csv, ..then.clone() };
        assert_eq!(
            then.differences(&now),
            ["--format was jsonl and is csv", "--column was query and is text"]
        );
        let now = Identity {
            program: "1.3.0".to_owned(),
            classifier: "ff".to_owned(),
            max_query_chars: 10,
            input: InputIdentity { bytes: 2, ..then.input.clone() },
            ..then.clone()
        };
        assert_eq!(
            then.differences(&now),
            [
                "the input has changed",
                "max_query_chars was 8192 and is 10",
                "the version of hp-classify was 1.2.3 and is 1.3.0",
                "the model, the taxonomy or a threshold is another",
            ]
        );
    }
}
