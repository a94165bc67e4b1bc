//! The locks and shared pointers of hand-written concurrent code, in one place, so that a model checker can put its own there.

pub(crate) use std::sync::{Arc, Mutex, MutexGuard};
