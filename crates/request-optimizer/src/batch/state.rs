//! What waits and what is under way: all decisions, under one lock, with time as an argument.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use hp_base::Priority;

use super::service::ServiceTime;
use super::{BatcherConfig, BatcherStats};
use crate::lanes::{ItemId, Lanes, Pick, Place, Waiting};
use crate::sync::{Mutex, MutexGuard};
use crate::urgency::Urgency;

/// An item that waits or is in a call.
#[derive(Debug)]
pub(super) struct Item<T> {
    pub(super) ticket: T,
    pub(super) urgency: Urgency,
}

/// Items as they leave the lanes.
pub(super) type Left<T> = Vec<Waiting<Item<T>>>;

/// An item has been taken in.
#[derive(Debug)]
pub(super) struct Entered<T> {
    pub(super) id: ItemId,
    /// Who had to leave for it, and when there may be room again.
    pub(super) displaced: Option<(Waiting<Item<T>>, Duration)>,
    /// Whether nobody dispatches: whoever asked must begin to.
    pub(super) starts: bool,
}

/// Why an item is not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Full(Duration),
    TooLate(Duration),
    OutOfTime,
    Closed,
}

/// What whoever dispatches does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing is left to do; the next item begins it anew.
    End,
    /// Wait to be woken, and for no longer than this.
    Wait(Option<Duration>),
    /// Get a slot for a call of this urgency.
    Dispatch(Priority),
}

/// A call that has begun.
#[derive(Debug)]
pub(super) struct Batch<T> {
    pub(super) call: u64,
    pub(super) started: Instant,
    pub(super) items: Left<T>,
}

/// What leaves the lanes when there is a slot.
#[derive(Debug)]
pub(super) struct Taken<T> {
    pub(super) batch: Option<Batch<T>>,
    pub(super) expired: Left<T>,
}

/// What is still done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Open,
    /// What is there.
    Closing,
    /// The calls under way.
    Shut,
}

/// Who leads the next batch.
enum Lead {
    /// Whose turn it is.
    Turn,
    Group(u64),
    Item(ItemId),
}

#[derive(Debug)]
pub(super) struct State<T>(Mutex<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    config: BatcherConfig,
    lanes: Lanes<Item<T>>,
    /// When each call under way began, and with how many items.
    calls: BTreeMap<u64, (Instant, usize)>,
    service: ServiceTime,
    phase: Phase,
    is_dispatched: bool,
    /// The counters; what stands still is filled in when they are read.
    counted: BatcherStats,
}

impl<T> State<T> {
    pub(super) fn new(config: BatcherConfig) -> Self {
        Self(Mutex::new(Inner {
            config,
            lanes: Lanes::new(config.lanes),
            calls: BTreeMap::new(),
            service: ServiceTime::new(config.typical_call),
            phase: Phase::Open,
            is_dispatched: false,
            counted: BatcherStats::default(),
        }))
    }

    /// Takes an item in, unless it would be in vain; then it comes back with the reason.
    pub(super) fn enter(
        &self,
        item: Item<T>,
        place: Place,
        now: Instant,
    ) -> Result<Entered<T>, (Item<T>, Refusal)> {
        let mut inner = self.lock();
        if let Some(refusal) = inner.refusal(place, now) {
            return Err((item, refusal));
        }
        match inner.lanes.push(item, place, now) {
            Ok(pushed) => {
                inner.counted.n_items += 1;
                inner.counted.n_displaced += u64::from(pushed.displaced.is_some());
                let room_in = inner.expected_wait(inner.lanes.len(), now);
                let starts = inner.starts();
                Ok(Entered { id: pushed.id, displaced: pushed.displaced.map(|item| (item, room_in)), starts })
            }
            Err(item) => {
                inner.counted.n_refused_full += 1;
                Err((item, Refusal::Full(inner.expected_wait(0, now))))
            }
        }
    }

    /// Moves an item that still waits to where its urgency belongs.
    pub(super) fn raise(&self, id: ItemId, urgency: Priority, now: Instant) -> bool {
        self.lock().lanes.move_to(id, urgency, now)
    }

    /// Takes out an item that still waits: its submitter has gone.
    pub(super) fn cancel(&self, id: ItemId) -> Option<Waiting<Item<T>>> {
        let mut inner = self.lock();
        let item = inner.lanes.remove(id);
        inner.counted.n_cancelled += u64::from(item.is_some());
        item
    }

    /// Whether an item waits for its call still.
    pub(super) fn is_waiting(&self, id: ItemId) -> bool {
        self.lock().lanes.contains(id)
    }

    /// Takes out an item if it still waits: its time is over, even if it is in a call.
    pub(super) fn expire(&self, id: ItemId) -> Option<Waiting<Item<T>>> {
        let mut inner = self.lock();
        inner.counted.n_expired += 1;
        inner.lanes.remove(id)
    }

