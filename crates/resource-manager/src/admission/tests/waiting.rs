//! Who is admitted when, and who is told what.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use hp_base::{Clock, Deadline, ManualClock, Priority, SystemClock};

use crate::admission::queue::Queue;
use crate::{AdaptiveAdmission, Admission, AdmissionConfig, Applicant, NoAdmission, RejectReason, contract};

const SECOND: Duration = Duration::from_secs(1);

fn admission(config: AdmissionConfig) -> (AdaptiveAdmission, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    (AdaptiveAdmission::new(config, clock.clone()), clock)
}

fn of(priority: Priority) -> Applicant {
    Applicant { priority, ..Applicant::default() }
}

fn within(clock: &ManualClock, time: Duration) -> Applicant {
    Applicant { deadline: Deadline::after(clock, time), ..Applicant::default() }
}

#[tokio::test]
async fn the_contract_is_kept() {
    contract::check(|| Arc::new(NoAdmission)).await;
    contract::check(|| Arc::new(AdaptiveAdmission::new(AdmissionConfig::fixed(2), Arc::new(SystemClock))))
        .await;
    contract::check(|| {
        let config = AdmissionConfig { initial: 2, ..AdmissionConfig::default() };
        Arc::new(AdaptiveAdmission::new(config, Arc::new(SystemClock)))
    })
    .await;
}

#[test]
fn the_most_urgent_goes_first_and_of_those_the_earliest_deadline() {
    let clock = ManualClock::new();
    let mut queue = Queue::new(Duration::MAX);
    let now = clock.now();
    queue.push(0, of(Priority::Low), "low", now);
    queue.push(1, of(Priority::Normal), "normal, whenever", now);
    queue.push(2, within(&clock, 2 * SECOND), "normal, in 2 s", now);
    queue.push(3, within(&clock, SECOND), "normal, in 1 s", now);
    queue.push(4, within(&clock, SECOND), "normal, in 1 s, came later", now);
    queue.push(5, of(Priority::High), "high", now);
    assert_eq!(queue.n_ahead(within(&clock, SECOND)), 3);
    assert_eq!((queue.n_ahead(of(Priority::High)), queue.n_ahead(of(Priority::Low))), (1, 6));
    let order: Vec<_> = std::iter::from_fn(|| queue.pop(now)).map(|(_, name)| name).collect();
    let expected =
        ["high", "normal, in 1 s", "normal, in 1 s, came later", "normal, in 2 s", "normal, whenever", "low"];
    assert_eq!(order, expected);
}

#[test]
fn who_has_waited_long_does_not_starve() {
    let clock = ManualClock::new();
    let mut queue = Queue::new(SECOND);
    queue.push(0, of(Priority::Low), true, clock.now());
    let mut n_before = 0;
    for ticket in 1..100 {
        clock.advance(Duration::from_millis(100));
        queue.push(ticket, of(Priority::High), false, clock.now());
        if queue.pop(clock.now()).is_some_and(|(_, is_low)| is_low) {
            break;
        }
        n_before += 1;
    }
    // Two steps up take two seconds; then it was there before those who came meanwhile.
    assert_eq!(n_before, 19);
}

#[tokio::test]
async fn a_full_queue_displaces_the_least_urgent_newest() {
    let (admission, _) = admission(AdmissionConfig { max_waiting: 3, ..AdmissionConfig::fixed(1) });
    let permit = admission.try_admit(of(Priority::Low)).unwrap();
    let mut old = admission.admit(of(Priority::Low));
    let mut new = admission.admit(of(Priority::Low));
    let mut normal = admission.admit(of(Priority::Normal));
    for waiting in [&mut old, &mut new, &mut normal] {
        assert!(waiting.now_or_never().is_none());
    }
    let rejected = admission.admit(of(Priority::Low)).await.unwrap_err();
    assert_eq!(rejected.reason(), RejectReason::Full);
    let mut high = admission.admit(of(Priority::High));
    assert!((&mut high).now_or_never().is_none());
    assert_eq!(new.await.unwrap_err().reason(), RejectReason::Displaced);
    permit.done();
    let permit = high.await.unwrap();
    assert!((&mut old).now_or_never().is_none() && (&mut normal).now_or_never().is_none());
    let rejects = admission.stats().n_rejected;
    assert_eq!(rejects.get(RejectReason::Displaced, Priority::Low), 1);
    assert_eq!((rejects.of_reason(RejectReason::Full), rejects.total()), (1, 2));
    drop(permit);
    normal.await.unwrap().done();
    old.await.unwrap().done();
}

