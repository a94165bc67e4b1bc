//! The one error of this crate.

use std::error::Error as StdError;

/// What went wrong, for callers that branch on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The query is empty or longer than `max_query_chars`.
    InvalidQuery,
    /// A taxonomy file cannot be used; the message names line, key and what to write instead.
    InvalidTaxonomy,
    /// A model file is truncated, altered, of another format version, or of another taxonomy.
    InvalidModel,
    /// Training or evaluation rows cannot be used; the message names the line.
    InvalidData,
    /// A configuration value is unknown or out of range.
    InvalidConfig,
    /// A language model gave no answer; the source says why.
    Llm,
    /// A classifier had no answer in time, and there is none to fall back on.
    OutOfTime,
    /// A classifier has no room for the question, and there is none to fall back on.
    Overloaded,
    /// The system is being shut down, and there is no classifier to fall back on.
    Closed,
    /// A file that was named does not exist.
    NotFound,
    /// Reading or writing failed.
    Io,
}

/// An error with a [kind](Error::kind) to branch on and a message that says what to do.
///
/// The message never contains the query's text.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error, for those who write a [`Classifier`](crate::Classifier) of their own; the message in lower case, without a
    /// full stop, and without the query's text.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// With what has caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(crate) fn io(action: &str, path: &std::path::Path, source: std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Io,
        };
        Self::new(kind, format!("cannot {action} {}: {source}", path.display())).with_source(source)
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// The known name nearest to `written`, if one is near enough to have been meant; case and white space around names do not
/// count.
#[must_use]
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&written, &name.trim().to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// "; did you mean X?" when a known name is near.
pub(crate) fn suggestion<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(written, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        for (known, expected) in [
            (&["id", "Query"][..], Some("Query")),
            (&["queries", "quer"], Some("quer")),
            (&[" query"], Some(" query")),
            (&["id", "text"], None),
            (&[], None),
        ] {
            assert_eq!(nearest("query", known.iter().copied()), expected);
        }
    }
}
