//! Budgets: money is put aside before it is spent, so that no limit is ever exceeded.

use std::fmt::{self, Debug};
use std::time::Duration;

use async_trait::async_trait;

use crate::{LlmError, LlmErrorKind, MicroDollars};

mod book;
mod budgeted;
#[cfg(unix)]
mod local;
mod memory;
#[cfg(feature = "remote")]
mod remote;
mod warning;

pub use budgeted::Budgeted;
#[cfg(unix)]
pub use local::{LocalLedger, LocalLedgerConfig};
pub use memory::MemoryLedger;
#[cfg(feature = "remote")]
pub use remote::{RemoteLedger, RemoteLedgerConfig};

/// Keeps a budget: who wants to spend puts the most it can cost aside first, and says afterwards what it did.
///
/// Days and hours are those of UTC. What is put aside counts as spent until it is settled, and it is settled in the day
/// and the hour it was put aside in. A budget never gets smaller by an accident: what a process had put aside when it
/// was killed stays spent.
#[async_trait]
pub trait Ledger: Debug + Send + Sync + 'static {
    /// Puts an amount aside, if both limits allow it.
    ///
    /// # Errors
    /// `OverBudget` if they do not, with how long it takes until the day or the hour is over;
    /// `BudgetUnknown` if nobody can say.
    async fn reserve(&self, amount: MicroDollars) -> Result<Reservation, LlmError>;

    /// What is spent and what is left.
    ///
    /// # Errors
    /// `BudgetUnknown`.
    async fn state(&self) -> Result<BudgetState, LlmError>;

    /// Waits until all that was settled is on record; to be called before the process ends. What is not on record by
    /// then stays put aside, that is, spent.
    ///
    /// # Errors
    /// `BudgetUnknown` if it cannot be brought there now; it goes on being tried.
    async fn flush(&self) -> Result<(), LlmError>;
}

const _: Option<&dyn Ledger> = None;

/// No budget: everything is allowed and nothing is counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLedger;

#[async_trait]
impl Ledger for NoLedger {
    async fn reserve(&self, amount: MicroDollars) -> Result<Reservation, LlmError> {
        Ok(Reservation::new(amount, |_| {}))
    }

    async fn state(&self) -> Result<BudgetState, LlmError> {
        Ok(BudgetState::default())
    }

    async fn flush(&self) -> Result<(), LlmError> {
        Ok(())
    }
}

/// What may be spent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetLimits {
    /// In a day of UTC. Default: none, without limit.
    pub daily: Option<MicroDollars>,
    /// In an hour of UTC. Default: none, without limit.
    pub hourly: Option<MicroDollars>,
    /// A warning is logged once a day and once an hour when so much of the limit is spent or put aside, in (0, 1].
    /// Default: 0.8.
    pub warn_at: f64,
}

impl Default for BudgetLimits {
    fn default() -> Self {
        Self { daily: None, hourly: None, warn_at: 0.8 }
    }
}

impl BudgetLimits {
    /// Refuses what cannot work.
    fn validate(&self) -> Result<(), LlmError> {
        // Redis reckons in floating point, which is exact up to here: nine billion dollars.
        let most = MicroDollars(1 << 53);
        let is_fit = |limit: Option<MicroDollars>| limit.is_none_or(|limit| limit <= most);
        let message = if !(self.warn_at > 0.0 && self.warn_at <= 1.0) {
            "warn_at is not above 0 and up to 1, write a share such as 0.8"
        } else if !is_fit(self.daily) || !is_fit(self.hourly) {
            "a limit of the budget is above nine billion dollars, leave it out"
        } else {
            return Ok(());
        };
        Err(LlmError::new(LlmErrorKind::InvalidConfig, message))
    }
}

/// What is spent and what is left, in this day and in this hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BudgetState {
    /// Of the day.
    pub day: BudgetWindow,
    /// Of the hour.
    pub hour: BudgetWindow,
}

/// What is spent and what is left of a day or an hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BudgetWindow {
    /// The most that may be spent; none without limit.
    pub limit: Option<MicroDollars>,
    /// What is spent for good.
    pub settled: MicroDollars,
    /// What is put aside, what belonged to killed processes included.
    pub reserved: MicroDollars,
    /// How long it is until the next one begins.
    pub rolls_in: Duration,
    /// Whether so much is gone that a warning was due.
    pub is_warned: bool,
}

impl BudgetWindow {
    /// What may still be put aside; none without limit.
    #[must_use]
    pub fn left(&self) -> Option<MicroDollars> {
        self.limit.map(|limit| limit.minus(self.settled).minus(self.reserved))
    }
}

/// An amount that is put aside. One that is dropped without a word is spent to the last, since a call that was cut off
/// may have cost as much.
#[must_use = "say what was spent"]
pub struct Reservation {
    amount: MicroDollars,
    book: Option<Box<dyn FnOnce(MicroDollars) + Send>>,
}

impl Reservation {
    /// For those who write a [`Ledger`]: `book` is told once what was spent of the amount. It must not block.
    pub fn new(amount: MicroDollars, book: impl FnOnce(MicroDollars) + Send + 'static) -> Self {
        Self { amount, book: Some(Box::new(book)) }
    }

    /// What is put aside.
    #[must_use]
    pub const fn amount(&self) -> MicroDollars {
        self.amount
    }

    /// So much was spent; the rest is free again. It is booked in the background, and in full even if it is more than
    /// was put aside: then the limit may be exceeded by the difference.
    pub fn settle(mut self, spent: MicroDollars) {
        self.tell(spent);
    }

    /// Nothing was spent.
    pub fn release(self) {
        self.settle(MicroDollars(0));
    }

    fn tell(&mut self, spent: MicroDollars) {
        if let Some(book) = self.book.take() {
            book(spent);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.tell(self.amount);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("amount", &self.amount).finish_non_exhaustive()
    }
}

fn unknown(message: impl Into<String>) -> LlmError {
    LlmError::new(LlmErrorKind::BudgetUnknown, message)
}
