//! A budget in memory: of this process alone, and gone with it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use hp_base::Clock;

use super::book::Book;
use super::warning::Warnings;
use super::{BudgetLimits, BudgetState, Ledger, Reservation};
use crate::{LlmError, MicroDollars};

/// A [`Ledger`] in memory. It forgets with the process what was spent: for tests, and for those who have neither a file
/// nor a server.
pub struct MemoryLedger {
    shared: Arc<Shared>,
}

struct Shared {
    limits: BudgetLimits,
    clock: Arc<dyn Clock>,
    book: Mutex<Book>,
    warnings: Warnings,
}

impl MemoryLedger {
    /// A ledger in which nothing is spent.
    ///
    /// # Errors
    /// `InvalidConfig`.
    pub fn new(limits: BudgetLimits, clock: Arc<dyn Clock>) -> Result<Self, LlmError> {
        limits.validate()?;
        let (book, warnings) = (Mutex::default(), Warnings::default());
        Ok(Self { shared: Arc::new(Shared { limits, clock, book, warnings }) })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn reserve(&self, amount: MicroDollars) -> Result<Reservation, LlmError> {
        let shared = &self.shared;
        let (stamp, book) = {
            let mut book = shared.lock();
            (book.reserve(&shared.limits, amount, shared.clock.wall())?, *book)
        };
        shared.warnings.look_at(&book, &shared.limits);
        let shared = Arc::clone(shared);
        Ok(Reservation::new(amount, move |spent| {
            shared.warnings.exceeded(amount, spent);
            shared.lock().settle(stamp, amount.0, spent.0);
        }))
    }

    async fn state(&self) -> Result<BudgetState, LlmError> {
        let shared = &self.shared;
        Ok(shared.lock().state(&shared.limits, shared.clock.wall()))
    }

    async fn flush(&self) -> Result<(), LlmError> {
        Ok(())
    }
}

impl fmt::Debug for MemoryLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLedger").field("limits", &self.shared.limits).finish_non_exhaustive()
    }
}
