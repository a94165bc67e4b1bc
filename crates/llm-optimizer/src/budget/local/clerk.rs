//! The thread that keeps the file: it takes what has come up meanwhile together, under one lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, SystemTime};

use hp_base::Clock;

use super::file::BudgetFile;
use super::{Grant, Settlement, Stamp, Task, Warnings, invalid};
use crate::LlmError;
use crate::budget::book::Book;
use crate::budget::{BudgetLimits, BudgetState};

/// The most tasks under one lock.
const BATCH: usize = 1_000;

/// How often what could not be brought to the file is tried again while nobody asks for anything else.
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// How often that is tried when all who use the ledger have gone.
const N_LAST_TRIES: usize = 5;

pub(super) struct Clerk {
    file: BudgetFile,
    limits: BudgetLimits,
    clock: Arc<dyn Clock>,
    sync: bool,
    warnings: Arc<Warnings>,
    /// What was put aside and what was spent of it, and is not on file yet.
    owed: HashMap<Stamp, (u64, u64)>,
}

/// What has come of a task under the lock, to be told after it.
enum Answer {
    Reserved(Result<Stamp, LlmError>),
    Looked(BudgetState),
    Nothing,
}

impl Clerk {
    /// Starts the thread, which ends when the sender and all its clones are gone.
    pub(super) fn start(
        file: BudgetFile,
        limits: BudgetLimits,
        clock: Arc<dyn Clock>,
        sync: bool,
        warnings: Arc<Warnings>,
    ) -> Result<Sender<Task>, LlmError> {
        let (sender, tasks) = channel();
        let clerk = Self { file, limits, clock, sync, warnings, owed: HashMap::new() };
        let thread = std::thread::Builder::new().name("budget".to_owned());
        thread
            .spawn(move || clerk.work(&tasks))
            .map_err(|error| invalid("the thread of the budget cannot be started").with_source(error))?;
        Ok(sender)
    }

    fn work(mut self, tasks: &Receiver<Task>) {
        let mut n_last_tries = 0;
        while n_last_tries < N_LAST_TRIES {
            let first = if self.owed.is_empty() {
                tasks.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                tasks.recv_timeout(TRY_AGAIN)
            };
            match first {
                Ok(first) => {
                    let batch = std::iter::once(first).chain(tasks.try_iter().take(BATCH - 1)).collect();
                    self.take(batch);
                }
                Err(RecvTimeoutError::Timeout) => self.take(Vec::new()),
                Err(RecvTimeoutError::Disconnected) if self.owed.is_empty() => return,
                Err(RecvTimeoutError::Disconnected) => {
                    n_last_tries += 1;
                    self.take(Vec::new());
                }
            }
        }
        tracing::warn!(
            "what calls have cost could not be written, and stays put aside until the day is over"
        );
    }

    fn take(&mut self, batch: Vec<Task>) {
        let mut tasks = Vec::with_capacity(batch.len());
        for task in batch {
            match task {
                Task::Settle(settlement) => self.owe(settlement),
                // Who waits no longer gets nothing put aside.
                Task::Reserve { reply, .. } if reply.is_closed() => {}
                other => tasks.push(other),
            }
        }
        if tasks.is_empty() && self.owed.is_empty() {
            return;
        }
        let Self { file, limits, clock, owed, .. } = self;
        let changed = file.change(|book| {
            for (&stamp, &(reserved, spent)) in &*owed {
                book.settle(stamp, reserved, spent);
            }
            let now = clock.wall();
            let answers: Vec<_> = tasks.iter().map(|task| answer(task, book, limits, now)).collect();
            (answers, *book)
        });
        let (mut answers, book) = match changed {
            Ok(changed) => changed,
            Err(error) => return tasks.into_iter().for_each(|task| refuse(task, &error)),
        };
        self.owed.clear();
        self.warnings.look_at(&book, &self.limits);
        if self.sync && answers.iter().any(|answer| matches!(answer, Answer::Reserved(Ok(_)))) {
            self.sync(&tasks, &mut answers);
        }
        tasks.into_iter().zip(answers).for_each(|(task, answer)| Self::tell(task, answer));
    }

    /// Brings what was put aside to the disk; if that fails, it is given back.
    fn sync(&mut self, tasks: &[Task], answers: &mut [Answer]) {
        let Err(error) = self.file.sync() else { return };
        for (task, answer) in tasks.iter().zip(answers) {
            if let (Task::Reserve { amount, .. }, &mut Answer::Reserved(Ok(stamp))) = (task, &mut *answer) {
                self.owe(Settlement { stamp, reserved: amount.0, spent: 0 });
                *answer = Answer::Reserved(Err(LlmError::new(error.kind(), error.to_string())));
            }
        }
    }

    fn tell(task: Task, answer: Answer) {
        // OK to ignore those who wait no longer: a grant that is not received gives back what it holds.
        match (task, answer) {
            (Task::Reserve { amount, reply, tasks, .. }, Answer::Reserved(stamp)) => {
                let _ = reply.send(stamp.map(|stamp| Grant { stamp, amount, tasks: Some(tasks) }));
            }
            (Task::Look { reply }, Answer::Looked(state)) => {
                let _ = reply.send(Ok(state));
            }
            (Task::Flush { reply }, _) => {
                let _ = reply.send(Ok(()));
            }
            _ => {}
        }
    }

    fn owe(&mut self, settlement: Settlement) {
        let Settlement { stamp, reserved, spent } = settlement;
        let owed = self.owed.entry(stamp).or_default();
        *owed = (owed.0.saturating_add(reserved), owed.1.saturating_add(spent));
    }
}

fn answer(task: &Task, book: &mut Book, limits: &BudgetLimits, now: SystemTime) -> Answer {
    match task {
        Task::Reserve { amount, .. } => Answer::Reserved(book.reserve(limits, *amount, now)),
        Task::Look { .. } => Answer::Looked(book.state(limits, now)),
        Task::Settle(_) | Task::Flush { .. } => Answer::Nothing,
    }
}

/// Tells one who waits that the file could not be changed.
fn refuse(task: Task, error: &LlmError) {
    let error = LlmError::new(error.kind(), error.to_string());
    // OK to ignore those who wait no longer.
    match task {
        Task::Reserve { reply, .. } => {
            let _ = reply.send(Err(error));
        }
        Task::Look { reply } => {
            let _ = reply.send(Err(error));
        }
        Task::Flush { reply } => {
            let _ = reply.send(Err(error));
        }
        Task::Settle(_) => {}
    }
}
