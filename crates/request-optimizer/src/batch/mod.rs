//! One call for many: items that arrive while calls are under way share the next one.

mod config;
mod dispatch;
mod handler;
mod outcome;
mod service;
mod state;

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use hp_base::{Clock, Priority};
use tokio::sync::{Notify, oneshot};

pub use self::config::{BatcherConfig, BatcherStats, Terms};
use self::dispatch::{Shared, Ticket, fail};
pub use self::handler::BatchHandler;
pub use self::outcome::{BatchError, Done};
use self::state::{Item, Refusal, State};
use crate::lanes::ItemId;

/// Has many requests handled in few calls, without letting any wait for company.
///
/// As long as a slot is free, an item goes at once, along with those that arrive in the same moment. Items gather only
/// while all slots are taken: the busier the handler, the larger the batches. Of several slots the last is kept for a
/// batch that is full, or whose oldest item has waited for [`BatcherConfig::batch_timeout`], or that could not wait so
/// long, so that a burst of single items does not take all slots from those behind it that could share one.
///
/// Who goes first is decided by [`Lanes`](crate::Lanes). Nobody joins a batch who would not make their deadline by what
/// calls take at present, and who would not even if they waited is told at once.
///
/// There is no task while nothing is to be done. It needs a tokio runtime with time.
///
/// ```
/// use std::sync::Arc;
/// use async_trait::async_trait;
/// use hp_base::{Priority, SystemClock};
/// use request_optimizer::{BatchHandler, Batcher, BatcherConfig, Terms};
///
/// #[derive(Debug)]
/// struct Lengths;
///
/// #[async_trait]
/// impl BatchHandler<String, usize> for Lengths {
///     type Slot = ();
///     type Error = String;
///
///     async fn ready(&self, _: Priority) {}
///
///     async fn handle(&self, (): (), batch: Vec<Arc<String>>) -> Result<Vec<Result<usize, String>>, String> {
///         Ok(batch.iter().map(|text| Ok(text.len())).collect())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let batcher = Batcher::new(Arc::new(Lengths), BatcherConfig::default(), Arc::new(SystemClock));
/// let submit = |text: &str| batcher.submit(text.to_owned(), Terms::default());
/// let (one, two) = tokio::join!(submit("citrate"), submit("urea"));
/// assert_eq!((one.unwrap().value, two.unwrap().value), (7, 4));
/// assert_eq!(batcher.stats().n_batches, 1);
/// # }
/// ```
pub struct Batcher<Req, Resp, H: BatchHandler<Req, Resp> + ?Sized> {
    shared: Arc<Shared<Req, Resp, H::Error, H>>,
}

/// An item's place among those that wait, until it is dropped.
struct InLine<'a, Req, Resp, H: BatchHandler<Req, Resp> + ?Sized> {
    shared: &'a Shared<Req, Resp, H::Error, H>,
    id: ItemId,
    answer: oneshot::Receiver<Result<Done<Resp>, BatchError<H::Error>>>,
}