    /// What whoever dispatches does next; after [`Step::End`] nobody dispatches any more.
    pub(super) fn step(&self, now: Instant) -> Step {
        let mut inner = self.lock();
        let Some(urgency) = inner.lanes.most_urgent() else {
            inner.is_dispatched = false;
            return Step::End;
        };
        match inner.lead(now) {
            Ok(_) => Step::Dispatch(urgency),
            Err(most) => Step::Wait(most),
        }
    }

    /// Whether a slot for a call of this urgency is what should be waited for.
    pub(super) fn still_wants(&self, urgency: Priority) -> bool {
        self.lock().lanes.most_urgent().is_some_and(|most| most <= urgency)
    }

    /// How many items have ever come.
    pub(super) fn n_items(&self) -> u64 {
        self.lock().counted.n_items
    }

    /// Begins a call, if there still is reason to.
    pub(super) fn take(&self, now: Instant) -> Taken<T> {
        let mut inner = self.lock();
        // Who takes nobody's place may try, however little time is left: it shows how long calls take now.
        let is_sought = !inner.calls.is_empty() && inner.lanes.len() > inner.max_batch_size();
        let needed = if is_sought { inner.service.needed() } else { Duration::ZERO };
        let mut expired = Vec::new();
        while let Some(item) = inner.lanes.pop_expired(now, needed) {
            expired.push(item);
        }
        inner.counted.n_expired += expired.len() as u64;
        let items = match inner.lead(now) {
            Ok(lead) => inner.gather(&lead, now),
            Err(_) => Vec::new(),
        };
        if items.is_empty() {
            return Taken { batch: None, expired };
        }
        let call = inner.counted.n_batches;
        inner.counted.n_batches += 1;
        if items.len() > 1 {
            inner.counted.n_batched_items += items.len() as u64;
        }
        inner.calls.insert(call, (now, items.len()));
        Taken { batch: Some(Batch { call, started: now, items }), expired }
    }

    /// A call went so; nothing if nothing is to be learnt from it.
    pub(super) fn end(&self, call: u64, now: Instant, went_well: Option<bool>) {
        let mut inner = self.lock();
        if let Some((started, _)) = inner.calls.remove(&call)
            && let Some(went_well) = went_well
        {
            inner.service.learn(now.saturating_duration_since(started), went_well);
        }
    }

    /// Has the items of a failed call wait once more, each for a call of its own; before the call is ended. Gives back
    /// those that it is too late for, and whether whoever asked must begin to dispatch.
    pub(super) fn fall_apart(
        &self,
        items: Left<T>,
        now: Instant,
        is_wanted: impl Fn(&T) -> bool,
    ) -> (Left<T>, bool) {
        let mut inner = self.lock();
        inner.counted.n_fallen_apart += 1;
        if inner.phase == Phase::Shut {
            return (items, false);
        }
        let mut unwanted = Vec::new();
        for mut item in items {
            if !is_wanted(&item.value.ticket) {
                unwanted.push(item);
                continue;
            }
            item.place.group = None;
            // It may have risen while it could not be moved.
            item.place.lane = item.value.urgency.now();
            inner.lanes.put_back(item, now);
        }
        let starts = !inner.lanes.is_empty() && inner.starts();
        (unwanted, starts)
    }

    /// Takes nothing more from now on; says how many items wait or are in calls.
    pub(super) fn close(&self) -> usize {
        let mut inner = self.lock();
        inner.phase = inner.phase.max(Phase::Closing);
        inner.lanes.len() + inner.calls.values().map(|(_, n_items)| n_items).sum::<usize>()
    }

    /// Takes nothing more, and gives up what waits.
    pub(super) fn shut(&self) -> Left<T> {
        let mut inner = self.lock();
        inner.phase = Phase::Shut;
        inner.lanes.drain()
    }

    /// Gives up what waits.
    pub(super) fn drain(&self) -> Left<T> {
        self.lock().lanes.drain()
    }

    /// Whoever dispatched has been stopped; gives up what waits.
    pub(super) fn abandon(&self) -> Left<T> {
        let mut inner = self.lock();
        inner.is_dispatched = false;
        inner.lanes.drain()
    }

    /// Whether nothing waits, nothing is under way, and nobody dispatches, who might hold a slot.
    pub(super) fn is_idle(&self) -> bool {
        let inner = self.lock();
        inner.lanes.is_empty() && inner.calls.is_empty() && !inner.is_dispatched
    }

    pub(super) fn set_max_in_flight(&self, n_calls: usize) {
        self.lock().config.max_in_flight = n_calls;
    }

    pub(super) fn set_max_batch_size(&self, n_items: usize) {
        self.lock().config.max_batch_size = n_items;
    }

