//! The arithmetic of a budget: two accounts, of a day and of an hour, and the calendar.

use std::time::{Duration, SystemTime};

use super::{BudgetLimits, BudgetState, BudgetWindow};
use crate::{LlmError, LlmErrorKind, MicroDollars};

pub(super) const DAY: u64 = 86_400;
pub(super) const HOUR: u64 = 3_600;

/// The day and the hour something was put aside in, counted from 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Stamp {
    pub(super) day: u64,
    pub(super) hour: u64,
}

/// What happened to the money of one day or one hour, in micro-dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// Which day or hour, counted from 1970.
    pub(super) number: u64,
    pub(super) settled: u64,
    pub(super) reserved: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Book {
    pub(super) day: Account,
    pub(super) hour: Account,
}

impl Account {
    /// A calendar that is set back does not give the money a second time.
    fn roll(&mut self, number: u64) {
        if number > self.number {
            *self = Self { number, ..Self::default() };
        }
    }

    pub(super) fn gone(&self) -> u64 {
        self.settled.saturating_add(self.reserved)
    }

    fn is_over(&self, limit: Option<MicroDollars>, amount: MicroDollars) -> bool {
        limit.is_some_and(|limit| self.gone().saturating_add(amount.0) > limit.0)
    }

    fn settle(&mut self, number: u64, reserved: u64, spent: u64) {
        if self.number == number {
            self.reserved = self.reserved.saturating_sub(reserved);
            self.settled = self.settled.saturating_add(spent);
        }
    }

    fn window(&self, limit: Option<MicroDollars>, warn_at: f64, length: u64, now: u64) -> BudgetWindow {
        let end = self.number.saturating_add(1).saturating_mul(length);
        BudgetWindow {
            limit,
            settled: MicroDollars(self.settled),
            reserved: MicroDollars(self.reserved),
            rolls_in: Duration::from_secs(end.saturating_sub(now)),
            is_warned: limit.is_some_and(|limit| self.gone() as f64 >= limit.0 as f64 * warn_at),
        }
    }
}

impl Book {
    pub(super) fn reserve(
        &mut self,
        limits: &BudgetLimits,
        amount: MicroDollars,
        now: SystemTime,
    ) -> Result<Stamp, LlmError> {
        self.roll(seconds(now));
        if self.day.is_over(limits.daily, amount) || self.hour.is_over(limits.hourly, amount) {
            return Err(over_budget(limits, &self.state(limits, now), amount));
        }
        self.day.reserved = self.day.reserved.saturating_add(amount.0);
        self.hour.reserved = self.hour.reserved.saturating_add(amount.0);
        Ok(Stamp { day: self.day.number, hour: self.hour.number })
    }

    pub(super) fn settle(&mut self, stamp: Stamp, reserved: u64, spent: u64) {
        self.day.settle(stamp.day, reserved, spent);
        self.hour.settle(stamp.hour, reserved, spent);
    }

    /// What is left now, in the day and the hour it is now.
    pub(super) fn state(&self, limits: &BudgetLimits, now: SystemTime) -> BudgetState {
        let (mut book, now) = (*self, seconds(now));
        book.roll(now);
        book.windows(limits, now)
    }

    /// The accounts as they stand, seen from a second since 1970.
    pub(super) fn windows(&self, limits: &BudgetLimits, now: u64) -> BudgetState {
        BudgetState {
            day: self.day.window(limits.daily, limits.warn_at, DAY, now),
            hour: self.hour.window(limits.hourly, limits.warn_at, HOUR, now),
        }
    }

    fn roll(&mut self, now: u64) {
        self.day.roll(now / DAY);
        self.hour.roll(now / HOUR);
    }
}

/// The error of an amount that does not fit, with the wait until it might.
pub(super) fn over_budget(limits: &BudgetLimits, state: &BudgetState, amount: MicroDollars) -> LlmError {
    let windows = [("day", limits.daily, &state.day), ("hour", limits.hourly, &state.hour)];
    let mut wait = None;
    let mut message = String::new();
    for (name, limit, window) in windows {
        let Some(limit) = limit.filter(|_| window.left().is_some_and(|left| amount > left)) else { continue };
        if amount > limit {
            message = format!(
                "the call may cost {amount}, and the budget of a whole {name} is {limit}; \
                 raise it or ask for fewer tokens"
            );
            return LlmError::new(LlmErrorKind::OverBudget, message);
        }
        if wait < Some(window.rolls_in) {
            wait = Some(window.rolls_in);
            message = format!("the budget of the {name}, {limit}, is spent; wait for the next or raise it");
        }
    }
    let error = LlmError::new(LlmErrorKind::OverBudget, message);
    match wait {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

/// Seconds since 1970; what was before is 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
#[path = "../tests/book.rs"]
mod tests;
