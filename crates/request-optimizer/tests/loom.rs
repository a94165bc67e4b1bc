//! The coalescer under a model checker: two or three threads, in every order their steps can have.

#![expect(clippy::unwrap_used, reason = "in tests a panic is how a failure is reported")]

#[path = "../src/coalesce/mod.rs"]
pub mod coalesce;

/// What the coalescer takes from the model checker instead of the standard library.
mod sync {
    pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};
}

use std::task::{Context, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use hp_base::ManualClock;
use loom::future::block_on;
use request_optimizer::Urgency;

use self::coalesce::{Coalescer, CoalescerConfig, Flown, OnFailure, Role, Waiter};
use self::sync::Arc;

type Shared = Arc<Coalescer<u8, u8, u8>>;

fn shared(config: CoalescerConfig) -> Shared {
    Arc::new(Coalescer::new(config, std::sync::Arc::new(ManualClock::new())))
}

/// Asks, and leaves if there is something to wait for.
fn ask_and_leave(coalescer: &Shared) {
    let run = coalescer.run(1, Waiter::default(), |_| std::future::pending());
    assert!(run.now_or_never().is_none_or(|outcome| outcome.is_ok()));
}

fn ask(coalescer: &Shared, value: u8) -> Flown<u8> {
    block_on(coalescer.run(1, Waiter::default(), |_| async move { Ok(value) })).unwrap()
}

fn in_a_thread<T: 'static>(
    coalescer: &Shared,
    task: impl FnOnce(&Shared) -> T + Send + 'static,
) -> loom::thread::JoinHandle<T> {
    let coalescer = Arc::clone(coalescer);
    loom::thread::spawn(move || task(&coalescer))
}

fn assert_empty(coalescer: &Shared) {
    assert_eq!(coalescer.stats().n_in_flight, 0);
}

#[test]
fn two_who_ask_at_once_compute_once_in_the_window() {
    loom::model(|| {
        let coalescer =
            shared(CoalescerConfig { window: Duration::from_secs(1), ..CoalescerConfig::default() });
        let other = in_a_thread(&coalescer, |coalescer| ask(coalescer, 2));
        let one = ask(&coalescer, 1);
        let other = other.join().unwrap();
        assert_eq!(one.value, other.value);
        assert_eq!([one, other].iter().filter(|flown| flown.role == Role::Led).count(), 1);
        assert_eq!(coalescer.stats().n_led, 1);
        assert_empty(&coalescer);
    });
}

#[test]
fn who_waits_ends_although_everybody_else_leaves() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let coalescer = shared(CoalescerConfig::default());
        let leavers = [1, 2].map(|_| in_a_thread(&coalescer, ask_and_leave));
        assert_eq!(ask(&coalescer, 7).value, 7);
        for leaver in leavers {
            leaver.join().unwrap();
        }
        assert_empty(&coalescer);
    });
}

#[test]
fn a_leader_who_leaves_wakes_one_who_waits() {
    loom::model(|| {
        let coalescer = shared(CoalescerConfig::default());
        let mut leader = Box::pin(coalescer.run(1, Waiter::default(), |_| std::future::pending()));
        assert!(leader.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let waiter = in_a_thread(&coalescer, |coalescer| ask(coalescer, 3));
        drop(leader);
        assert_eq!(waiter.join().unwrap(), Flown { value: 3, role: Role::Led });
        assert_empty(&coalescer);
    });
}

#[test]
fn a_failure_reaches_one_who_waits_or_leaves_it_to_lead() {
    for on_failure in [OnFailure::Share, OnFailure::Retry] {
        loom::model(move || {
            let coalescer = shared(CoalescerConfig { on_failure, ..CoalescerConfig::default() });
            let other = in_a_thread(&coalescer, |coalescer| {
                block_on(coalescer.run(1, Waiter::default(), |_| async { Ok(5) }))
            });
            let failing = block_on(coalescer.run(1, Waiter::default(), |_| async { Err(9) }));
            match (failing, other.join().unwrap()) {
                (Err(_), Ok(flown)) => assert_eq!((flown.value, flown.role), (5, Role::Led)),
                (Ok(flown), Ok(other)) => assert_eq!((flown.role, other.role), (Role::Joined, Role::Led)),
                (Err(_), Err(_)) => assert_eq!(on_failure, OnFailure::Share),
                (Ok(_), Err(_)) => unreachable!("only one computation fails"),
            }
            assert_empty(&coalescer);
        });
    }
}

#[test]
fn what_is_forgotten_while_it_lands_is_not_found() {
    let forgets: [fn(&Shared); 2] = [|coalescer| coalescer.forget(&1), |coalescer| coalescer.forget_all()];
    for forget in forgets {
        loom::model(move || {
            let coalescer =
                shared(CoalescerConfig { window: Duration::from_secs(1), ..CoalescerConfig::default() });
            // Begun before the other thread is there, so before it is forgotten.
            let gate = Arc::new(loom::sync::Notify::new());
            let forgetting = {
                let gate = Arc::clone(&gate);
                in_a_thread(&coalescer, move |coalescer| {
                    gate.wait();
                    forget(coalescer);
                })
            };
            block_on(coalescer.run(1, Waiter::default(), |_| {
                gate.notify();
                async { Ok(1) }
            }))
            .unwrap();
            forgetting.join().unwrap();
            assert_eq!(ask(&coalescer, 2), Flown { value: 2, role: Role::Led });
            assert_eq!(coalescer.stats().n_kept, 1);
            assert_empty(&coalescer);
        });
    }
}
