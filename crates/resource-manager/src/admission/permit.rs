//! Leave to work, which ends when it is dropped.

use std::fmt;

/// How the work under a [`Permit`] has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done; how long it took counts.
    Done,
    /// What is behind was too busy: it has refused (429), timed out, or let nobody connect.
    Overloaded,
    /// Nobody has said.
    Unknown,
}

/// Leave to work, until it is dropped.
///
/// Dropped without a word, as when a request is cancelled, it tells nothing of what is behind.
#[must_use = "without a permit nothing may be under way"]
pub struct Permit {
    give_back: Option<Box<dyn FnOnce(Outcome) + Send>>,
}

impl Permit {
    /// For people who write an admission of their own: `give_back` is called once, when the permit ends, however it does.
    pub fn new(give_back: impl FnOnce(Outcome) + Send + 'static) -> Self {
        Self { give_back: Some(Box::new(give_back)) }
    }

    /// One that nobody counts.
    pub fn uncounted() -> Self {
        Self { give_back: None }
    }

    /// The work was done: how long it took counts.
    pub fn done(mut self) {
        self.end(Outcome::Done);
    }

    /// What is behind was too busy: the limit goes down.
    pub fn overloaded(mut self) {
        self.end(Outcome::Overloaded);
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some(give_back) = self.give_back.take() {
            give_back(outcome);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.end(Outcome::Unknown);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("is_counted", &self.give_back.is_some()).finish()
    }
}