impl<Req, Resp, H> Batcher<Req, Resp, H>
where
    Req: Send + Sync + 'static,
    Resp: Send + 'static,
    H: BatchHandler<Req, Resp> + ?Sized,
{
    /// An idle batcher.
    #[must_use]
    pub fn new(handler: Arc<H>, config: BatcherConfig, clock: Arc<dyn Clock>) -> Self {
        let state = State::new(config);
        Self { shared: Arc::new(Shared { handler, clock, state, work: Notify::new(), idle: Notify::new() }) }
    }

    /// Has a request handled. Dropping this takes the item out, if its call has not begun.
    ///
    /// # Errors
    ///
    /// What the handler says of the item; or it was refused, displaced or too late, or the handler is broken, or the
    /// batcher closed.
    pub async fn submit(&self, request: Req, terms: Terms) -> Result<Done<Resp>, BatchError<H::Error>> {
        let (sender, answer) = oneshot::channel();
        let place = terms.place();
        let ticket = Ticket { request: Arc::new(request), answer: sender };
        let item = Item { ticket, urgency: terms.urgency.clone() };
        let entered = match self.shared.state.enter(item, place, self.shared.clock.now()) {
            Ok(entered) => entered,
            Err((_, refusal)) => return Err(refusal.into()),
        };
        let line = InLine { shared: &self.shared, id: entered.id, answer };
        if let Some((item, retry_after)) = entered.displaced {
            fail(vec![item], || BatchError::Full { retry_after });
        }
        if entered.starts {
            self.shared.start();
        } else {
            self.shared.work.notify_one();
        }
        line.wait(terms, place.lane).await
    }

    /// Allows so many calls at once from now on; 0 counts as 1. Calls under way are left to end.
    pub fn set_max_in_flight(&self, n_calls: usize) {
        self.shared.state.set_max_in_flight(n_calls);
        self.shared.wake();
    }

    /// Puts at the most so many items into a call from now on; 0 counts as 1.
    pub fn set_max_batch_size(&self, n_items: usize) {
        self.shared.state.set_max_batch_size(n_items);
        self.shared.wake();
    }

    /// What it has done, and how things stand.
    pub fn stats(&self) -> BatcherStats {
        self.shared.state.stats()
    }

    /// Takes nothing more, and waits until everything is done or dropped; says how many items that were.
    pub async fn close(&self) -> usize {
        let n_items = self.shared.state.close();
        loop {
            let idle = self.shared.idle.notified();
            if self.shared.state.is_idle() {
                return n_items;
            }
            idle.await;
        }
    }
}

impl<Req, Resp, H: BatchHandler<Req, Resp> + ?Sized> Batcher<Req, Resp, H> {
    /// Takes nothing more, and fails what waits at once. Calls under way are left to end.
    pub fn shut(&self) {
        fail(self.shared.state.shut(), || BatchError::Closed);
        self.shared.wake();
    }
}

impl<Req, Resp, H: BatchHandler<Req, Resp> + ?Sized> InLine<'_, Req, Resp, H> {
    async fn wait(mut self, terms: Terms, lane: Priority) -> Result<Done<Resp>, BatchError<H::Error>> {
        let mut lane = lane;
        let mut grace = Some(terms.grace).filter(|grace| !grace.is_zero());
        let is_late = sleep(terms.deadline.left(&*self.shared.clock));
        tokio::pin!(is_late);
        loop {
            tokio::select! {
                biased;
                answer = &mut self.answer => return answer.unwrap_or(Err(BatchError::Closed)),
                () = &mut is_late => match grace.take() {
                    Some(grace) if !self.shared.state.is_waiting(self.id) => is_late.set(sleep(grace)),
                    _ => {
                        self.answer.close();
                        let _ = self.shared.state.expire(self.id);
                        self.shared.wake();
                        return Err(BatchError::OutOfTime);
                    }
                },
                higher = terms.urgency.above(lane), if lane < Priority::High => {
                    lane = higher;
                    self.shared.state.raise(self.id, lane, self.shared.clock.now());
                    self.shared.work.notify_one();
                }
            }
        }
    }
}

async fn sleep(time: Duration) {
    match time {
        Duration::MAX => std::future::pending().await,
        time => tokio::time::sleep(time).await,
    }
}

impl<Req, Resp, H: BatchHandler<Req, Resp> + ?Sized> Drop for InLine<'_, Req, Resp, H> {
    fn drop(&mut self) {
        // First, so that it is not put back by a batch that falls apart.
        self.answer.close();
        if self.shared.state.cancel(self.id).is_some() {
            self.shared.wake();
        }
    }
}

impl<Req, Resp, H: BatchHandler<Req, Resp> + ?Sized> Drop for Batcher<Req, Resp, H> {
    fn drop(&mut self) {
        self.shut();
    }
}

impl<Req, Resp, H: BatchHandler<Req, Resp> + ?Sized> Debug for Batcher<Req, Resp, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher")
            .field("handler", &self.shared.handler)
            .field("stats", &self.shared.state.stats())
            .finish_non_exhaustive()
    }
}

impl<E> From<Refusal> for BatchError<E> {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full(retry_after) => Self::Full { retry_after },
            Refusal::TooLate(retry_after) => Self::TooLate { retry_after },
            Refusal::OutOfTime => Self::OutOfTime,
            Refusal::Closed => Self::Closed,
        }
    }
}

#[cfg(test)]
mod tests;
