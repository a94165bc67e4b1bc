//! What the thread of the tier and its callers share, and what the one is asked by the others.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{oneshot, watch};

use super::store::Store;
use super::unwritten::Unwritten;
use crate::stats::Counters;
use crate::{CacheError, Forget, Key, TierState};

/// What the thread and the callers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: RwLock<Option<Arc<Store>>>,
    pub(super) state: watch::Sender<TierState>,
    pub(super) epoch: AtomicU32,
    pub(super) counters: Counters,
    pub(super) unwritten: Unwritten,
    /// A read has met damage.
    pub(super) is_damaged: AtomicBool,
    pub(super) n_entries: AtomicU64,
    pub(super) n_bytes: AtomicU64,
    pub(super) n_queued: AtomicU64,
    pub(super) n_queued_bytes: AtomicU64,
    pub(super) n_dropped_writes: AtomicU64,
    pub(super) n_quarantines: AtomicU64,
}

/// What is to be written, and who waits for it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) order: Order,
    pub(super) done: Option<oneshot::Sender<Result<(), CacheError>>>,
}

#[derive(Debug)]
pub(super) enum Order {
    Put {
        key: Key,
        body: Vec<u8>,
        codec_version: u16,
        expires_ms: u64,
    },
    /// Drops what need not stay dropped after a loss of power.
    Drop(Key),
    Forget(Forget),
    Note {
        name: String,
        bytes: Vec<u8>,
    },
    /// Nothing to write: there is something to look at.
    Wake,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            store: RwLock::new(None),
            state: watch::Sender::new(TierState::Starting),
            epoch: AtomicU32::new(0),
            counters: Counters::new(),
            unwritten: Unwritten::default(),
            is_damaged: AtomicBool::new(false),
            n_entries: AtomicU64::new(0),
            n_bytes: AtomicU64::new(0),
            n_queued: AtomicU64::new(0),
            n_queued_bytes: AtomicU64::new(0),
            n_dropped_writes: AtomicU64::new(0),
            n_quarantines: AtomicU64::new(0),
        }
    }

    pub(super) fn state(&self) -> TierState {
        *self.state.borrow()
    }

    pub(super) fn publish(&self, store: Option<Arc<Store>>) {
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = store;
    }
}

impl Order {
    pub(super) fn n_bytes(&self) -> u64 {
        match self {
            Self::Put { body, .. } => body.len() as u64,
            Self::Note { bytes, .. } => bytes.len() as u64,
            Self::Drop(_) | Self::Forget(_) | Self::Wake => 0,
        }
    }
}
