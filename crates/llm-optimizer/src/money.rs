//! Money.

use std::fmt;

/// Millionths of a US dollar, which no sum of prices rounds away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MicroDollars(pub u64);

impl MicroDollars {
    /// The nearest amount to one in dollars; nothing for what is less than nothing or no number.
    #[must_use]
    pub fn from_dollars(dollars: f64) -> Self {
        // OK to cast: it saturates, and takes what is no number for nothing.
        Self((dollars * 1e6).round() as u64)
    }

    /// The amount in dollars.
    #[must_use]
    pub fn dollars(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The sum, or the most there can be.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left of it, or nothing.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for MicroDollars {
    /// As `$1.25`, with as many decimals as it takes, two at least.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let decimals = format!("{micros:06}");
        let decimals = decimals.trim_end_matches('0');
        write!(f, "${dollars}.{decimals:0<2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_people_write_them() {
        let text = |micros| MicroDollars(micros).to_string();
        assert_eq!(
            [text(0), text(1_250_000), text(37), text(10_000_000)],
            ["$0.00", "$1.25", "$0.000037", "$10.00"]
        );
        assert_eq!(MicroDollars::from_dollars(f64::NAN), MicroDollars(0));
        assert_eq!(MicroDollars::from_dollars(1.2345678), MicroDollars(1_234_568));
    }
}
