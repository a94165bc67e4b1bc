//! The queue between those who bring work and the threads that do it, and the count of these threads.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::Duration;

use crate::sync::{Condvar, Mutex, MutexGuard};

/// Work in the order it came. Threads are counted here, and started and run by the owner.
#[derive(Debug)]
pub(crate) struct Queue<J> {
    max_threads: usize,
    max_waiting: usize,
    state: Mutex<State<J>>,
    work: Condvar,
}

#[derive(Debug)]
struct State<J> {
    waiting: VecDeque<(u64, J)>,
    next_ticket: u64,
    n_threads: usize,
    /// Those without a job; they look for one before they wait.
    n_idle: usize,
    is_closed: bool,
}

/// What became of a push.
#[derive(Debug)]
pub(crate) enum Push<J> {
    /// The job waits. The ticket takes it out again; a thread that was counted must be started if `start` says so.
    Waiting { ticket: u64, start: bool },
    /// Too many jobs are waiting.
    Full(J),
    /// No more jobs are taken.
    Closed(J),
}

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) n_threads: usize,
    pub(crate) n_idle: usize,
    pub(crate) n_waiting: usize,
}

impl<J> Queue<J> {
    pub(crate) fn new(max_threads: usize, max_waiting: usize) -> Self {
        let state =
            State { waiting: VecDeque::new(), next_ticket: 0, n_threads: 0, n_idle: 0, is_closed: false };
        Self { max_threads, max_waiting, state: Mutex::new(state), work: Condvar::new() }
    }

    /// Puts a job at the end.
    pub(crate) fn push(&self, job: J) -> Push<J> {
        let mut state = self.lock();
        if state.is_closed {
            return Push::Closed(job);
        }
        // Those a thread is about to take do not count as waiting.
        let n_free = state.n_idle + self.max_threads.saturating_sub(state.n_threads);
        if state.waiting.len() >= self.max_waiting.saturating_add(n_free) {
            return Push::Full(job);
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push_back((ticket, job));
        // A thread that was started or woken counts as idle until it has its job, and the job as waiting.
        let start = state.waiting.len() > state.n_idle && state.n_threads < self.max_threads;
        if start {
            state.n_threads += 1;
            state.n_idle += 1;
        } else {
            self.work.notify_one();
        }
        Push::Waiting { ticket, start }
    }

    /// The first job of a thread that was just started.
    pub(crate) fn first(&self, idle_timeout: Duration) -> Option<J> {
        self.wait(self.lock(), idle_timeout)
    }

    /// The next job, for a thread that has done one; waits so long for it. Nothing means that the thread must end: it is
    /// not counted any more.
    pub(crate) fn next(&self, idle_timeout: Duration) -> Option<J> {
        let mut state = self.lock();
        state.n_idle += 1;
        self.wait(state, idle_timeout)
    }

    /// Takes a job out, if no thread has it yet.
    pub(crate) fn cancel(&self, ticket: u64) -> Option<J> {
        let mut state = self.lock();
        let index = state.waiting.binary_search_by_key(&ticket, |&(ticket, _)| ticket).ok()?;
        state.waiting.remove(index).map(|(_, job)| job)
    }

    /// A thread that was counted could not be started. The jobs come back if nobody is left to do them.
    pub(crate) fn start_failed(&self) -> Vec<J> {
        let mut state = self.lock();
        state.leave();
        if state.n_threads == 0 { state.drain() } else { Vec::new() }
    }

    /// Takes no more jobs and gives back those that wait. Threads end when they ask for the next.
    pub(crate) fn close(&self) -> Vec<J> {
        let mut state = self.lock();
        state.is_closed = true;
        self.work.notify_all();
        state.drain()
    }

    pub(crate) fn counts(&self) -> Counts {
        let state = self.lock();
        Counts { n_threads: state.n_threads, n_idle: state.n_idle, n_waiting: state.waiting.len() }
    }

    fn wait(&self, mut state: MutexGuard<'_, State<J>>, idle_timeout: Duration) -> Option<J> {
        let mut is_late = false;
        loop {
            if let Some((_, job)) = state.waiting.pop_front() {
                state.n_idle -= 1;
                return Some(job);
            }
            if state.is_closed || is_late {
                state.leave();
                return None;
            }
            let (relocked, timeout) =
                self.work.wait_timeout(state, idle_timeout).unwrap_or_else(PoisonError::into_inner);
            (state, is_late) = (relocked, timeout.timed_out());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J> State<J> {
    /// An idle thread ends.
    fn leave(&mut self) {
        self.n_idle -= 1;
        self.n_threads -= 1;
    }

    fn drain(&mut self) -> Vec<J> {
        self.waiting.drain(..).map(|(_, job)| job).collect()
    }
}
