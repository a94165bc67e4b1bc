//! The order of the way of a request, in one list, with the reason for each place.

use std::fmt;

use serde::Serialize;

/// A step on the way of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What it is called.
    pub name: &'static str,
    /// Why it stands where it stands.
    pub reason: &'static str,
}

/// The steps, outermost first. Each is a trait object or made of the configuration, and knows none of the others.
pub const STEPS: [Step; 9] = [
    Step {
        name: "monitor",
        reason: "sees every request, those that are refused and those that a cache answers included",
    },
    Step {
        name: "deadline",
        reason: "one for all that follows, made when the request enters, so that no step has time of its own to lose",
    },
    Step {
        name: "cache",
        reason: "a hit needs no leave, no queue and no other thread; memory is asked before disk, and disk before Redis",
    },
    Step {
        name: "embedded",
        reason: "answers in microseconds where it is sure, which is cheaper than to find out who else is asking the same",
    },
    Step {
        name: "coalesce",
        reason: "before whatever is scarce, so that a thousand who ask the same take one place in the queue",
    },
    Step {
        name: "lanes",
        reason: "one queue, where the urgent go first and who cannot be served in time hears of it at once; nothing behind \
                 it queues for long",
    },
    Step {
        name: "batch",
        reason: "filled from the lanes at the moment there is room for a call, so that it holds the most urgent, and \
                 nobody waits for companions",
    },
    Step {
        name: "admit",
        reason: "counts calls and not questions, since calls are what the provider has no room for; behind the batch, \
                 since a question in a batch takes a tenth of a call",
    },
    Step {
        name: "classifier",
        reason: "the language model with its own deadline, breaker, budget and hedge; what it says is kept in memory at \
                 once and further down behind the answer",
    },
];

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
