//! Who does the work.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use hp_base::Priority;

/// Handles many items in one call.
#[async_trait]
pub trait BatchHandler<Req, Resp>: Debug + Send + Sync + 'static {
    /// Room for one call, such as a permit; given back by being dropped.
    type Slot: Send + 'static;

    /// Why an item failed.
    type Error: Clone + Send + Sync + 'static;

    /// Waits until there is room for one more call. It may be dropped at any time, and asked again with a higher urgency.
    async fn ready(&self, urgency: Priority) -> Self::Slot;

    /// Handles a batch: one result for each item, in the order of the items.
    ///
    /// # Errors
    ///
    /// The batch has failed as a whole. Then, as after a wrong number of results and after a panic, it falls apart: each
    /// of its items is handled once more, by itself.
    async fn handle(
        &self,
        slot: Self::Slot,
        batch: Vec<Arc<Req>>,
    ) -> Result<Vec<Result<Resp, Self::Error>>, Self::Error>;
}
