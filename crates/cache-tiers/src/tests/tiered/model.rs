//! Whatever is done to a tiered cache in whatever order, it finds what a plain map would.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;

use super::support::{key, three};
use crate::{Forget, Retention, TieredConfig};

#[derive(Debug, Clone)]
enum Step {
    Put {
        number: u8,
        value: u8,
        seconds: u64,
    },
    Get(u8),
    Forget(u8),
    Flush,
    Pass(u64),
    /// Memory makes room for something else.
    LeaveMemory,
    /// The background gets so many turns.
    Yield(u8),
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    let number = 0..4_u8;
    prop_oneof![
        4 => (number.clone(), any::<u8>(), 1..20_u64)
            .prop_map(|(number, value, seconds)| Step::Put { number, value, seconds }),
        6 => number.clone().prop_map(Step::Get),
        1 => number.prop_map(Step::Forget),
        1 => Just(Step::Flush),
        2 => (1..10_u64).prop_map(Step::Pass),
        2 => Just(Step::LeaveMemory),
        3 => (1..4_u8).prop_map(Step::Yield),
        1 => Just(Step::Drain),
    ]
}

async fn agrees(steps: Vec<Step>, answers_probes: [bool; 2]) -> Result<(), TestCaseError> {
    let three = three(TieredConfig::default());
    three.l2.answers_probes.store(answers_probes[0], Ordering::SeqCst);
    three.l3.answers_probes.store(answers_probes[1], Ordering::SeqCst);
    let mut model: HashMap<u8, (u8, u64)> = HashMap::new();
    let mut now = 0;
    for step in steps {
        match step {
            Step::Put { number, value, seconds } => {
                let retention = Retention::everywhere(Duration::from_secs(seconds));
                three.cache.put(key(number), vec![value], retention).await;
                model.insert(number, (value, now + seconds));
            }
            Step::Get(number) => {
                let expected = model.get(&number).filter(|(_, expires)| *expires > now).copied();
                let found =
                    three.cache.get(&key(number)).await.map(|hit| (hit.value[0], now + hit.ttl.as_secs()));
                prop_assert_eq!(found, expected);
            }
            Step::Forget(number) => {
                prop_assert!(three.cache.forget(Forget::Key(key(number))).await.is_ok());
                model.remove(&number);
            }
            Step::Flush => {
                prop_assert!(three.cache.forget(Forget::All).await.is_ok());
                model.clear();
            }
            Step::Pass(seconds) => {
                three.clock.advance(Duration::from_secs(seconds));
                now += seconds;
            }
            Step::LeaveMemory => three.l1.clear(),
            Step::Yield(turns) => {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            }
            Step::Drain => three.cache.drain().await,
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn it_finds_what_a_map_would(steps in prop::collection::vec(step(), 1..60), answers_probes: [bool; 2]) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(agrees(steps, answers_probes))?;
    }
}
