//! Warnings about a budget that comes to its end, once a day and once an hour.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::book::{Book, Stamp};
use super::{BudgetLimits, BudgetState, BudgetWindow};
use crate::MicroDollars;

/// Remembers what was warned of.
#[derive(Debug, Default)]
pub(super) struct Warnings {
    /// One more than the number of the day that was warned of last, and of the hour.
    day: AtomicU64,
    hour: AtomicU64,
    has_exceeded: AtomicBool,
}

impl Warnings {
    /// Looks at a book after something was put aside.
    pub(super) fn look_at(&self, book: &Book, limits: &BudgetLimits) {
        let stamp = Stamp { day: book.day.number, hour: book.hour.number };
        // OK to look from any second: only what is gone counts.
        self.look(stamp, &book.windows(limits, 0));
    }

    /// Looks at a state, and says how many warnings it has logged.
    pub(super) fn look(&self, stamp: Stamp, state: &BudgetState) -> usize {
        let windows =
            [("day", &self.day, stamp.day, &state.day), ("hour", &self.hour, stamp.hour, &state.hour)];
        let mut n_warnings = 0;
        for (name, warned, number, window) in windows {
            if window.is_warned && warned.swap(number + 1, Ordering::Relaxed) != number + 1 {
                warn(name, window);
                n_warnings += 1;
            }
        }
        n_warnings
    }

    /// A call has cost more than was put aside for it.
    pub(super) fn exceeded(&self, reserved: MicroDollars, spent: MicroDollars) {
        if spent > reserved && !self.has_exceeded.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %reserved,
                %spent,
                "a call has cost more than was put aside for it; check the prices, and raise the margin"
            );
        }
    }
}

fn warn(name: &str, window: &BudgetWindow) {
    let gone = window.settled.plus(window.reserved);
    let limit = window.limit.unwrap_or_default();
    tracing::warn!(window = name, %gone, %limit, "the budget comes to its end");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_day_and_each_hour_is_warned_of_once() {
        let limits = BudgetLimits { daily: Some(MicroDollars(1_000)), ..BudgetLimits::default() };
        let limits = BudgetLimits { hourly: Some(MicroDollars(100)), ..limits };
        let warnings = Warnings::default();
        let mut book = Book::default();
        let mut spend = |amount, day: u64, hour: u64| {
            let now = std::time::SystemTime::UNIX_EPOCH
                + std::time::Duration::from_secs(day * 86_400 + hour * 3_600);
            let stamp = book.reserve(&limits, MicroDollars(amount), now).unwrap();
            warnings.look(stamp, &book.windows(&limits, 0))
        };
        assert_eq!(
            [spend(79, 0, 0), spend(1, 0, 0), spend(20, 0, 0), spend(80, 0, 1), spend(80, 0, 2)],
            [0, 1, 0, 1, 1]
        );
        for hour in 3..9 {
            spend(100, 0, hour);
        }
        assert_eq!([spend(80, 1, 0), spend(10, 1, 0)], [1, 0]);
    }
}
