//! Coalescing: who computes, who waits, and what happens when somebody leaves, fails, panics or is late.

#[path = "coalesce/driven.rs"]
mod driven;
#[path = "coalesce/random.rs"]
mod random;

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use hp_base::{Deadline, ManualClock, Priority, SystemClock};
use tokio::sync::oneshot;

use self::driven::Driven;
use crate::{CoalesceError, Coalescer, CoalescerConfig, Flown, OnFailure, Role, Waiter};

type Outcome = Result<Flown<u32>, CoalesceError<String>>;

fn coalescer(config: CoalescerConfig) -> (Coalescer<u32, u32, String>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    (Coalescer::new(config, clock.clone()), clock)
}

fn retrying() -> CoalescerConfig {
    CoalescerConfig { on_failure: OnFailure::Retry, ..CoalescerConfig::default() }
}

fn keeping(window: Duration, max_kept: usize) -> CoalescerConfig {
    CoalescerConfig { window, max_kept, ..CoalescerConfig::default() }
}

fn flown(value: u32, role: Role) -> Outcome {
    Ok(Flown { value, role })
}

fn failed(error: &str) -> Outcome {
    Err(CoalesceError::Failed(error.to_owned()))
}

/// Asks for a key with a computation that is done when told its result.
fn ask(
    coalescer: &Coalescer<u32, u32, String>,
    waiter: Waiter,
) -> (Driven<'_, Outcome>, oneshot::Sender<Result<u32, String>>) {
    let (sender, receiver) = oneshot::channel();
    (Driven::new(coalescer.run(1, waiter, |_| async move { receiver.await.unwrap() })), sender)
}

/// Asks for a key with a computation that panics as soon as it is told to.
fn ask_panicking(coalescer: &Coalescer<u32, u32, String>) -> (Driven<'_, Outcome>, oneshot::Sender<()>) {
    let (sender, receiver) = oneshot::channel::<()>();
    let run = coalescer.run(1, Waiter::default(), |_| async move {
        receiver.await.unwrap();
        // Without the hook, which would print.
        resume_unwind(Box::new("as told"))
    });
    (Driven::new(run), sender)
}

fn urgent(priority: Priority) -> Waiter {
    Waiter { priority, ..Waiter::default() }
}

