//! Any interleaving of what a tier is asked agrees with a map that is asked the same.

use std::collections::HashMap;
use std::ops::Range;

use cache_tiers::{Forget, ManualClock};
use proptest::prelude::*;

use super::*;

const KEYS: Range<u64> = 0..6;

#[derive(Debug, Clone)]
enum Step {
    Put {
        number: u64,
        generation: u64,
        ttl_ms: u64,
    },
    /// Puts that are on their way together.
    PutTogether {
        numbers: Vec<u64>,
        generation: u64,
    },
    Look(u64),
    Fetch(u64),
    Forget(u64),
    Flush,
    Pass {
        ms: u64,
    },
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (KEYS, 0..1000_u64, 0..5000_u64)
            .prop_map(|(number, generation, ttl_ms)| Step::Put { number, generation, ttl_ms }),
        2 => (prop::collection::btree_set(KEYS, 1..6), 0..1000_u64).prop_map(|(numbers, generation)| {
            Step::PutTogether { numbers: numbers.into_iter().collect(), generation }
        }),
        6 => KEYS.prop_map(Step::Look),
        2 => KEYS.prop_map(Step::Fetch),
        2 => KEYS.prop_map(Step::Forget),
        1 => Just(Step::Flush),
        3 => (1..3000_u64).prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..60)
}

/// What is kept: the generation under a key, and when it expires.
type Model = HashMap<u64, (u64, Duration)>;

async fn agrees(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new());
    let longest = Duration::from_secs(4);
    let open = || open_with(DiskConfig { ttl: longest, ..config(folder.path()) }, 1, clock.clone());
    let mut tier = open();
    let (mut model, mut now) = (Model::new(), Duration::ZERO);
    for step in steps {
        match step {
            Step::Put { number, generation, ttl_ms } => {
                let ttl = Duration::from_millis(ttl_ms);
                tier.put(key(number), Entry { value: value(number, generation), ttl }).await.unwrap();
                model.insert(number, (generation, now + ttl.min(longest)));
            }
            Step::PutTogether { numbers, generation } => {
                let puts = numbers.iter().map(|&number| put(&tier, number, generation));
                for done in futures_util::future::join_all(puts).await {
                    done.unwrap();
                }
                model.extend(numbers.into_iter().map(|number| (number, (generation, now + longest))));
            }
            Step::Look(number) => {
                let expected = model.get(&number).filter(|(_, until)| *until > now);
                let found = look_up(&tier, number).await.unwrap();
                prop_assert_eq!(found, expected.map(|&(generation, _)| generation));
            }
            Step::Fetch(number) => {
                let expected = model.get(&number).filter(|(_, until)| *until > now);
                let found = tier.fetch(&key(number)).await.unwrap();
                let found = found.map(|entry| (generation(number, &entry.value), now + entry.ttl));
                prop_assert_eq!(found, expected.copied());
            }
            Step::Forget(number) => {
                tier.forget(Forget::Key(key(number))).await.unwrap();
                model.remove(&number);
            }
            Step::Flush => {
                tier.forget(Forget::All).await.unwrap();
                model.clear();
            }
            Step::Pass { ms } => {
                now += Duration::from_millis(ms);
                clock.advance(Duration::from_millis(ms));
            }
            Step::Restart => {
                drop(tier);
                tier = open();
            }
        }
    }
    let stats = tier.stats();
    prop_assert_eq!((stats.errors, stats.timeouts, stats.bypassed, stats.quarantines), (0, 0, 0, 0));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_agrees_with_a_map(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(agrees(steps))?;
    }
}
