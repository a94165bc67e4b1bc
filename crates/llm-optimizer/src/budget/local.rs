//! A budget in a file, shared by the processes of one machine.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use async_trait::async_trait;
use hp_base::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::book::Stamp;
use super::warning::Warnings;
use super::{BudgetLimits, BudgetState, Ledger, Reservation, unknown};
use crate::{LlmError, LlmErrorKind, MicroDollars};

mod clerk;
mod file;

use clerk::Clerk;
use file::BudgetFile;

/// More who wait for the file at once are turned away.
const MOST_WAITING: usize = 10_000;

/// Where a [`LocalLedger`] keeps its budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalLedgerConfig {
    /// The file; one file, one budget. Its folder is made if it is missing. Not on a network's file system, whose
    /// locks are none.
    pub path: PathBuf,
    /// The longest a call waits for the file. Default: 250 ms.
    pub timeout: Duration,
    /// Whether each amount put aside is on the disk before the call is made, which takes some milliseconds. Without it
    /// the budget survives whatever happens to processes, and a failure of power or of the system may forget the last
    /// half minute. Default: false.
    pub sync: bool,
}

impl LocalLedgerConfig {
    /// A budget in that file.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), timeout: Duration::from_millis(250), sync: false }
    }
}

/// A [`Ledger`] in a file: it survives restarts, and processes of one machine share it.
///
/// An amount is on file before the call is made, so a process that is killed leaves behind what it had put aside, and
/// that stays spent until the day is over. A thread of the ledger's own reads and writes, several calls at once where
/// there are as many, under a lock that each process holds for microseconds. If another one holds it and does not let
/// go, calls are refused with `BudgetUnknown`, and what is settled meanwhile is brought later.
///
/// The file holds two copies, checksummed and written in turns: if one is damaged, the other is as old as one write. If
/// both are, the ledger refuses to work and says to delete the file; that is how to begin anew, and running processes
/// notice it.
pub struct LocalLedger {
    path: PathBuf,
    limits: BudgetLimits,
    timeout: Duration,
    tasks: Sender<Task>,
    places: Arc<Semaphore>,
    warnings: Arc<Warnings>,
}

/// What the clerk is asked to do.
enum Task {
    Reserve { amount: MicroDollars, reply: Reply<Grant>, tasks: Sender<Task>, _place: OwnedSemaphorePermit },
    Settle(Settlement),
    Look { reply: Reply<BudgetState> },
    Flush { reply: Reply<()> },
}

type Reply<T> = oneshot::Sender<Result<T, LlmError>>;

/// What was put aside, and what became of it.
#[derive(Debug, Clone, Copy)]
struct Settlement {
    stamp: Stamp,
    reserved: u64,
    spent: u64,
}

/// An amount that is put aside, on its way to the one who asked. If nobody is there any more, nothing was spent.
struct Grant {
    stamp: Stamp,
    amount: MicroDollars,
    tasks: Option<Sender<Task>>,
}

impl Grant {
    fn into_reservation(mut self, warnings: Arc<Warnings>) -> Reservation {
        let (stamp, amount, tasks) = (self.stamp, self.amount, self.tasks.take());
        Reservation::new(amount, move |spent| {
            warnings.exceeded(amount, spent);
            send_settlement(tasks.as_ref(), stamp, amount, spent);
        })
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        send_settlement(self.tasks.as_ref(), self.stamp, self.amount, MicroDollars(0));
    }
}

fn send_settlement(tasks: Option<&Sender<Task>>, stamp: Stamp, reserved: MicroDollars, spent: MicroDollars) {
    if let Some(tasks) = tasks {
        // OK to ignore: a clerk who is gone leaves the amount put aside, that is, spent.
        let _ = tasks.send(Task::Settle(Settlement { stamp, reserved: reserved.0, spent: spent.0 }));
    }
}

impl LocalLedger {
    /// Opens or makes the file, which may take as long as a call may wait.
    ///
    /// # Errors
    /// `InvalidConfig` for limits or a file that cannot be used, and `BudgetUnknown` for one that is damaged.
    pub fn open(
        config: LocalLedgerConfig,
        limits: BudgetLimits,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LlmError> {
        limits.validate()?;
        let LocalLedgerConfig { path, timeout, sync } = config;
        let mut file = BudgetFile::new(path.clone(), timeout);
        file.prepare()?;
        let warnings = Arc::new(Warnings::default());
        let tasks = Clerk::start(file, limits, clock, sync, Arc::clone(&warnings))?;
        Ok(Self { path, limits, timeout, tasks, places: Arc::new(Semaphore::new(MOST_WAITING)), warnings })
    }

    async fn ask<T>(&self, task: impl FnOnce(Reply<T>) -> Task) -> Result<T, LlmError> {
        let (reply, answer) = oneshot::channel();
        self.tasks.send(task(reply)).map_err(|_| gone())?;
        match timeout(self.timeout, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(gone()),
            Err(_) => Err(unknown("the file of the budget was not read in time")),
        }
    }
}

fn gone() -> LlmError {
    unknown("the thread of the budget has ended, restart the process")
}

#[async_trait]
impl Ledger for LocalLedger {
    async fn reserve(&self, amount: MicroDollars) -> Result<Reservation, LlmError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| unknown("too many calls wait for the file of the budget"))?;
        let tasks = self.tasks.clone();
        let grant = self.ask(|reply| Task::Reserve { amount, reply, tasks, _place: place }).await?;
        Ok(grant.into_reservation(Arc::clone(&self.warnings)))
    }

    async fn state(&self) -> Result<BudgetState, LlmError> {
        self.ask(|reply| Task::Look { reply }).await
    }

    async fn flush(&self) -> Result<(), LlmError> {
        self.ask(|reply| Task::Flush { reply }).await
    }
}

impl fmt::Debug for LocalLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalLedger")
            .field("path", &self.path)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

fn invalid(message: impl Into<String>) -> LlmError {
    LlmError::new(LlmErrorKind::InvalidConfig, message)
}