/// A key asked for with a value at hand.
fn ask_now(coalescer: &Coalescer<u32, u32, String>, key: u32, value: u32) -> Outcome {
    coalescer
        .run(key, Waiter::default(), |_| async move { Ok(value) })
        .now_or_never()
        .expect("nothing to wait for")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_equal_requests_are_one_computation() {
    let coalescer =
        Arc::new(Coalescer::<String, u32, String>::new(CoalescerConfig::default(), Arc::new(SystemClock)));
    let n_computed = Arc::new(AtomicUsize::new(0));
    let requests = (0..1_000).map(|_| {
        let (coalescer, n_computed) = (Arc::clone(&coalescer), Arc::clone(&n_computed));
        tokio::spawn(async move {
            let all_are_there = || coalescer.stats().n_joined == 999;
            let compute = |_| async {
                n_computed.fetch_add(1, Ordering::Relaxed);
                while !all_are_there() {
                    tokio::task::yield_now().await;
                }
                Ok(7)
            };
            coalescer.run("same".to_owned(), Waiter::default(), compute).await.unwrap()
        })
    });
    let flown: Vec<_> = join_all(requests).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(n_computed.load(Ordering::Relaxed), 1);
    assert!(flown.iter().all(|flown| flown.value == 7));
    assert_eq!(flown.iter().filter(|flown| flown.role == Role::Led).count(), 1);
    let stats = coalescer.stats();
    assert_eq!((stats.n_led, stats.n_joined, stats.n_in_flight, stats.n_kept), (1, 999, 0, 0));
}

#[test]
fn different_keys_do_not_wait_for_each_other() {
    let (coalescer, _) = coalescer(CoalescerConfig::default());
    let (mut one, _sender) = ask(&coalescer, Waiter::default());
    assert!(one.poll().is_none());
    assert_eq!(ask_now(&coalescer, 2, 22), flown(22, Role::Led));
    assert_eq!(coalescer.stats().n_in_flight, 1);
}

#[test]
fn a_cancelled_leader_hands_over_to_the_most_urgent_and_then_to_the_first() {
    let (coalescer, _) = coalescer(CoalescerConfig::default());
    let (mut leader, _leader_sender) = ask(&coalescer, urgent(Priority::High));
    let (mut low, low_sender) = ask(&coalescer, urgent(Priority::Low));
    let (mut first, _first_sender) = ask(&coalescer, Waiter::default());
    let (mut second, second_sender) = ask(&coalescer, Waiter::default());
    for request in [&mut leader, &mut low, &mut first, &mut second] {
        assert!(request.poll().is_none());
    }
    drop(leader);
    assert!(first.is_woken() && !second.is_woken() && !low.is_woken());
    // It was told to lead, and leaves before it does.
    drop(first);
    assert!(second.is_woken() && !low.is_woken());
    assert!(second.poll().is_none());
    assert!(low_sender.send(Ok(3)).is_ok(), "its computation waits until it is needed");
    second_sender.send(Ok(2)).unwrap();
    assert_eq!(second.poll(), Some(flown(2, Role::Led)));
    assert_eq!(low.poll_if_woken(), Some(flown(2, Role::Joined)));
    let stats = coalescer.stats();
    assert_eq!((stats.n_led, stats.n_joined, stats.n_handed_over, stats.n_in_flight), (2, 3, 2, 0));
}

#[test]
fn a_flight_that_nobody_waits_for_is_gone() {
    let (coalescer, _) = coalescer(CoalescerConfig::default());
    let (mut leader, sender) = ask(&coalescer, Waiter::default());
    let (mut waiter, _) = ask(&coalescer, Waiter::default());
    assert!(leader.poll().is_none() && waiter.poll().is_none());
    drop(waiter);
    drop(leader);
    assert!(sender.send(Ok(1)).is_err(), "the computation is dropped");
    assert_eq!((coalescer.stats().n_in_flight, coalescer.stats().n_handed_over), (0, 0));
    assert_eq!(ask_now(&coalescer, 1, 5), flown(5, Role::Led));
}

#[test]
fn a_failure_is_everybodys_when_shared() {
    let (coalescer, _) =
        coalescer(CoalescerConfig { window: Duration::from_secs(9), ..CoalescerConfig::default() });
    let (mut leader, sender) = ask(&coalescer, Waiter::default());
    let (mut waiter, _sender) = ask(&coalescer, Waiter::default());
    assert!(leader.poll().is_none() && waiter.poll().is_none());
    sender.send(Err("down".to_owned())).unwrap();
    assert_eq!(leader.poll(), Some(failed("down")));
    assert_eq!(waiter.poll_if_woken(), Some(failed("down")));
    let stats = coalescer.stats();
    assert_eq!((stats.n_led, stats.n_failed, stats.n_in_flight, stats.n_kept), (1, 1, 0, 0));
}

#[test]
fn a_failure_is_the_leaders_own_when_the_others_retry() {
    let (coalescer, _) = coalescer(retrying());
    let (mut requests, senders): (Vec<_>, Vec<_>) =
        (0..4).map(|_| ask(&coalescer, Waiter::default())).unzip();
    assert!(requests.iter_mut().all(|request| request.poll().is_none()));
    let results = [Err("one".to_owned()), Err("two".to_owned()), Ok(3), Ok(4)];
    for (sender, result) in senders.into_iter().zip(results) {
        sender.send(result).unwrap_or_default();
    }
    let outcomes: Vec<_> = requests.iter_mut().map(|request| request.poll_if_woken().unwrap()).collect();
    assert_eq!(outcomes, [failed("one"), failed("two"), flown(3, Role::Led), flown(3, Role::Joined)]);
    let stats = coalescer.stats();
    assert_eq!((stats.n_led, stats.n_failed, stats.n_handed_over, stats.n_in_flight), (3, 2, 2, 0));
}

#[test]
fn retrying_ends_when_all_have_failed() {
    let (coalescer, _) = coalescer(retrying());
    let (mut requests, senders): (Vec<_>, Vec<_>) =
        (0..3).map(|_| ask(&coalescer, Waiter::default())).unzip();
    assert!(requests.iter_mut().all(|request| request.poll().is_none()));
    for sender in senders {
        sender.send(Err("down".to_owned())).unwrap();
    }
    assert!(requests.iter_mut().all(|request| request.poll_if_woken() == Some(failed("down"))));
    assert_eq!((coalescer.stats().n_led, coalescer.stats().n_in_flight), (3, 0));
}

#[test]
fn a_panic_unwinds_through_the_leader_and_is_told_to_the_others() {
    let (coalescer, _) = coalescer(CoalescerConfig::default());
    let (mut leader, sender) = ask_panicking(&coalescer);
    let (mut waiter, _sender) = ask(&coalescer, Waiter::default());
    assert!(leader.poll().is_none() && waiter.poll().is_none());
    sender.send(()).unwrap();
    let panic = std::panic::catch_unwind(AssertUnwindSafe(|| leader.poll())).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"as told"));
    assert_eq!(waiter.poll_if_woken(), Some(Err(CoalesceError::Panicked)));
    let stats = coalescer.stats();
    assert_eq!((stats.n_panicked, stats.n_handed_over, stats.n_in_flight), (1, 0, 0));
}

