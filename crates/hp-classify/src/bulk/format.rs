//! The two formats of rows.

use std::fmt;
use std::path::Path;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How rows are written, in the input as in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// One JSON object a line.
    Jsonl,
    /// Fields between commas, with a header.
    Csv,
}

impl Format {
    /// The format that the extension of a file's name stands for.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Format, Path};

    #[test]
    fn extensions() {
        for (path, format) in [
            ("a/rows.jsonl", Some(Format::Jsonl)),
            ("rows.NDJSON", Some(Format::Jsonl)),
            ("rows.jsonl.csv", Some(Format::Csv)),
            ("rows.json", None),
            ("csv", None),
            ("-", None),
        ] {
            assert_eq!(Format::of(Path::new(path)), format, "{path}");
        }
    }
}
