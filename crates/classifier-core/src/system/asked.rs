//! The questions asked most, in bounded memory: the Space-Saving sketch (Metwally, Agrawal and El Abbadi, "Efficient
//! computation of frequent and top-k elements in data streams", 2005).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use cache_tiers::Key;
use serde::{Deserialize, Serialize};

/// Questions that are counted at a time.
pub(super) const CAPACITY: usize = 256;
/// A longer question is not counted: it is a paste that hardly anybody repeats.
const MAX_BYTES: usize = 512;
/// Changed with the form of the note.
const FORM: u32 = 1;

/// Counts questions. With `n` counted, a question's count is never below the truth and above it by `n / capacity` at
/// the most; hence whatever was asked more often than that is in it.
#[derive(Debug)]
pub(super) struct MostAsked {
    capacity: usize,
    /// By count, the greatest first.
    slots: Vec<Slot>,
    places: HashMap<Key, usize, BuildHasherDefault<KeyHasher>>,
    is_changed: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Slot {
    key: Key,
    query: String,
    count: u64,
}

/// How the counts are kept over a restart.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    form: u32,
    /// Each question and its count, the greatest first.
    questions: Vec<(String, u64)>,
}

impl MostAsked {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), slots: Vec::new(), places: HashMap::default(), is_changed: false }
    }

    /// Counts a question once.
    pub(super) fn count(&mut self, key: Key, query: &str) {
        if query.len() <= MAX_BYTES {
            self.add(key, query, 1);
        }
    }

    /// The questions and their counts, the greatest first.
    pub(super) fn questions(&self) -> impl Iterator<Item = (&str, u64)> {
        self.slots.iter().map(|slot| (slot.query.as_str(), slot.count))
    }

    /// Takes over half of each count of an earlier run, rounded up, so that what is asked now soon outweighs it.
    pub(super) fn take_over(&mut self, note: Option<&[u8]>, key: impl Fn(&str) -> Key) {
        let Some(note) = note else { return };
        let note = serde_json::from_slice(note).ok().filter(|note: &Note| note.form == FORM);
        let Some(Note { questions, .. }) = note else {
            tracing::debug!("the note of the questions asked most cannot be read and is written anew");
            return;
        };
        let usable = |(query, _): &(String, u64)| query.len() <= MAX_BYTES && !query.trim().is_empty();
        let was_changed = self.is_changed;
        for (query, count) in questions.into_iter().filter(usable).take(self.capacity) {
            self.add(key(&query), &query, count.div_ceil(2).min(u64::from(u32::MAX)));
        }
        // A run in which nothing is asked leaves the counts as they are.
        self.is_changed = was_changed;
    }

    /// The counts as a note, if they have changed since the last one.
    pub(super) fn note(&mut self) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.is_changed) {
            return None;
        }
        let questions = self.questions().map(|(query, count)| (query.to_owned(), count)).collect();
        serde_json::to_vec(&Note { form: FORM, questions }).ok()
    }

    /// Has the next [`note`](Self::note) be one, because the last was not kept.
    pub(super) fn keep_again(&mut self) {
        self.is_changed = true;
    }

    fn add(&mut self, key: Key, query: &str, n: u64) {
        self.is_changed = true;
        let at = match self.places.get(&key) {
            Some(&at) => at,
            None if self.slots.len() < self.capacity => {
                self.slots.push(Slot { key, query: query.to_owned(), count: 0 });
                self.slots.len() - 1
            }
            // The rarest makes room, and leaves its count as the most the new one may have been missed.
            None => {
                let at = self.slots.len() - 1;
                let slot = &mut self.slots[at];
                self.places.remove(&slot.key);
                slot.key = key;
                query.clone_into(&mut slot.query);
                at
            }
        };
        self.places.insert(key, at);
        let count = self.slots[at].count.saturating_add(n);
        self.slots[at].count = count;
        if n == 1 {
            // All that had the same count stand together: changing places with the first of them keeps the order.
            let first = self.slots[..at].partition_point(|slot| slot.count >= count);
            self.swap(first, at);
        } else {
            let first = self.slots[..at].partition_point(|slot| slot.count >= count);
            self.slots[first..=at].rotate_right(1);
            for (at, slot) in self.slots.iter().enumerate().take(at + 1).skip(first) {
                self.places.insert(slot.key, at);
            }
        }
    }

    fn swap(&mut self, one: usize, other: usize) {
        if one != other {
            self.slots.swap(one, other);
            for at in [one, other] {
                self.places.insert(self.slots[at].key, at);
            }
        }
    }
}