#[test]
fn after_a_panic_the_next_leads_when_the_others_retry() {
    let (coalescer, _) = coalescer(retrying());
    let (mut leader, sender) = ask_panicking(&coalescer);
    let (mut waiter, waiter_sender) = ask(&coalescer, Waiter::default());
    assert!(leader.poll().is_none() && waiter.poll().is_none());
    sender.send(()).unwrap();
    assert!(std::panic::catch_unwind(AssertUnwindSafe(|| leader.poll())).is_err());
    waiter_sender.send(Ok(4)).unwrap();
    assert_eq!(waiter.poll_if_woken(), Some(flown(4, Role::Led)));
    assert_eq!((coalescer.stats().n_panicked, coalescer.stats().n_in_flight), (1, 0));
}

#[test]
fn a_leader_dropped_while_something_else_unwinds_has_not_panicked() {
    let (coalescer, _) = coalescer(CoalescerConfig::default());
    let (mut leader, _leader_sender) = ask(&coalescer, Waiter::default());
    let (mut waiter, sender) = ask(&coalescer, Waiter::default());
    assert!(leader.poll().is_none() && waiter.poll().is_none());
    let unwinding = std::panic::catch_unwind(AssertUnwindSafe(move || {
        let _leader = leader;
        resume_unwind(Box::new("somebody else's"))
    }));
    assert!(unwinding.is_err());
    sender.send(Ok(6)).unwrap();
    assert_eq!(waiter.poll_if_woken(), Some(flown(6, Role::Led)));
    assert_eq!(coalescer.stats().n_panicked, 0);
}

#[tokio::test]
async fn a_deadline_is_for_the_one_who_has_it() {
    let coalescer = Coalescer::<u32, u32, String>::new(CoalescerConfig::default(), Arc::new(SystemClock));
    let in_a_moment =
        || Waiter { deadline: Deadline::after(&SystemClock, Duration::from_millis(5)), ..Waiter::default() };
    // The leader runs out of time; the next has time, and one who waits for it has not.
    let (sender, receiver) = oneshot::channel();
    let leader = coalescer.run(1, in_a_moment(), |_| std::future::pending());
    let next = coalescer.run(1, Waiter::default(), |_| async { receiver.await.unwrap() });
    let hasty = coalescer.run(1, in_a_moment(), |_| std::future::pending());
    let both_late = async {
        let late = tokio::join!(leader, async {
            tokio::task::yield_now().await;
            hasty.await
        });
        sender.send(Ok(8)).unwrap();
        late
    };
    let ((leader, hasty), next) = tokio::join!(both_late, next);
    assert_eq!((leader, hasty), (Err(CoalesceError::OutOfTime), Err(CoalesceError::OutOfTime)));
    assert_eq!(next, flown(8, Role::Led));
    let stats = coalescer.stats();
    assert_eq!((stats.n_out_of_time, stats.n_handed_over, stats.n_in_flight), (2, 1, 0));
}

#[test]
fn who_comes_too_late_starts_nothing_but_is_given_what_is_kept() {
    let (coalescer, clock) = coalescer(keeping(Duration::from_secs(5), 10));
    let late = Waiter { deadline: Deadline::after(&*clock, Duration::ZERO), ..Waiter::default() };
    let ask_late = || {
        let run = coalescer.run(1, late, |_| async { panic!("it must not be started") });
        run.now_or_never().unwrap()
    };
    assert_eq!(ask_late(), Err(CoalesceError::OutOfTime));
    assert_eq!(ask_now(&coalescer, 1, 5), flown(5, Role::Led));
    assert_eq!(ask_late(), flown(5, Role::Repeated));
    let stats = coalescer.stats();
    assert_eq!((stats.n_led, stats.n_repeated, stats.n_out_of_time), (1, 1, 1));
}

