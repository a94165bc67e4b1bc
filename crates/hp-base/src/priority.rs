//! How urgent a request is.

use std::fmt;
use std::str::FromStr;

/// How urgent a request is; the order is that of urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Priority {
    /// Can wait: warming, bulk work.
    Low,
    /// A person or a service is waiting.
    #[default]
    Normal,
    /// Goes first.
    High,
}

impl Priority {
    /// All of them, least urgent first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// The name used in configuration, on the command line and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Priority {
    type Err = ParsePriorityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|priority| priority.as_str() == text)
            .ok_or_else(|| ParsePriorityError { text: text.to_owned() })
    }
}

/// The text names no priority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsePriorityError {
    text: String,
}

impl fmt::Display for ParsePriorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown priority {:?}; use low, normal or high", self.text)
    }
}

impl std::error::Error for ParsePriorityError {}

#[cfg(test)]
mod tests {
    use super::Priority;

    #[test]
    fn names_round_trip_and_order_by_urgency() {
        for priority in Priority::ALL {
            assert_eq!(priority.as_str().parse(), Ok(priority));
        }
        assert!(Priority::Low < Priority::Normal && Priority::Normal < Priority::High);
        let error = "urgent".parse::<Priority>().unwrap_err();
        assert_eq!(error.to_string(), "unknown priority \"urgent\"; use low, normal or high");
    }
}