    pub(super) fn stats(&self) -> BatcherStats {
        let inner = self.lock();
        BatcherStats {
            n_in_flight: inner.calls.len(),
            n_waiting: inner.lanes.n_waiting(),
            service_time: inner.service.expected(),
            ..inner.counted
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Inner<T> {
    fn refusal(&mut self, place: Place, now: Instant) -> Option<Refusal> {
        if self.phase != Phase::Open {
            return Some(Refusal::Closed);
        }
        let left = place.deadline.instant()?.saturating_duration_since(now);
        if left.is_zero() {
            self.counted.n_expired += 1;
            return Some(Refusal::OutOfTime);
        }
        // Nobody is refused for an estimate while a slot is free: estimates are renewed by calls alone.
        if self.n_free() == 0 {
            let wait = self.expected_wait(self.lanes.n_before(place, now), now);
            if wait.saturating_add(self.service.needed()) > left {
                self.counted.n_refused_late += 1;
                return Some(Refusal::TooLate(wait));
            }
        }
        None
    }

    /// How long one waits before whom so many go: until the next slot is free, and while the calls before it, of which
    /// `max_in_flight` end on average in the time one takes, go on.
    fn expected_wait(&self, n_before: usize, now: Instant) -> Duration {
        let call = self.service.expected();
        let next_free = match self.calls.values().next() {
            Some(&(oldest, _)) if self.n_free() == 0 => {
                call.saturating_sub(now.saturating_duration_since(oldest))
            }
            _ => Duration::ZERO,
        };
        // OK to saturate: nobody waits behind so many.
        let n_calls = u32::try_from(n_before / self.max_batch_size()).unwrap_or(u32::MAX);
        let n_slots = u32::try_from(self.max_in_flight()).unwrap_or(u32::MAX);
        next_free.saturating_add(call.saturating_mul(n_calls) / n_slots)
    }

    /// Who leads the next batch; or, while no slot may be used, how long to wait at the most. Of several slots the last
    /// is kept for a batch that cannot grow or cannot wait.
    fn lead(&mut self, now: Instant) -> Result<Lead, Option<Duration>> {
        let n_free = self.n_free();
        if n_free == 0 {
            return Err(None);
        }
        if n_free > 1 || self.max_in_flight() == 1 {
            return Ok(Lead::Turn);
        }
        let Some(turn) = self.lanes.peek(now) else { return Err(None) };
        let Some(group) = turn.group else { return Ok(Lead::Turn) };
        let timeout = self.config.batch_timeout;
        let waited = |since: Instant| now.saturating_duration_since(since);
        if let Some((n_items, weight, oldest)) = self.lanes.group(group)
            && (self.is_full(n_items, weight) || waited(oldest) >= timeout)
        {
            return Ok(Lead::Turn);
        }
        let full = self.lanes.groups().find(|&(_, n_items, weight)| self.is_full(n_items, weight));
        if let Some((group, ..)) = full {
            return Ok(Lead::Group(group));
        }
        let until_too_late = now.checked_add(timeout.saturating_add(self.service.needed()));
        if let Some((id, deadline)) = self.lanes.earliest_deadline()
            && until_too_late.is_none_or(|until| deadline < until)
        {
            return Ok(Lead::Item(id));
        }
        match self.lanes.oldest() {
            Some((id, since)) if waited(since) >= timeout => Ok(Lead::Item(id)),
            Some((_, since)) => Err(Some(timeout.saturating_sub(waited(since)))),
            None => Err(None),
        }
    }

    fn gather(&mut self, lead: &Lead, now: Instant) -> Left<T> {
        let first = match lead {
            Lead::Turn => match self.lanes.pick(now, Duration::ZERO) {
                Some(Pick::Turn(item)) => Some(item),
                _ => None,
            },
            Lead::Group(group) => self.lanes.pick_of(*group, u64::MAX, now),
            Lead::Item(id) => self.lanes.remove(*id),
        };
        let Some(first) = first else { return Vec::new() };
        let mut weight_left = self.config.max_weight.saturating_sub(first.place.weight);
        let group = first.place.group;
        let mut items = vec![first];
        while items.len() < self.max_batch_size()
            && let Some(group) = group
            && let Some(item) = self.lanes.pick_of(group, weight_left, now)
        {
            weight_left -= item.place.weight;
            items.push(item);
        }
        items
    }

    fn is_full(&self, n_items: usize, weight: u128) -> bool {
        n_items >= self.max_batch_size() || weight >= u128::from(self.config.max_weight)
    }

    /// Whether whoever asks must begin to dispatch.
    fn starts(&mut self) -> bool {
        !std::mem::replace(&mut self.is_dispatched, true)
    }

    fn n_free(&self) -> usize {
        self.max_in_flight().saturating_sub(self.calls.len())
    }

    fn max_in_flight(&self) -> usize {
        self.config.max_in_flight.max(1)
    }

    fn max_batch_size(&self) -> usize {
        self.config.max_batch_size.max(1)
    }
}
