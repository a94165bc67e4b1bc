//! Whatever comes, goes, fails and panics in whatever order: everybody has an end, and it is the right one.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hp_base::{ManualClock, Priority};
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::driven::Driven;
use crate::{CoalesceError, Coalescer, CoalescerConfig, Flown, OnFailure, Role, Waiter};

const WINDOW: Duration = Duration::from_millis(10);

#[derive(Debug, Clone)]
enum Step {
    Ask(u8, usize),
    Leave(usize),
    End(usize, End),
    Forget(u8),
    ForgetAll,
    Advance(u64),
}

#[derive(Debug, Clone, Copy)]
enum End {
    Well,
    Badly,
    Panicking,
}

/// A key between two times it was forgotten.
type Era = (u8, u32);

/// A value says where and when it was computed: its era, and the number of the computation.
type Value = (Era, usize);

/// The computations under way.
#[derive(Debug, Default)]
struct Running {
    n_begun: usize,
    running: Vec<(usize, Era, oneshot::Sender<End>)>,
    landed: HashMap<usize, Duration>,
}

struct Request<'a> {
    era: Era,
    asked: Duration,
    driven: Driven<'a, Result<Flown<Value>, CoalesceError<Value>>>,
}

/// Takes a computation from the list when it is dropped.
struct Listed(Arc<Mutex<Running>>, usize);

impl Drop for Listed {
    fn drop(&mut self) {
        self.0.lock().unwrap().running.retain(|(id, ..)| *id != self.1);
    }
}

async fn compute(running: Arc<Mutex<Running>>, era: Era) -> Result<Value, Value> {
    let (sender, receiver) = oneshot::channel();
    let id = {
        let mut running = running.lock().unwrap();
        assert!(running.running.iter().all(|(_, other, _)| *other != era), "two at once for {era:?}");
        running.n_begun += 1;
        let id = running.n_begun;
        running.running.push((id, era, sender));
        id
    };
    let _listed = Listed(running, id);
    match receiver.await.unwrap() {
        End::Well => Ok((era, id)),
        End::Badly => Err((era, id)),
        End::Panicking => resume_unwind(Box::new(Told)),
    }
}

/// The panic that was asked for.
struct Told;

fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![3 => Just(End::Well), 1 => Just(End::Badly), 1 => Just(End::Panicking)];
    prop_oneof![
        8 => (0..3_u8, 0..3_usize).prop_map(|(key, priority)| Step::Ask(key, priority)),
        4 => any::<usize>().prop_map(Step::Leave),
        4 => (any::<usize>(), end).prop_map(|(which, end)| Step::End(which, end)),
        1 => (0..3_u8).prop_map(Step::Forget),
        1 => Just(Step::ForgetAll),
        2 => (0..12_u64).prop_map(Step::Advance),
    ]
}

struct World<'a> {
    coalescer: &'a Coalescer<u8, Value, Value>,
    config: CoalescerConfig,
    running: Arc<Mutex<Running>>,
    requests: Vec<Request<'a>>,
    now: Duration,
}

