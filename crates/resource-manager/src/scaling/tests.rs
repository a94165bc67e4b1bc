//! Tests of scaling advice: worked examples, and noisy load.

use std::time::{Duration, Instant};

use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

use super::*;

fn seen(now: Instant, n_replicas: u32, utilisation: f64) -> Observation {
    // As much as such a utilisation of replicas that do 8 at once comes from.
    let arrival_rate = utilisation * 8.0 * f64::from(n_replicas) / 0.1;
    Observation {
        now,
        n_replicas,
        utilisation,
        n_waiting: 0,
        arrival_rate,
        service_time: Duration::from_millis(100),
        concurrency_per_replica: 8.0,
        p95_response_time: None,
    }
}

fn after(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

/// What is advised at last, when every second looks alike.
fn advised(seconds: u64, observation: impl Fn(Instant) -> Observation) -> Advice {
    let start = Instant::now();
    let mut advisor = ScalingAdvisor::new(ScalingConfig::default());
    for second in 0..=seconds {
        advisor.observe(observation(after(start, second)));
    }
    advisor.advice()
}

#[test]
fn a_need_for_more_is_advised_when_it_has_lasted() {
    let early = advised(29, |now| seen(now, 4, 0.9));
    assert_eq!((early.action, early.n_replicas), (ScalingAction::Steady, 4));
    let advice = advised(30, |now| seen(now, 4, 0.9));
    // 28.8 at once, 4.4 on each.
    assert_eq!((advice.action, advice.n_replicas), (ScalingAction::ScaleUp, 7));
    assert_eq!(advice.reason, ScalingReason::Busy);
}

#[test]
fn a_need_for_fewer_is_advised_when_it_has_lasted() {
    let early = advised(299, |now| seen(now, 6, 0.2));
    assert_eq!((early.action, early.n_replicas), (ScalingAction::Steady, 6));
    let advice = advised(300, |now| seen(now, 6, 0.2));
    // 9.6 at once, 4.4 on each.
    assert_eq!((advice.action, advice.n_replicas), (ScalingAction::ScaleDown, 3));
    assert_eq!(advice.reason, ScalingReason::Idle);
}

#[test]
fn late_responses_while_requests_wait_ask_for_more() {
    let late = |n_waiting| {
        advised(30, move |now| Observation {
            n_waiting,
            p95_response_time: Some(Duration::from_secs(3)),
            ..seen(now, 4, 0.5)
        })
    };
    let advice = late(1);
    assert_eq!((advice.action, advice.n_replicas), (ScalingAction::ScaleUp, 5));
    assert_eq!(advice.reason, ScalingReason::Late);
    // When nobody waits more replicas would not make it shorter.
    assert_eq!(late(0).action, ScalingAction::Steady);
}

#[test]
fn the_bounds_are_kept_and_named() {
    let below = advised(0, |now| seen(now, 0, 0.0));
    assert_eq!((below.action, below.n_replicas), (ScalingAction::ScaleUp, 1));
    let above = advised(0, |now| seen(now, 12, 0.9));
    assert_eq!((above.action, above.n_replicas), (ScalingAction::ScaleDown, 10));
    let most = advised(60, |now| seen(now, 10, 0.95));
    assert_eq!((most.action, most.reason), (ScalingAction::Steady, ScalingReason::AtMaximum));
    let least = advised(900, |now| seen(now, 1, 0.0));
    assert_eq!((least.action, least.n_replicas), (ScalingAction::Steady, 1));
}

#[test]
fn a_burst_is_not_followed() {
    let start = Instant::now();
    let mut advisor = ScalingAdvisor::new(ScalingConfig::default());
    for second in 0..600 {
        let utilisation = if second % 40 < 20 { 0.95 } else { 0.6 };
        advisor.observe(seen(after(start, second), 4, utilisation));
        assert_eq!(advisor.advice().action, ScalingAction::Steady, "second {second}");
    }
}

#[test]
fn since_is_when_the_advice_began() {
    let start = Instant::now();
    let mut advisor = ScalingAdvisor::new(ScalingConfig::default());
    assert_eq!(advisor.advice().since, None);
    for second in 0..=50 {
        advisor.observe(seen(after(start, second), 4, 0.9));
    }
    assert_eq!(advisor.advice().since, Some(after(start, 30)));
}

#[test]
fn numbers_that_are_none_ask_for_no_change() {
    for odd in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
        for seconds in [0, 400] {
            let advice = advised(seconds, |now| Observation {
                utilisation: odd,
                arrival_rate: odd,
                concurrency_per_replica: odd,
                ..seen(now, 4, 0.5)
            });
            assert!((1..=10).contains(&advice.n_replicas), "{odd}: {advice:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Advice is followed at once, load stays near one level with noise of 15 %: after it has settled once, there is no
    /// more than one change, and never one up after one down.
    #[test]
    fn noisy_load_makes_no_flapping(at_once in 1.0..70.0_f64, seed in any::<u64>()) {
        let start = Instant::now();
        let (mut advisor, mut n_replicas, mut lot) = (ScalingAdvisor::new(ScalingConfig::default()), 1_u32, seed | 1);
        let mut changes = Vec::new();
        for second in 0..3_600 {
            lot ^= lot << 13;
            lot ^= lot >> 7;
            lot ^= lot << 17;
            let noise = 0.85 + 0.3 * (lot >> 11) as f64 / (1_u64 << 53) as f64;
            let utilisation = (at_once * noise / (8.0 * f64::from(n_replicas))).min(1.0);
            advisor.observe(Observation {
                arrival_rate: at_once * noise / 0.1,
                ..seen(after(start, second), n_replicas, utilisation)
            });
            let advice = advisor.advice();
            if advice.action != ScalingAction::Steady {
                prop_assert!(advice.n_replicas != n_replicas);
                n_replicas = advice.n_replicas;
                changes.push((second, n_replicas));
            }
        }
        prop_assert!(changes.len() <= 3, "{changes:?}");
        let is_rising = changes.is_sorted_by_key(|change| change.1);
        prop_assert!(is_rising, "{changes:?}");
        let utilisation = at_once / (8.0 * f64::from(n_replicas));
        prop_assert!(utilisation < 0.95 || n_replicas == 10, "{utilisation} after {changes:?}");
    }

    /// The same observations give the same advice, and whatever comes, the bounds are kept.
    #[test]
    fn advice_is_deterministic_and_within_bounds(
        all in proptest::collection::vec((0_u64..60, 0_u32..15, 0.0..1.2_f64, 0_usize..3, 0_u64..4_000), 1..60)
    ) {
        let start = Instant::now();
        let [mut one, mut two] = [0, 1].map(|_| ScalingAdvisor::new(ScalingConfig::default()));
        let mut now = start;
        for (seconds, n_replicas, utilisation, n_waiting, p95) in all {
            now += Duration::from_secs(seconds);
            let p95_response_time = Some(Duration::from_millis(p95));
            let observation = Observation { n_waiting, p95_response_time, ..seen(now, n_replicas, utilisation) };
            one.observe(observation);
            two.observe(observation);
            prop_assert_eq!(one.advice(), two.advice());
            prop_assert!((1..=10).contains(&one.advice().n_replicas));
        }
    }
}
