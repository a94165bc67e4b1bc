//! Accepting an answer while the rest of the reply is still being written.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hp_base::Clock;
use llm_optimizer::{Flow, JsonPrefix, ReplyReader, ReplyReaders};

use super::reply::{Said, read_early};
use crate::taxonomy::Taxonomy;

/// Reads along, and tells the first answer that stands; one of all attempts tells it.
pub(super) struct EarlyReaders<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    taxonomy: Arc<Taxonomy>,
    clock: Arc<dyn Clock>,
    tell: Mutex<Option<T>>,
    /// Whether the rest is of no interest.
    cuts: bool,
}

struct EarlyReader<T> {
    shared: Arc<Shared<T>>,
    prefix: JsonPrefix,
    /// When the first piece has come.
    began: Option<Instant>,
    has_told: bool,
}

impl<T: FnOnce(Said, Instant) + Send + 'static> EarlyReaders<T> {
    pub(super) fn new(taxonomy: Arc<Taxonomy>, clock: Arc<dyn Clock>, cuts: bool, tell: T) -> Self {
        Self { shared: Arc::new(Shared { taxonomy, clock, tell: Mutex::new(Some(tell)), cuts }) }
    }
}

impl<T: FnOnce(Said, Instant) + Send + 'static> ReplyReaders for EarlyReaders<T> {
    fn reader(&self) -> Box<dyn ReplyReader> {
        Box::new(EarlyReader {
            shared: Arc::clone(&self.shared),
            prefix: JsonPrefix::new(),
            began: None,
            has_told: false,
        })
    }
}

impl<T: FnOnce(Said, Instant) + Send> ReplyReader for EarlyReader<T> {
    fn read(&mut self, piece: &str) -> Flow {
        if self.has_told {
            return Flow::Continue;
        }
        let began = *self.began.get_or_insert_with(|| self.shared.clock.now());
        self.prefix.push(piece);
        let Some(said) = read_early(&self.prefix, &self.shared.taxonomy) else { return Flow::Continue };
        self.has_told = true;
        let tell = self.shared.tell.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tell) = tell {
            tell(said, began);
        }
        if self.shared.cuts { Flow::Enough } else { Flow::Continue }
    }
}

impl<T> fmt::Debug for EarlyReaders<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EarlyReaders").field("cuts", &self.shared.cuts).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use hp_base::ManualClock;

    use super::*;

    fn taxonomy() -> Arc<Taxonomy> {
        Arc::new(Taxonomy::clinical_metabolomics())
    }

    fn clock() -> Arc<dyn Clock> {
        Arc::new(ManualClock::new())
    }

    #[track_caller]
    fn check(cuts: bool, pieces: &[&str], expected: &[(Option<usize>, Flow)]) {
        let (tell, told) = mpsc::channel();
        let readers = EarlyReaders::new(taxonomy(), clock(), cuts, move |said: Said, _| {
            tell.send(said.category).unwrap();
        });
        let mut reader = readers.reader();
        let seen: Vec<_> = pieces.iter().map(|piece| (reader.read(piece), told.try_recv().ok())).collect();
        let seen: Vec<_> = seen.into_iter().map(|(flow, told)| (told, flow)).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn an_answer_stands_once_category_and_confidence_are_complete() {
        use Flow::{Continue, Enough};
        let pieces = ["{\"category\":\"REAL_", "TIME\",\"confidence\":0.", "9", ",", "\"reason\":\"x\"}"];
        check(true, &pieces[..4], &[(None, Continue), (None, Continue), (None, Continue), (Some(1), Enough)]);
        let all =
            [(None, Continue), (None, Continue), (None, Continue), (Some(1), Continue), (None, Continue)];
        check(false, &pieces, &all);
    }

    #[test]
    fn what_is_no_answer_never_stands() {
        use Flow::Continue;
        check(true, &["{\"category\":\"X\",\"confidence\":0.9,"], &[(None, Continue)]);
        check(true, &["{\"category\":\"GENERAL\",\"confidence\":9.0,"], &[(None, Continue)]);
        check(true, &["so: {\"category\":\"GENERAL\",\"confidence\":0.9,"], &[(None, Continue)]);
    }

    #[test]
    fn of_two_attempts_one_tells() {
        let (tell, told) = mpsc::channel();
        let readers = EarlyReaders::new(taxonomy(), clock(), true, move |said: Said, _| {
            tell.send(said.category).unwrap();
        });
        let reply = "{\"category\":\"GENERAL\",\"confidence\":0.9}";
        assert_eq!([readers.reader().read(reply), readers.reader().read(reply)], [Flow::Enough; 2]);
        assert_eq!(told.try_iter().count(), 1);
    }
}