impl World<'_> {
    fn end_one(&self, which: usize, end: End) {
        let mut running = self.running.lock().unwrap();
        let n_running = running.running.len();
        if n_running > 0 {
            let (id, era, sender) = running.running.swap_remove(which % n_running);
            if matches!(end, End::Well) {
                running.landed.insert(id, self.now);
            }
            drop(running);
            sender.send(end).unwrap_or_else(|_| panic!("nobody computes {id} for {era:?}"));
        }
    }

    /// Polls whoever was woken until nobody is any more, and looks at how they end.
    fn settle(&mut self) {
        while let Some(index) = self.requests.iter().position(|request| request.driven.is_woken()) {
            let request = &mut self.requests[index];
            match catch_unwind(AssertUnwindSafe(|| request.driven.poll())) {
                Ok(None) => {}
                Ok(Some(outcome)) => {
                    let request = self.requests.swap_remove(index);
                    self.check(&request, outcome);
                }
                Err(panic) => {
                    if !panic.is::<Told>() {
                        resume_unwind(panic);
                    }
                    self.requests.swap_remove(index);
                }
            }
        }
        // Where somebody waits, somebody computes, and nobody else does.
        let mut waited_for: Vec<Era> = self.requests.iter().map(|request| request.era).collect();
        waited_for.sort_unstable();
        waited_for.dedup();
        let mut computed: Vec<Era> =
            self.running.lock().unwrap().running.iter().map(|(_, era, _)| *era).collect();
        computed.sort_unstable();
        assert_eq!(waited_for, computed);
        assert_eq!(self.coalescer.stats().n_in_flight, computed.len());
    }

    fn check(&self, request: &Request<'_>, outcome: Result<Flown<Value>, CoalesceError<Value>>) {
        match outcome {
            Ok(Flown { value: (era, id), role }) => {
                assert_eq!(era, request.era);
                let landed = self.running.lock().unwrap().landed[&id];
                match role {
                    Role::Led | Role::Joined => assert!(landed >= request.asked),
                    Role::Repeated => assert!(request.asked < landed + self.config.window),
                }
            }
            Err(CoalesceError::Failed((era, _))) => assert_eq!(era, request.era),
            Err(CoalesceError::Panicked) => assert_eq!(self.config.on_failure, OnFailure::Share),
            Err(CoalesceError::OutOfTime) => panic!("nobody had a deadline"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]
    #[test]
    fn everybody_ends_rightly(
        steps in prop::collection::vec(step(), 1..60),
        retries in any::<bool>(),
        keeps in any::<bool>(),
    ) {
        let config = CoalescerConfig {
            window: if keeps { WINDOW } else { Duration::ZERO },
            max_kept: 2,
            on_failure: if retries { OnFailure::Retry } else { OnFailure::Share },
        };
        let clock = Arc::new(ManualClock::new());
        let coalescer = Coalescer::new(config, clock.clone());
        let mut world =
            World { coalescer: &coalescer, config, running: Arc::default(), requests: Vec::new(), now: Duration::ZERO };
        let mut eras = [0_u32; 3];
        for step in steps {
            match step {
                Step::Ask(key, priority) => {
                    let era = (key, eras[usize::from(key)]);
                    let running = Arc::clone(&world.running);
                    let waiter = Waiter { priority: Priority::ALL[priority], ..Waiter::default() };
                    let driven = Driven::new(coalescer.run(key, waiter, move |_| compute(running, era)));
                    world.requests.push(Request { era, asked: world.now, driven });
                }
                Step::Leave(which) if !world.requests.is_empty() => {
                    let which = which % world.requests.len();
                    world.requests.swap_remove(which);
                    // Sometimes the next leaves before it hears that it leads.
                    if which % 2 == 1 {
                        continue;
                    }
                }
                Step::Leave(_) => {}
                Step::End(which, end) => world.end_one(which, end),
                Step::Forget(key) => {
                    // Whoever has not been polled has not asked yet.
                    world.settle();
                    coalescer.forget(&key);
                    eras[usize::from(key)] += 1;
                }
                Step::ForgetAll => {
                    world.settle();
                    coalescer.forget_all();
                    eras.iter_mut().for_each(|era| *era += 1);
                }
                Step::Advance(millis) => {
                    world.settle();
                    clock.advance(Duration::from_millis(millis));
                    world.now += Duration::from_millis(millis);
                }
            }
            world.settle();
            prop_assert!(coalescer.stats().n_kept <= 2);
        }
        world.settle();
        let mut n_left = world.requests.len();
        while n_left > 0 {
            world.end_one(n_left, if n_left.is_multiple_of(3) { End::Badly } else { End::Well });
            world.settle();
            prop_assert!(world.requests.len() < n_left);
            n_left = world.requests.len();
        }
        prop_assert_eq!(coalescer.stats().n_in_flight, 0);
        clock.advance(WINDOW);
        prop_assert_eq!(coalescer.stats().n_kept, 0);
    }
}
