//! The suite that every [`Admission`] must pass.
//!
//! For people who write one of their own: call [`check`] with something that makes a fresh one with room for two at once,
//! and a few more that wait.
//!
//! ```
//! use std::sync::Arc;
//! use hp_base::SystemClock;
//! use resource_manager::{AdaptiveAdmission, Admission, AdmissionConfig, contract};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! contract::check(|| {
//!     let admission = AdaptiveAdmission::new(AdmissionConfig::fixed(2), Arc::new(SystemClock));
//!     Arc::new(admission) as Arc<dyn Admission>
//! })
//! .await;
//! # });
//! # Ok::<(), std::io::Error>(())
//! ```

#![expect(clippy::panic, reason = "a panic is how a suite reports a clause that does not hold")]

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use hp_base::Deadline;

use crate::{Admission, Applicant, Permit, RejectReason, Rejected};

type Admit<'a> = Pin<Box<dyn Future<Output = Result<Permit, Rejected>> + Send + 'a>>;

/// Runs every clause of the contract, each against a new admission from `make`, which has room for two at once, or for
/// anybody if it says so by its limit.
///
/// # Panics
///
/// On the first clause that does not hold, with its name.
pub async fn check(make: impl Fn() -> Arc<dyn Admission>) {
    after_the_deadline_nobody_is_admitted(&*make()).await;
    whoever_ends_makes_room(&*make());
    permits_may_end_elsewhere(&*make());
    if make().stats().limit == usize::MAX {
        return;
    }
    no_more_than_the_limit_are_admitted(&*make());
    who_waits_is_admitted_in_turn(&*make()).await;
    who_stops_waiting_leaves(&*make()).await;
    a_permit_granted_unheard_goes_to_the_next(&*make()).await;
    a_squeeze_leaves_one_and_can_be_undone(&*make()).await;
    what_is_said_is_counted(&*make());
}

async fn after_the_deadline_nobody_is_admitted(admission: &dyn Admission) {
    let late = Applicant { deadline: Deadline::at(Instant::now()), ..Applicant::default() };
    for result in [admission.admit(late).await, admission.try_admit(late)] {
        let reason = result.err().map(|rejected| rejected.reason());
        assert_eq!(reason, Some(RejectReason::OutOfTime), "somebody is admitted after their deadline");
    }
    assert_eq!(admission.stats().n_in_flight, 0, "who was rejected is under way");
}

fn whoever_ends_makes_room(admission: &dyn Admission) {
    for round in 0..30 {
        let [one, two] = [admit_now(admission), admit_now(admission)];
        match round % 3 {
            0 => one.done(),
            1 => one.overloaded(),
            _ => drop(one),
        }
        drop(two);
        assert_eq!(admission.stats().n_in_flight, 0, "somebody who has ended is under way");
        if admission.stats().limit < 2 {
            return;
        }
    }
}

fn permits_may_end_elsewhere(admission: &dyn Admission) {
    let permit = admit_now(admission);
    let ended = std::thread::spawn(move || permit.done()).join();
    assert!(ended.is_ok(), "a permit cannot end on another thread");
    assert_eq!(admission.stats().n_in_flight, 0, "somebody who has ended elsewhere is under way");
}

fn no_more_than_the_limit_are_admitted(admission: &dyn Admission) {
    let permits = fill(admission);
    let stats = admission.stats();
    assert_eq!(
        (permits.len(), stats.n_in_flight),
        (stats.limit, stats.limit),
        "the limit is not what counts"
    );
    let rejected = match admission.try_admit(Applicant::default()) {
        Ok(_) => panic!("more than the limit are admitted"),
        Err(rejected) => rejected,
    };
    assert_eq!(rejected.reason(), RejectReason::Full, "there is no room for another reason");
    assert!(!rejected.to_string().is_empty(), "a rejection says nothing");
    assert_eq!(admission.stats().n_rejected.total(), 1, "a rejection is not counted");
}

async fn who_waits_is_admitted_in_turn(admission: &dyn Admission) {
    let mut permits = fill(admission);
    let mut first = admission.admit(Applicant::default());
    let mut second = admission.admit(Applicant::default());
    assert!(poll(&mut first).await.is_none() && poll(&mut second).await.is_none(), "nobody waits");
    assert_eq!(admission.stats().n_waiting, 2, "who waits is not counted");
    drop(permits.pop());
    let admitted = first.await;
    assert!(admitted.is_ok(), "who waits is not admitted");
    assert!(poll(&mut second).await.is_none(), "one who has ended makes room for two");
    drop(admitted);
    assert!(second.await.is_ok(), "the second who waits is not admitted");
}

async fn who_stops_waiting_leaves(admission: &dyn Admission) {
    let permits = fill(admission);
    let mut waiting = admission.admit(Applicant::default());
    assert!(poll(&mut waiting).await.is_none(), "nobody waits");
    drop(waiting);
    assert_eq!(admission.stats().n_waiting, 0, "who has stopped waiting still waits");
    drop(permits);
    assert_eq!(admission.stats().n_in_flight, 0, "who has stopped waiting is admitted");
}

async fn a_permit_granted_unheard_goes_to_the_next(admission: &dyn Admission) {
    let mut permits = fill(admission);
    let mut first = admission.admit(Applicant::default());
    let mut second = admission.admit(Applicant::default());
    assert!(poll(&mut first).await.is_none() && poll(&mut second).await.is_none(), "nobody waits");
    drop(permits.pop());
    drop(first);
    assert!(second.await.is_ok(), "a permit granted to somebody who is gone is lost");
    drop(permits);
    assert_eq!(admission.stats().n_in_flight, 0, "somebody who has ended is under way");
}

async fn a_squeeze_leaves_one_and_can_be_undone(admission: &dyn Admission) {
    admission.squeeze(f64::MIN_POSITIVE);
    let permit = admit_now(admission);
    let mut waiting = admission.admit(Applicant::default());
    assert!(poll(&mut waiting).await.is_none(), "a squeeze leaves more than one");
    admission.squeeze(1.0);
    assert!(waiting.await.is_ok(), "when the ceiling is given back, who waits is not admitted");
    drop(permit);
}

fn what_is_said_is_counted(admission: &dyn Admission) {
    admit_now(admission).overloaded();
    admit_now(admission).done();
    let stats = admission.stats();
    assert_eq!((stats.n_admitted, stats.n_overloaded), (2, 1), "what is said of the work is not counted");
    assert!(stats.latency.is_some(), "work that was done has taken no time");
}

fn fill(admission: &dyn Admission) -> Vec<Permit> {
    (0..admission.stats().limit).map(|_| admit_now(admission)).collect()
}

fn admit_now(admission: &dyn Admission) -> Permit {
    match admission.try_admit(Applicant::default()) {
        Ok(permit) => permit,
        Err(rejected) => panic!("with room for one nobody is admitted: {rejected}"),
    }
}

/// What it comes to, if it does at once.
async fn poll(admit: &mut Admit<'_>) -> Option<Result<Permit, Rejected>> {
    poll_fn(|context| match admit.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
