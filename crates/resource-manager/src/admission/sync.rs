//! The lock of the gate, in a place of its own, so that a model checker can put in its own.

pub(crate) use std::sync::{Mutex, MutexGuard};
