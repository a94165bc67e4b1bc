//! The gate of admission under every interleaving of two or three threads.

#![expect(
    dead_code,
    unreachable_pub,
    reason = "of the files that are checked only some functions are called"
)]
#![expect(clippy::unwrap_used, reason = "in tests a panic is how a failure is reported")]

#[path = "../src/admission/applicant.rs"]
mod applicant;
#[path = "../src/admission/config.rs"]
mod config;
#[path = "../src/admission/gate.rs"]
mod gate;
#[path = "../src/admission/limiter.rs"]
mod limiter;
#[path = "../src/admission/permit.rs"]
mod permit;
#[path = "../src/admission/queue.rs"]
mod queue;
#[path = "../src/admission/rejected.rs"]
mod rejected;
#[path = "../src/admission/stats.rs"]
mod stats;

/// The lock of the model checker.
mod sync {
    pub(crate) use loom::sync::{Mutex, MutexGuard};
}

use std::time::Instant;

use hp_base::{Clock, ManualClock};
use loom::sync::Arc;
use loom::thread;

use self::applicant::Applicant;
use self::config::AdmissionConfig;
use self::gate::{Entry, Gate};
use self::permit::Outcome;

/// The clock stands still, so that all instants are this one.
fn gate() -> (Arc<Gate>, Instant) {
    let clock = std::sync::Arc::new(ManualClock::new());
    let now = clock.now();
    (Arc::new(Gate::new(AdmissionConfig::fixed(1), clock)), now)
}

fn assert_empty(gate: &Gate) {
    let stats = gate.stats();
    assert_eq!((stats.n_in_flight, stats.n_waiting), (0, 0), "{stats:?}");
}

/// Works once, after a wait if there must be one; whether it was admitted.
fn work(gate: &Gate) -> bool {
    let since = match gate.enter(Applicant::default(), true) {
        Ok(Entry::Admitted(since)) => Some(since),
        Ok(Entry::Waits(_, verdict)) => loom::future::block_on(verdict).unwrap().ok(),
        Err(_) => None,
    };
    if let Some(since) = since {
        let stats = gate.stats();
        assert!(stats.n_in_flight <= stats.limit, "{stats:?}");
        gate.give_back(since, Outcome::Done);
    }
    since.is_some()
}

#[test]
fn all_who_come_are_admitted_one_after_the_other() {
    loom::model(|| {
        let (gate, _) = gate();
        let others: Vec<_> = (0..2)
            .map(|_| {
                let gate = Arc::clone(&gate);
                thread::spawn(move || work(&gate))
            })
            .collect();
        assert!(work(&gate));
        for other in others {
            assert!(other.join().unwrap());
        }
        assert_empty(&gate);
    });
}

#[test]
fn a_permit_granted_while_its_waiter_leaves_goes_to_the_next() {
    loom::model(|| {
        let (gate, now) = gate();
        assert!(matches!(gate.enter(Applicant::default(), true), Ok(Entry::Admitted(_))));
        let Ok(Entry::Waits(ticket, mut verdict)) = gate.enter(Applicant::default(), true) else {
            unreachable!("there is room for one");
        };
        let leaver = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || gate.leave(ticket, &mut verdict))
        };
        let worker = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || work(&gate))
        };
        gate.give_back(now, Outcome::Done);
        leaver.join().unwrap();
        assert!(worker.join().unwrap());
        assert_empty(&gate);
    });
}

#[test]
fn whose_time_ends_while_they_are_admitted_have_their_permit_or_none_is_lost() {
    loom::model(|| {
        let (gate, now) = gate();
        assert!(matches!(gate.enter(Applicant::default(), true), Ok(Entry::Admitted(_))));
        let Ok(Entry::Waits(ticket, mut verdict)) = gate.enter(Applicant::default(), true) else {
            unreachable!("there is room for one");
        };
        let waiter = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || {
                if let Ok(since) = gate.time_out(ticket, &mut verdict) {
                    gate.give_back(since, Outcome::Done);
                }
            })
        };
        gate.give_back(now, Outcome::Done);
        waiter.join().unwrap();
        assert_empty(&gate);
        assert!(work(&gate));
    });
}

#[test]
fn when_it_closes_nobody_waits_for_ever() {
    loom::model(|| {
        let (gate, now) = gate();
        assert!(matches!(gate.enter(Applicant::default(), true), Ok(Entry::Admitted(_))));
        let worker = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || work(&gate))
        };
        let closer = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || gate.close())
        };
        gate.give_back(now, Outcome::Done);
        worker.join().unwrap();
        closer.join().unwrap();
        assert_empty(&gate);
    });
}
