//! Admission under random events: the limit is kept, nothing leaks, and everybody ends.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use hp_base::{Deadline, ManualClock, Priority};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::Index;

use crate::{AdaptiveAdmission, Admission, AdmissionConfig, Applicant, Outcome, Permit, Rejected};

#[derive(Debug, Clone)]
enum Event {
    Comes { urgency: usize, deadline_ms: Option<u64> },
    Cancels(Index),
    Ends(Index, Outcome),
    Squeezes(f64),
    Passes(u64),
    Closes,
}

fn event() -> impl Strategy<Value = Event> {
    let outcome = prop_oneof![
        4 => proptest::strategy::Just(Outcome::Done),
        1 => proptest::strategy::Just(Outcome::Overloaded),
        1 => proptest::strategy::Just(Outcome::Unknown),
    ];
    let deadline = proptest::option::of(1_u64..3_000);
    prop_oneof![
        60 => (0_usize..3, deadline).prop_map(|(urgency, deadline_ms)| Event::Comes { urgency, deadline_ms }),
        10 => any::<Index>().prop_map(Event::Cancels),
        60 => (any::<Index>(), outcome).prop_map(|(which, outcome)| Event::Ends(which, outcome)),
        5 => (0.0..1.2_f64).prop_map(Event::Squeezes),
        30 => (0_u64..500).prop_map(Event::Passes),
        1 => proptest::strategy::Just(Event::Closes),
    ]
}

type Waiting<'a> = Pin<Box<dyn Future<Output = Result<Permit, Rejected>> + Send + 'a>>;

proptest! {
    #[test]
    fn the_limit_is_kept_and_nothing_leaks(
        events in proptest::collection::vec(event(), 1..400),
        initial in 1_usize..12,
        max_waiting in 0_usize..12,
    ) {
        // A timer is made for those with a deadline; the time of the runtime is of no importance here.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _guard = runtime.enter();
        let clock = Arc::new(ManualClock::new());
        let config = AdmissionConfig { initial, ceiling: 16, max_waiting, ..AdmissionConfig::default() };
        let admission = AdaptiveAdmission::new(config, clock.clone());
        let mut waiting: Vec<Waiting<'_>> = Vec::new();
        let mut permits: Vec<Permit> = Vec::new();
        let (mut n_came, mut n_cancelled) = (0_u64, 0_u64);
        for event in events {
            let before = admission.stats();
            match event {
                Event::Comes { urgency, deadline_ms } => {
                    n_came += 1;
                    let deadline = deadline_ms
                        .map_or(Deadline::never(), |ms| Deadline::after(&*clock, Duration::from_millis(ms)));
                    let applicant = Applicant { priority: Priority::ALL[urgency], deadline };
                    waiting.push(admission.admit(applicant));
                    let mut comes = waiting.pop().unwrap();
                    match (&mut comes).now_or_never() {
                        Some(Ok(permit)) => permits.push(permit),
                        Some(Err(_)) => {}
                        None => waiting.push(comes),
                    }
                }
                Event::Cancels(which) if !waiting.is_empty() => {
                    n_cancelled += 1;
                    drop(waiting.swap_remove(which.index(waiting.len())));
                }
                Event::Ends(which, outcome) if !permits.is_empty() => {
                    let permit = permits.swap_remove(which.index(permits.len()));
                    match outcome {
                        Outcome::Done => permit.done(),
                        Outcome::Overloaded => permit.overloaded(),
                        Outcome::Unknown => drop(permit),
                    }
                }
                Event::Squeezes(share) => admission.squeeze(share),
                Event::Passes(ms) => clock.advance(Duration::from_millis(ms)),
                Event::Closes => admission.close(),
                Event::Cancels(_) | Event::Ends(..) => {}
            }
            let after = admission.stats();
            if after.n_admitted > before.n_admitted {
                prop_assert!(after.n_in_flight <= after.limit, "{after:?}");
            }
            prop_assert!((1..=16).contains(&after.limit), "{after:?}");
            prop_assert!(after.n_waiting <= max_waiting, "{after:?}");
            prop_assert!(after.n_waiting == 0 || after.n_in_flight >= after.limit, "room for none: {after:?}");
            // Half of those who were told look, so that others are cancelled after they were admitted.
            let mut still = Vec::new();
            for (place, mut one) in waiting.drain(..).enumerate() {
                if place % 2 == 1 {
                    still.push(one);
                    continue;
                }
                match (&mut one).now_or_never() {
                    Some(Ok(permit)) => permits.push(permit),
                    Some(Err(_)) => {}
                    None => still.push(one),
                }
            }
            waiting = still;
        }
        loop {
            let mut still = Vec::new();
            for mut one in waiting.drain(..) {
                match (&mut one).now_or_never() {
                    Some(Ok(permit)) => permits.push(permit),
                    Some(Err(_)) => {}
                    None => still.push(one),
                }
            }
            waiting = still;
            let Some(permit) = permits.pop() else { break };
            permit.done();
        }
        prop_assert!(waiting.is_empty(), "{} wait for ever", waiting.len());
        let stats = admission.stats();
        prop_assert_eq!((stats.n_in_flight, stats.n_waiting), (0, 0));
        prop_assert!(stats.n_admitted + stats.n_rejected.total() + stats.n_cancelled >= n_came);
        prop_assert!(stats.n_admitted + stats.n_rejected.total() <= n_came);
        prop_assert!(stats.n_cancelled <= n_cancelled);
    }
}