#[tokio::test]
async fn who_cannot_be_in_time_is_told_at_once() {
    let (admission, clock) = admission(AdmissionConfig::fixed(2));
    let permit = admission.try_admit(Applicant::default()).unwrap();
    clock.advance(SECOND);
    permit.done();
    // While nothing is under way nobody is too late.
    let _one = admission.admit(within(&clock, Duration::from_millis(1))).await.unwrap();
    let _two = admission.try_admit(Applicant::default()).unwrap();
    // Half a second until one of the two ends, and one second of work.
    let rejected = admission.admit(within(&clock, Duration::from_millis(1_499))).await.unwrap_err();
    assert_eq!(rejected.reason(), RejectReason::TooLate);
    assert_eq!(rejected.retry_after(), Some(SECOND / 2));
    let mut waiting = admission.admit(within(&clock, Duration::from_millis(1_500)));
    assert!((&mut waiting).now_or_never().is_none());
    assert_eq!(admission.stats().n_waiting, 1);
}

#[tokio::test]
async fn whose_time_ends_while_they_wait_is_told() {
    let admission = AdaptiveAdmission::new(AdmissionConfig::fixed(1), Arc::new(SystemClock));
    let permit = admission.try_admit(Applicant::default()).unwrap();
    let deadline = Deadline::after(&SystemClock, Duration::from_millis(20));
    let rejected = admission.admit(Applicant { deadline, ..Applicant::default() }).await.unwrap_err();
    assert_eq!(rejected.reason(), RejectReason::OutOfTime);
    let stats = admission.stats();
    assert_eq!((stats.n_waiting, stats.n_in_flight, stats.n_rejected.total()), (0, 1, 1));
    drop(permit);
}

#[tokio::test]
async fn no_permit_is_spent_on_somebody_whose_time_is_over() {
    let (admission, clock) = admission(AdmissionConfig::fixed(1));
    let permit = admission.try_admit(Applicant::default()).unwrap();
    let mut late = admission.admit(within(&clock, SECOND));
    let mut next = admission.admit(Applicant::default());
    assert!((&mut late).now_or_never().is_none() && (&mut next).now_or_never().is_none());
    clock.advance(SECOND);
    drop(permit);
    assert_eq!(late.await.unwrap_err().reason(), RejectReason::OutOfTime);
    assert!(next.await.is_ok());
}

#[tokio::test]
async fn when_it_closes_all_who_wait_are_told() {
    let (admission, _) = admission(AdmissionConfig::fixed(1));
    let permit = admission.try_admit(Applicant::default()).unwrap();
    let mut waiting = admission.admit(Applicant::default());
    assert!((&mut waiting).now_or_never().is_none());
    admission.close();
    assert_eq!(waiting.await.unwrap_err().reason(), RejectReason::Closed);
    permit.done();
    let rejected = admission.try_admit(Applicant::default()).unwrap_err();
    assert_eq!((rejected.reason(), rejected.retry_after()), (RejectReason::Closed, None));
}

#[test]
fn a_squeeze_lowers_the_ceiling() {
    let config = AdmissionConfig { initial: 8, ceiling: 8, ..AdmissionConfig::default() };
    let (admission, _) = admission(config);
    for (share, limit) in [(0.5, 4), (0.01, 1), (-3.0, 1), (f64::NAN, 8), (7.0, 8)] {
        admission.squeeze(share);
        assert_eq!((admission.stats().limit, admission.stats().ceiling), (limit, limit), "{share}");
    }
}

#[test]
fn an_overload_lowers_the_limit_once_a_round() {
    let (admission, clock) = admission(AdmissionConfig { initial: 20, ..AdmissionConfig::default() });
    let permits: Vec<_> = (0..20).map(|_| admission.try_admit(Applicant::default()).unwrap()).collect();
    clock.advance(SECOND);
    permits.into_iter().for_each(crate::Permit::overloaded);
    assert_eq!((admission.stats().limit, admission.stats().n_overloaded), (18, 20));
}
