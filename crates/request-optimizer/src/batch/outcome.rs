//! What becomes of an item.

use std::time::Duration;

/// An item that was handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done<Resp> {
    /// Its result.
    pub value: Resp,
    /// How many items were in the call that gave it; 1 if an earlier one fell apart.
    pub batch_size: usize,
    /// From being submitted to the beginning of that call.
    pub waited: Duration,
}

/// Why an item has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError<E> {
    /// The handler says so.
    #[error("the request failed in its batch")]
    Failed(#[source] E),
    /// Too many wait, none of them less urgent; or it had to leave for one that was more so.
    #[error("too many requests are waiting; ask again in {} ms", retry_after.as_millis())]
    Full {
        /// When there is likely to be room.
        retry_after: Duration,
    },
    /// By what calls take at present, it would not be done by its deadline.
    #[error("the request would not be done in time; ask again in {} ms, or allow more time", retry_after.as_millis())]
    TooLate {
        /// When there is likely to be a slot.
        retry_after: Duration,
    },
    /// Its deadline is over, or too near for another call.
    #[error("the time for the request is over; allow more time")]
    OutOfTime,
    /// The handler panicked at it, or did not give one result for one item.
    #[error("the handler of the request is broken; look for its panic in the log")]
    Panicked,
    /// The batcher takes or does nothing more.
    #[error("the batcher has been closed; submit to a new one")]
    Closed,
}
