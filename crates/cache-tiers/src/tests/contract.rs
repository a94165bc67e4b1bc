//! The contract suite passes tiers that keep the contract, and catches those that break one clause of it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;

use crate::contract::{Tier, check_tier};
use crate::{
    CacheError, CacheTier, Entry, Forget, Key, ManualClock, MemoryConfig, MemoryTier, NoCache, Probe,
    TierStats,
};

type Memory = MemoryTier<Vec<u8>>;

fn memory(clock: Arc<ManualClock>) -> Memory {
    MemoryTier::new(MemoryConfig { ttl: Duration::MAX, ..MemoryConfig::default() }, clock)
        .with_weigher(Vec::len)
}

/// Which clause a [`Broken`] tier breaks, if any.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    ForgetsNothing,
    ForgetsKeysOnly,
    KeepsTheFirst,
    KeepsForEver,
    SaysMoreTimeIsLeft,
    CountsTwice,
    ServesOthers,
    FailsToPut,
}

/// A tier that has to be fetched from, over a memory tier, with one fault.
#[derive(Debug)]
struct Broken {
    memory: Memory,
    fault: Fault,
}

#[async_trait]
impl CacheTier<Vec<u8>> for Broken {
    fn probe(&self, _key: &Key) -> Probe<Vec<u8>> {
        Probe::Pending
    }

    async fn fetch(&self, key: &Key) -> Result<Option<Entry<Vec<u8>>>, CacheError> {
        let mut found = self.memory.get(key);
        match (self.fault, &mut found) {
            (Fault::CountsTwice, _) => drop(self.memory.get(key)),
            (Fault::SaysMoreTimeIsLeft, Some(entry)) => entry.ttl *= 2,
            (Fault::ServesOthers, Some(entry)) if entry.value.len() == 7 => entry.value[0] ^= 1,
            _ => {}
        }
        Ok(found)
    }

    async fn put(&self, key: Key, mut entry: Entry<Vec<u8>>) -> Result<(), CacheError> {
        match self.fault {
            Fault::KeepsTheFirst if self.memory.get(&key).is_some() => return Ok(()),
            Fault::KeepsForEver => entry.ttl = Duration::MAX,
            Fault::FailsToPut => entry.value = vec![0; 100 << 20],
            _ => {}
        }
        self.memory.insert(key, entry)
    }

    async fn forget(&self, what: Forget) -> Result<(), CacheError> {
        match (self.fault, what) {
            (Fault::ForgetsNothing, _) | (Fault::ForgetsKeysOnly, Forget::All) => Ok(()),
            _ => self.memory.forget(what).await,
        }
    }

    fn stats(&self) -> TierStats {
        self.memory.stats()
    }
}

/// The message with which the suite fails, or nothing if it passes.
fn verdict(make: impl AsyncFn(Arc<ManualClock>) -> Tier + Send + 'static) -> String {
    let run = move || {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(check_tier(make));
    };
    let Err(panic) = thread::spawn(run).join() else {
        return String::new();
    };
    let literal = panic.downcast_ref::<&str>().map(ToString::to_string);
    panic.downcast_ref::<String>().cloned().or(literal).unwrap()
}

fn verdict_on(fault: Fault) -> String {
    verdict(async move |clock| Arc::new(Broken { memory: memory(clock), fault }) as Tier)
}

#[tokio::test]
async fn the_memory_tier_keeps_it() {
    check_tier(async |clock| Arc::new(memory(clock)) as Tier).await;
}

#[test]
fn a_tier_that_must_be_fetched_from_keeps_it() {
    assert_eq!(verdict_on(Fault::None), "");
}

#[test]
fn each_fault_is_named() {
    for (fault, message) in [
        (Fault::ForgetsNothing, "a forgotten key was found"),
        (Fault::ForgetsKeysOnly, "an entry was found after all were forgotten"),
        (Fault::KeepsTheFirst, "a later put did not replace the earlier"),
        (Fault::KeepsForEver, "was found with"),
        (Fault::SaysMoreTimeIsLeft, "was found with"),
        (Fault::CountsTwice, "10 look-ups that hit and 30 that missed were counted as"),
        (Fault::ServesOthers, "the value of another key was found"),
        (Fault::FailsToPut, "put failed: cache entry too large"),
    ] {
        let verdict = verdict_on(fault);
        assert!(verdict.contains(message), "{fault:?} was answered with {verdict:?}");
    }
}

#[test]
fn the_tier_that_keeps_nothing_does_not_pass() {
    assert!(verdict(async |_| Arc::new(NoCache) as Tier).contains("what was put was not found"));
}
