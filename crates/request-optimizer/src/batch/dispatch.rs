//! Whoever dispatches, and the calls: tasks that are there only while there is work.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use hp_base::{Clock, Priority};
use tokio::sync::{Notify, oneshot};

use super::state::{Batch, Item, Left, State, Step};
use super::{BatchError, BatchHandler, Done};
use crate::lanes::Waiting;

/// How often whoever dispatches lets others run while more items keep coming.
const N_ROUNDS: usize = 4;

/// What an item has with it.
#[derive(Debug)]
pub(super) struct Ticket<Req, Resp, E> {
    pub(super) request: Arc<Req>,
    pub(super) answer: oneshot::Sender<Result<Done<Resp>, BatchError<E>>>,
}

/// What submitters, dispatcher and calls have in common.
#[derive(Debug)]
pub(super) struct Shared<Req, Resp, E, H: ?Sized> {
    pub(super) handler: Arc<H>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) state: State<Ticket<Req, Resp, E>>,
    /// Wakes whoever dispatches.
    pub(super) work: Notify,
    /// Wakes those who wait until nothing is left.
    pub(super) idle: Notify,
}

type Tickets<Req, Resp, E> = Left<Ticket<Req, Resp, E>>;

/// Gives up what waits if whoever dispatches is stopped, such as by the end of its runtime.
struct Dispatching<Req, Resp, E, H: ?Sized>(Option<Arc<Shared<Req, Resp, E, H>>>);

/// Ends a call, however that comes about.
struct UnderWay<'a, Req, Resp, E, H: ?Sized> {
    shared: &'a Shared<Req, Resp, E, H>,
    call: u64,
    /// Whether it went well; nothing if that is not known.
    went_well: Option<bool>,
}

impl<Req, Resp, H> Shared<Req, Resp, H::Error, H>
where
    Req: Send + Sync + 'static,
    Resp: Send + 'static,
    H: BatchHandler<Req, Resp> + ?Sized,
{
    /// Dispatches until nothing waits.
    pub(super) fn start(self: &Arc<Self>) {
        tokio::spawn(Arc::clone(self).dispatch());
    }

    async fn dispatch(self: Arc<Self>) {
        let mut dispatching = Dispatching(Some(Arc::clone(&self)));
        loop {
            match self.state.step(self.clock.now()) {
                Step::End => {
                    dispatching.0 = None;
                    self.idle.notify_waiters();
                    return;
                }
                Step::Wait(None) => self.work.notified().await,
                Step::Wait(Some(most)) => {
                    // OK to ignore: either way it looks again.
                    let _ = tokio::time::timeout(most, self.work.notified()).await;
                }
                Step::Dispatch(urgency) => {
                    if let Some(slot) = self.ready(urgency).await {
                        self.let_gather().await;
                        self.call(slot);
                    }
                }
            }
        }
    }

    /// A slot, unless another is wanted meanwhile, or none.
    async fn ready(&self, urgency: Priority) -> Option<H::Slot> {
        let mut ready = pin!(caught(async { self.handler.ready(urgency).await }));
        loop {
            tokio::select! {
                biased;
                slot = &mut ready => {
                    if slot.is_none() {
                        fail(self.state.drain(), || BatchError::Panicked);
                    }
                    return slot;
                }
                () = self.work.notified() => {
                    if !self.state.still_wants(urgency) {
                        return None;
                    }
                }
            }
        }
    }

    /// Lets those submit who are about to, so that what arrives in the same moment goes together.
    async fn let_gather(&self) {
        let mut n_items = self.state.n_items();
        for _ in 0..N_ROUNDS {
            tokio::task::yield_now().await;
            let n_seen = std::mem::replace(&mut n_items, self.state.n_items());
            if n_items == n_seen {
                return;
            }
        }
    }

    fn call(self: &Arc<Self>, slot: H::Slot) {
        let taken = self.state.take(self.clock.now());
        fail(taken.expired, || BatchError::OutOfTime);
        if let Some(batch) = taken.batch {
            tokio::spawn(Arc::clone(self).handle(slot, batch));
        }
    }

    async fn handle(self: Arc<Self>, slot: H::Slot, batch: Batch<Ticket<Req, Resp, H::Error>>) {
        let mut under_way = UnderWay { shared: &*self, call: batch.call, went_well: None };
        let n_items = batch.items.len();
        let requests = batch.items.iter().map(|item| Arc::clone(&item.value.ticket.request)).collect();
        let outcome = caught(async { self.handler.handle(slot, requests).await }).await;
        let error = match outcome {
            Some(Ok(results)) if results.len() == n_items => {
                under_way.went_well = Some(true);
                drop(under_way);
                for (item, result) in batch.items.into_iter().zip(results) {
                    let waited = batch.started.saturating_duration_since(item.entered);
                    let result = result.map(|value| Done { value, batch_size: n_items, waited });
                    // OK to ignore: the submitter may have gone.
                    let _ = item.value.ticket.answer.send(result.map_err(BatchError::Failed));
                }
                return;
            }
            Some(Err(error)) => {
                under_way.went_well = Some(false);
                BatchError::Failed(error)
            }
            Some(Ok(_)) | None => BatchError::Panicked,
        };
        if n_items > 1 {
            tracing::debug!(n_items, "a batch has failed, and its items are handled one by one");
            self.fall_apart(batch.items);
        } else {
            drop(under_way);
            fail(batch.items, || error.clone());
        }
    }

    fn fall_apart(self: &Arc<Self>, items: Tickets<Req, Resp, H::Error>) {
        let is_wanted = |ticket: &Ticket<Req, Resp, H::Error>| !ticket.answer.is_closed();
        let (given_up, starts) = self.state.fall_apart(items, self.clock.now(), is_wanted);
        if starts {
            self.start();
        }
        fail(given_up, || BatchError::Closed);
    }
}

impl<Req, Resp, E, H: ?Sized> Shared<Req, Resp, E, H> {
    /// Has whoever dispatches, and whoever waits for the end, look again.
    pub(super) fn wake(&self) {
        self.work.notify_one();
        if self.state.is_idle() {
            self.idle.notify_waiters();
        }
    }
}

impl<Req, Resp, E, H: ?Sized> Drop for Dispatching<Req, Resp, E, H> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            fail(shared.state.abandon(), || BatchError::Closed);
            shared.wake();
        }
    }
}

impl<Req, Resp, E, H: ?Sized> Drop for UnderWay<'_, Req, Resp, E, H> {
    fn drop(&mut self) {
        self.shared.state.end(self.call, self.shared.clock.now(), self.went_well);
        self.shared.wake();
    }
}

/// Tells those who wait for items why there is no result.
pub(super) fn fail<Req, Resp, E>(items: Tickets<Req, Resp, E>, why: impl Fn() -> BatchError<E>) {
    for Waiting { value: Item { ticket, .. }, .. } in items {
        // OK to ignore: the submitter may have gone.
        let _ = ticket.answer.send(Err(why()));
    }
}

/// What a future gives, or nothing if it panics.
async fn caught<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        // OK to go on after a panic: the future is not polled again.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Some(output)),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}
