//! A priority that can rise while a request waits.

use std::sync::Arc;

use hp_base::Priority;
use tokio::sync::watch;

/// How urgent a request is, which may rise when somebody more urgent comes to wait for it; all clones rise together.
///
/// ```
/// use hp_base::Priority;
/// use request_optimizer::Urgency;
///
/// let urgency = Urgency::new(Priority::Low);
/// let seen_by_the_queue = urgency.clone();
/// urgency.raise(Priority::High);
/// urgency.raise(Priority::Normal);
/// assert_eq!(seen_by_the_queue.now(), Priority::High);
/// ```
#[derive(Debug, Clone)]
pub struct Urgency(Arc<watch::Sender<Priority>>);

impl Urgency {
    /// As urgent as `priority`, for now.
    #[must_use]
    pub fn new(priority: Priority) -> Self {
        Self(Arc::new(watch::Sender::new(priority)))
    }

    /// At least as urgent as `priority` from now on.
    pub fn raise(&self, priority: Priority) {
        self.0.send_if_modified(|current| {
            let rises = priority > *current;
            *current = (*current).max(priority);
            rises
        });
    }

    /// How urgent it is now.
    #[must_use]
    pub fn now(&self) -> Priority {
        *self.0.borrow()
    }

    /// Waits until it is more urgent than `than`, and says how urgent it is then. May be dropped at any time.
    pub async fn above(&self, than: Priority) -> Priority {
        let mut receiver = self.0.subscribe();
        // OK to fall back: the sender lives as long as this does.
        receiver.wait_for(|&priority| priority > than).await.map_or(than, |priority| *priority)
    }
}

impl From<Priority> for Urgency {
    fn from(priority: Priority) -> Self {
        Self::new(priority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_for_a_rise_hears_of_it() {
        let urgency = Urgency::new(Priority::Low);
        let waiting = tokio::spawn({
            let urgency = urgency.clone();
            async move { urgency.above(Priority::Normal).await }
        });
        urgency.raise(Priority::Normal);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        urgency.raise(Priority::High);
        assert_eq!(waiting.await.unwrap(), Priority::High);
        assert_eq!(urgency.above(Priority::Low).await, Priority::High);
    }
}