/// Keys are hashes already.
#[derive(Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u128(&mut self, number: u128) {
        self.0 = number as u64;
    }
}

#[cfg(test)]
mod tests {
    use cache_tiers::KeySpace;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn key(query: &str) -> Key {
        KeySpace::builder("test").build().key([query.as_bytes()])
    }

    fn counted<'a>(capacity: usize, queries: impl IntoIterator<Item = &'a str>) -> MostAsked {
        let mut asked = MostAsked::new(capacity);
        for query in queries {
            asked.count(key(query), query);
        }
        asked
    }

    #[track_caller]
    fn check_order(asked: &MostAsked) {
        assert!(asked.slots.is_sorted_by(|a, b| a.count >= b.count), "{asked:?}");
        assert_eq!(asked.places.len(), asked.slots.len());
        for (at, slot) in asked.slots.iter().enumerate() {
            assert_eq!(asked.places[&slot.key], at);
        }
    }

    proptest! {
        #[test]
        fn counts_are_within_the_bounds_of_the_paper(
            capacity in 1..12_usize, asked in vec(0..30_u8, 0..400),
        ) {
            let queries: Vec<String> = asked.iter().map(|n| format!("question {}", n.min(&20))).collect();
            let sketch = counted(capacity, queries.iter().map(String::as_str));
            check_order(&sketch);
            let n = queries.len() as u64;
            let slack = n / capacity as u64;
            let truth = |query: &str| queries.iter().filter(|asked| *asked == query).count() as u64;
            prop_assert_eq!(sketch.questions().map(|(_, count)| count).sum::<u64>(), n);
            for (query, count) in sketch.questions() {
                prop_assert!((truth(query)..=truth(query) + slack).contains(&count), "{} {}", query, count);
            }
            for query in queries.iter().filter(|query| truth(query) > slack) {
                prop_assert!(sketch.questions().any(|(held, _)| held == query), "{} is missing", query);
            }
        }

        #[test]
        fn an_earlier_run_counts_half(before in vec(0..9_u8, 0..60), now in vec(0..9_u8, 0..60)) {
            let names = |asked: &[u8]| asked.iter().map(|n| format!("q{n}")).collect::<Vec<_>>();
            let (before, now) = (names(&before), names(&now));
            let note = counted(CAPACITY, before.iter().map(String::as_str)).note();
            let mut sketch = counted(CAPACITY, now.iter().map(String::as_str));
            sketch.take_over(note.as_deref(), key);
            check_order(&sketch);
            let of = |asked: &[String], query: &str| asked.iter().filter(|asked| *asked == query).count() as u64;
            for (query, count) in sketch.questions() {
                prop_assert_eq!(count, of(&before, query).div_ceil(2) + of(&now, query));
            }
        }

        #[test]
        fn strange_notes_are_passed_over(note: Vec<u8>) {
            let mut sketch = MostAsked::new(CAPACITY);
            sketch.take_over(Some(&note), key);
            prop_assert_eq!(sketch.questions().count(), 0);
        }
    }

    #[test]
    fn a_note_is_made_only_of_what_changed() {
        let mut asked = counted(4, ["a", "b", "b"]);
        assert_eq!(asked.note().as_deref(), Some(br#"{"form":1,"questions":[["b",2],["a",1]]}"#.as_slice()));
        assert_eq!(asked.note(), None);
        asked.keep_again();
        assert!(asked.note().is_some());
    }

    #[test]
    fn long_questions_and_notes_of_another_form_are_not_counted() {
        let mut asked = counted(4, ["x".repeat(513).as_str()]);
        assert_eq!(asked.note(), None);
        asked.take_over(Some(br#"{"form":2,"questions":[["b",2]]}"#), key);
        assert_eq!(asked.questions().count(), 0);
        asked.take_over(Some(br#"{"form":1,"questions":[["b",2],[" ",5]]}"#), key);
        assert!(asked.questions().eq([("b", 1)]));
    }
}
