//! Where one who waits is told how it goes on.

use std::mem;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

use crate::sync::{Arc, Mutex, MutexGuard};

/// What a leader leaves to those who wait: its value or its error.
pub(super) type Landed<V, E> = Result<Arc<V>, Arc<E>>;

/// What one who waits is told.
pub(super) enum Told<V, E> {
    /// The computation has ended.
    Landed(Landed<V, E>),
    /// The computation has panicked.
    Panicked,
    /// It is its turn to lead.
    Lead,
}

/// The seat of one who waits. It is told one thing.
pub(super) struct Seat<V, E>(Mutex<State<V, E>>);

enum State<V, E> {
    Waiting(Option<Waker>),
    Told(Told<V, E>),
}

impl<V, E> Seat<V, E> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State::Waiting(None)))
    }

    /// Says it, and wakes whoever sits there.
    pub(super) fn tell(&self, told: Told<V, E>) {
        let before = mem::replace(&mut *self.lock(), State::Told(told));
        if let State::Waiting(Some(waker)) = before {
            waker.wake();
        }
    }

    /// What was said, once something was.
    pub(super) fn poll_told(&self, context: &Context<'_>) -> Poll<Told<V, E>> {
        // Cloned before the lock and dropped after it, since both may run code of the executor's.
        let waiting = State::Waiting(Some(context.waker().clone()));
        let before = mem::replace(&mut *self.lock(), waiting);
        match before {
            State::Waiting(_) => Poll::Pending,
            State::Told(told) => Poll::Ready(told),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<V, E>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V, E> Clone for Told<V, E> {
    fn clone(&self) -> Self {
        match self {
            Self::Landed(Ok(value)) => Self::Landed(Ok(Arc::clone(value))),
            Self::Landed(Err(error)) => Self::Landed(Err(Arc::clone(error))),
            Self::Panicked => Self::Panicked,
            Self::Lead => Self::Lead,
        }
    }
}