#[test]
fn a_flight_is_as_urgent_as_the_most_urgent_who_ever_waited() {
    let (coalescer, _) = coalescer(CoalescerConfig::default());
    let (sender, mut urgency) = oneshot::channel();
    let mut leader = Driven::new(coalescer.run(1, urgent(Priority::Low), |urgency| {
        sender.send(urgency).unwrap();
        std::future::pending()
    }));
    assert!(leader.poll().is_none());
    let urgency = urgency.try_recv().unwrap();
    assert_eq!(urgency.now(), Priority::Low);
    let (mut high, _) = ask(&coalescer, urgent(Priority::High));
    assert!(high.poll().is_none());
    assert_eq!(urgency.now(), Priority::High);
    drop(high);
    assert_eq!(urgency.now(), Priority::High);
    // The next leader inherits it.
    let (sender, mut inherited) = oneshot::channel();
    let mut next = Driven::new(coalescer.run(1, urgent(Priority::Low), |urgency| {
        sender.send(urgency.now()).unwrap();
        async { Ok(1) }
    }));
    assert!(next.poll().is_none());
    drop(leader);
    assert_eq!(next.poll_if_woken(), Some(flown(1, Role::Led)));
    assert_eq!(inherited.try_recv(), Ok(Priority::High));
}

#[test]
fn a_value_is_repeated_within_the_window_and_no_longer() {
    let (coalescer, clock) = coalescer(keeping(Duration::from_secs(5), 10));
    assert_eq!(ask_now(&coalescer, 1, 10), flown(10, Role::Led));
    clock.advance(Duration::from_millis(4_999));
    assert_eq!(ask_now(&coalescer, 1, 11), flown(10, Role::Repeated));
    assert_eq!(coalescer.stats().n_kept, 1);
    clock.advance(Duration::from_millis(1));
    assert_eq!(coalescer.stats().n_kept, 0);
    assert_eq!(ask_now(&coalescer, 1, 12), flown(12, Role::Led));
    coalescer.forget_all();
    assert_eq!(ask_now(&coalescer, 1, 13), flown(13, Role::Led));
}

#[test]
fn the_oldest_go_when_too_many_are_kept() {
    let (coalescer, _) = coalescer(keeping(Duration::MAX, 2));
    for key in 1..=3 {
        assert_eq!(ask_now(&coalescer, key, key), flown(key, Role::Led));
    }
    assert_eq!(coalescer.stats().n_kept, 2);
    assert_eq!(ask_now(&coalescer, 2, 0), flown(2, Role::Repeated));
    assert_eq!(ask_now(&coalescer, 1, 0), flown(0, Role::Led));
}

#[test]
fn an_expired_value_is_dropped_when_others_come() {
    let clock = Arc::new(ManualClock::new());
    let coalescer =
        Coalescer::<u32, Arc<u32>, String>::new(keeping(Duration::from_secs(5), 10), clock.clone());
    let ask = |key| {
        let run = coalescer.run(key, Waiter::default(), |_| async move { Ok(Arc::new(key)) });
        Arc::downgrade(&run.now_or_never().unwrap().unwrap().value)
    };
    let expired = ask(1);
    assert!(expired.upgrade().is_some(), "it is kept");
    clock.advance(Duration::from_secs(5));
    ask(2);
    assert!(expired.upgrade().is_none());
}

#[test]
fn forgetting_leaves_no_trace_that_would_be_counted() {
    let (coalescer, _) = coalescer(keeping(Duration::from_secs(5), 2));
    for key in 1..=5 {
        assert_eq!(ask_now(&coalescer, key, key), flown(key, Role::Led));
        if key == 1 {
            coalescer.forget(&key);
        }
    }
    assert_eq!(coalescer.stats().n_kept, 2);
}

#[test]
fn what_was_forgotten_is_not_given_to_who_comes_later() {
    let (coalescer, _) = coalescer(keeping(Duration::from_secs(5), 10));
    for forget in [|c: &Coalescer<u32, u32, String>| c.forget(&1), Coalescer::forget_all] {
        let (mut leader, sender) = ask(&coalescer, Waiter::default());
        let (mut waiter, _) = ask(&coalescer, Waiter::default());
        assert!(leader.poll().is_none() && waiter.poll().is_none());
        forget(&coalescer);
        let (mut newcomer, new_sender) = ask(&coalescer, Waiter::default());
        assert!(newcomer.poll().is_none());
        sender.send(Ok(1)).unwrap();
        assert_eq!(leader.poll(), Some(flown(1, Role::Led)));
        assert_eq!(waiter.poll_if_woken(), Some(flown(1, Role::Joined)));
        assert_eq!(coalescer.stats().n_kept, 0);
        new_sender.send(Ok(2)).unwrap();
        assert_eq!(newcomer.poll_if_woken(), Some(flown(2, Role::Led)));
        assert_eq!(ask_now(&coalescer, 1, 3), flown(2, Role::Repeated));
        forget(&coalescer);
        assert_eq!(coalescer.stats().n_kept, 0);
    }
    assert_eq!(coalescer.stats().n_in_flight, 0);
}
