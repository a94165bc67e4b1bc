//! The batcher's state under a model checker: two or three threads, in every order their steps can have.

#![expect(
    clippy::unwrap_used,
    dead_code,
    reason = "in tests a panic is how a failure is reported, and not all of the state is asked for"
)]

#[path = "../src/batch/service.rs"]
mod service;
#[path = "../src/batch/state.rs"]
mod state;

/// What the state takes from the model checker instead of the standard library.
mod sync {
    pub(crate) use loom::sync::{Mutex, MutexGuard};
}

/// What the state finds in its crate.
mod lanes {
    pub(crate) use request_optimizer::{ItemId, Lanes, Pick, Place, Waiting};
}

/// The same.
mod urgency {
    pub(crate) use request_optimizer::Urgency;
}

use std::time::Instant;

use hp_base::Priority;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread::{self, JoinHandle};
use request_optimizer::{BatcherConfig, BatcherStats, ItemId, Place, Urgency, Waiting};

use self::state::{Item, State, Step};

/// What became of each item, counted once at the most, or the test fails.
#[derive(Debug, Default)]
struct Fates([AtomicUsize; 2]);

impl Fates {
    fn tell(&self, item: usize) {
        assert_eq!(self.0[item].fetch_add(1, Ordering::Relaxed), 0, "item {item} has two fates");
    }

    fn n_told(&self) -> usize {
        self.0.iter().map(|fate| fate.load(Ordering::Relaxed)).sum()
    }
}

/// Items, those who dispatch them, and those who go.
struct Model {
    state: State<usize>,
    fates: Fates,
    n_dispatching: AtomicUsize,
    has_gone: AtomicBool,
    now: Instant,
}

impl Model {
    /// Takes an item in; says under which name, and whether whoever asked must dispatch.
    fn enter(&self, item: usize) -> Option<(ItemId, bool)> {
        let urgency = Urgency::new(Priority::Normal);
        let entered = self.state.enter(Item { ticket: item, urgency }, Place::default(), self.now);
        if entered.is_err() {
            self.fates.tell(item);
        }
        entered.ok().map(|entered| (entered.id, entered.starts))
    }

    fn submit(&self, item: usize) -> Option<ItemId> {
        let (id, starts) = self.enter(item)?;
        if starts {
            self.dispatch();
        }
        Some(id)
    }

    fn cancel(&self, id: ItemId) {
        self.has_gone.store(true, Ordering::SeqCst);
        self.tell(self.state.cancel(id));
    }

    /// Dispatches until nothing waits. Batches of two and more fall apart.
    fn dispatch(&self) {
        while self.next_step() != Step::End {
            let Some(batch) = self.state.take(self.now).batch else { continue };
            if batch.items.len() > 1 {
                let is_wanted = |item: &usize| *item == 0 || !self.has_gone.load(Ordering::SeqCst);
                let (given_up, starts) = self.state.fall_apart(batch.items, self.now, is_wanted);
                assert!(!starts, "somebody dispatches");
                self.tell(given_up);
                self.state.end(batch.call, self.now, Some(false));
            } else {
                self.state.end(batch.call, self.now, Some(true));
                self.tell(batch.items);
            }
        }
    }

    fn next_step(&self) -> Step {
        assert_eq!(self.n_dispatching.fetch_add(1, Ordering::SeqCst), 0, "two dispatch");
        self.n_dispatching.fetch_sub(1, Ordering::SeqCst);
        self.state.step(self.now)
    }

    fn tell(&self, items: impl IntoIterator<Item = Waiting<Item<usize>>>) {
        items.into_iter().for_each(|item| self.fates.tell(item.value.ticket));
    }
}

/// Has the threads run in every order; in the end each of so many items has one fate, and nothing is left.
fn check(n_items: usize, threads: impl Fn(&Arc<Model>) -> Vec<JoinHandle<()>> + Send + Sync + 'static) {
    let now = Instant::now();
    loom::model(move || {
        let config = BatcherConfig { max_in_flight: 1, ..BatcherConfig::default() };
        let model = Arc::new(Model {
            state: State::new(config),
            fates: Fates::default(),
            n_dispatching: AtomicUsize::new(0),
            has_gone: AtomicBool::new(false),
            now,
        });
        threads(&model).into_iter().for_each(|thread| thread.join().unwrap());
        assert!(model.state.is_idle());
        assert_eq!(model.fates.n_told(), n_items);
    });
}

fn spawn(model: &Arc<Model>, work: impl FnOnce(&Model) + 'static) -> JoinHandle<()> {
    let model = Arc::clone(model);
    thread::spawn(move || work(&model))
}

#[test]
fn every_item_is_dispatched_once_whoever_begins() {
    check(2, |model| {
        let submit = |item| {
            spawn(model, move |model| {
                model.submit(item);
            })
        };
        vec![submit(0), submit(1)]
    });
}

#[test]
fn an_item_is_dispatched_or_cancelled() {
    check(2, |model| {
        let other = spawn(model, |model| {
            model.submit(0);
        });
        let gone = spawn(model, |model| {
            if let Some(id) = model.submit(1) {
                model.cancel(id);
            }
        });
        vec![other, gone]
    });
}

#[test]
fn who_goes_while_a_batch_falls_apart_does_not_come_back() {
    check(2, |model| {
        let (_, starts) = model.enter(0).unwrap();
        let (id, _) = model.enter(1).unwrap();
        assert!(starts);
        vec![spawn(model, Model::dispatch), spawn(model, move |model| model.cancel(id))]
    });
}

#[test]
fn what_comes_while_it_is_shut_is_done_or_failed() {
    check(2, |model| {
        let submit = spawn(model, |model| {
            model.submit(0);
            model.submit(1);
        });
        vec![submit, spawn(model, |model| model.tell(model.state.shut()))]
    });
}
