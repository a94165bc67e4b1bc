//! The memory tier and a bare quick_cache with the same keys and the same values.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use cache_tiers::{Entry, Key, KeySpace, MemoryConfig, MemoryTier, SystemClock, normalize};
use classifier_core::{CachedAnswer, EmbeddedClassifier};
use quick_cache::sync::Cache;

use crate::Questions;

/// Two full caches to compare, and what is in them.
///
/// Both have room for twice as much, so that neither has evicted anything.
#[derive(Debug)]
pub struct SideBySide {
    /// The tier as the classifier uses it.
    pub tier: MemoryTier<CachedAnswer>,
    /// What is underneath, with its own hasher and nothing of ours.
    pub bare: Cache<[u8; 16], CachedAnswer>,
    /// What the keys are made in.
    pub space: KeySpace,
    /// The questions whose answers are in the caches.
    pub questions: Vec<String>,
    /// Their keys, in the same order.
    pub keys: Vec<Key>,
}

impl SideBySide {
    /// How many entries each of them holds.
    pub const N_ENTRIES: usize = 10_000;

    /// Longer than any measurement takes, since a miss is not what is measured.
    pub const TTL: Duration = Duration::from_secs(24 * 60 * 60);

    /// Classifies questions and puts the answers into both.
    ///
    /// # Errors
    /// When one of the caches does not hold all of them.
    pub fn fill(questions: &Questions) -> anyhow::Result<Self> {
        let config =
            MemoryConfig { max_entries: 2 * Self::N_ENTRIES, ttl: Self::TTL, ..MemoryConfig::default() };
        let tier = MemoryTier::new(config, Arc::new(SystemClock));
        let bare = Cache::new(2 * Self::N_ENTRIES);
        let space = KeySpace::builder("hp-classify benches").part("tenant", b"default").build();
        let questions = questions.numbered(Self::N_ENTRIES);
        let classifier = EmbeddedClassifier::built_in();
        let mut keys = Vec::with_capacity(questions.len());
        for question in &questions {
            let key = space.key([normalize(question).as_bytes()]);
            let answer = Arc::new(classifier.classify(question));
            bare.insert(*key.as_bytes(), Arc::clone(&answer));
            tier.insert(key, Entry { value: answer, ttl: Self::TTL })?;
            keys.push(key);
        }
        let (n_tier, n_bare) = (tier.stats().size, bare.len());
        ensure!(
            n_tier == Self::N_ENTRIES as u64 && n_bare == Self::N_ENTRIES,
            "of {} entries the tier holds {n_tier} and the bare cache {n_bare}",
            Self::N_ENTRIES
        );
        Ok(Self { tier, bare, space, questions, keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_give_the_same_answer() {
        let caches = SideBySide::fill(&Questions::load(None).unwrap()).unwrap();
        for key in &caches.keys {
            let entry = caches.tier.get(key).unwrap();
            assert!(Arc::ptr_eq(&entry.value, &caches.bare.get(key.as_bytes()).unwrap()));
        }
    }
}
