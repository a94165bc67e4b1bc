//! Who goes next: three lanes with shares, ageing, deadlines and a bound.

mod config;
mod index;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hp_base::Priority;

pub use self::config::{LanesConfig, PerLane, Place};
use self::index::{Index, Mark};

/// Names an item that waits in [`Lanes`]; older items have smaller ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId(u64);

/// An item, and how it stood in the lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting<T> {
    /// Its name.
    pub id: ItemId,
    /// The item itself.
    pub value: T,
    /// Where it belonged.
    pub place: Place,
    /// When it came.
    pub entered: Instant,
}

/// An item has been taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed<T> {
    /// Its name.
    pub id: ItemId,
    /// The less urgent item that had to leave for it.
    pub displaced: Option<Waiting<T>>,
}

/// What comes out of the lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick<T> {
    /// It is this one's turn.
    Turn(Waiting<T>),
    /// This one can no longer make its deadline.
    Expired(Waiting<T>),
}

/// Items that wait in three lanes.
///
/// Each lane has its share of the picks; within a lane the earliest deadline goes first, and who came first among equals.
/// Who has waited long counts as more urgent. Every operation takes time that grows with the logarithm of how many wait,
/// but for [`n_before`](Self::n_before). Nothing here is locked or asleep: time comes in as an argument.
///
/// ```
/// use std::time::{Duration, Instant};
/// use hp_base::Priority;
/// use request_optimizer::{Lanes, LanesConfig, Pick, Place};
///
/// let mut lanes = Lanes::new(LanesConfig::default());
/// let now = Instant::now();
/// for (name, lane) in [("bulk", Priority::Low), ("person", Priority::Normal), ("alarm", Priority::High)] {
///     lanes.push(name, Place { lane, ..Place::default() }, now).expect("there is room");
/// }
/// let Some(Pick::Turn(first)) = lanes.pick(now, Duration::ZERO) else { panic!("somebody is there") };
/// assert_eq!(first.value, "alarm");
/// ```
#[derive(Debug)]
pub struct Lanes<T> {
    config: LanesConfig,
    waiting: BTreeMap<ItemId, (Mark, T)>,
    index: Index,
    n_pushed: u64,
}

impl<T> Lanes<T> {
    /// Empty lanes.
    #[must_use]
    pub fn new(config: LanesConfig) -> Self {
        Self { config, waiting: BTreeMap::new(), index: Index::default(), n_pushed: 0 }
    }

    /// Takes an item in. When the lanes are full, the newest of the least urgent leaves for a more urgent one.
    ///
    /// # Errors
    ///
    /// The item, when the lanes are full and nothing less urgent waits.
    pub fn push(&mut self, value: T, place: Place, now: Instant) -> Result<Pushed<T>, T> {
        let mut displaced = None;
        if self.waiting.len() >= self.config.max_waiting.max(1) {
            match self.index.least_urgent() {
                Some((lane, newest)) if lane < place.lane => displaced = self.remove(newest),
                _ => return Err(value),
            }
        }
        let id = ItemId(self.n_pushed);
        self.n_pushed += 1;
        self.insert(Mark::new(id, place, now, now, &self.config), value);
        Ok(Pushed { id, displaced })
    }

    /// Gives back what has come out, under the name and with the age it had; nobody is displaced or refused for it.
    pub fn put_back(&mut self, item: Waiting<T>, now: Instant) {
        let mark = Mark::new(item.id, item.place, item.entered, now, &self.config);
        self.insert(mark, item.value);
    }

    /// The next item, if there is one: first all that are [expired](Self::pop_expired), then whose turn it is.
    pub fn pick(&mut self, now: Instant, needed: Duration) -> Option<Pick<T>> {
        if let Some(expired) = self.pop_expired(now, needed) {
            return Some(Pick::Expired(expired));
        }
        self.pop(None, u64::MAX, now).map(Pick::Turn)
    }

    /// The next item of a group, if there is one and it weighs no more than `max_weight`; it may have expired.
    pub fn pick_of(&mut self, group: u64, max_weight: u64, now: Instant) -> Option<Waiting<T>> {
        self.pop(Some(group), max_weight, now)
    }

    /// An item that cannot make its deadline if it needs so long from now on.
    pub fn pop_expired(&mut self, now: Instant, needed: Duration) -> Option<Waiting<T>> {
        let (deadline, id) = self.index.earliest_deadline()?;
        let done = now.checked_add(needed);
        if done.is_some_and(|done| done <= deadline) { None } else { self.remove(id) }
    }

    /// Where the item is from that [`pick`](Self::pick) would give if none had expired.
    pub fn peek(&mut self, now: Instant) -> Option<Place> {
        self.age(now);
        let (_, id) = self.index.next(None, &self.config.weights)?;
        self.place(id)
    }

    /// Whether an item waits still.
    #[must_use]
    pub fn contains(&self, id: ItemId) -> bool {
        self.waiting.contains_key(&id)
    }

    /// Takes an item out, if it still waits.
    pub fn remove(&mut self, id: ItemId) -> Option<Waiting<T>> {
        let (mark, value) = self.waiting.remove(&id)?;
        self.index.remove(&mark);
        Some(Waiting { id, value, place: mark.place, entered: mark.entered })
    }

    /// Moves an item to another lane, if it still waits; it keeps its age.
    pub fn move_to(&mut self, id: ItemId, lane: Priority, now: Instant) -> bool {
        let Some(mut item) = self.remove(id) else { return false };
        item.place.lane = lane;
        self.put_back(item, now);
        true
    }

    /// How many would be picked before an item that came now, if each lane went before those below it. Takes time in
    /// proportion to the number in the item's own lane.
    #[must_use]
    pub fn n_before(&self, place: Place, now: Instant) -> usize {
        self.index.n_before(&Mark::new(ItemId(self.n_pushed), place, now, now, &self.config))
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many wait in each lane, whatever they count as.
    #[must_use]
    pub fn n_waiting(&self) -> PerLane<usize> {
        self.index.n_waiting()
    }

    /// The most urgent lane in which an item waits, whatever others count as.
    #[must_use]
    pub fn most_urgent(&self) -> Option<Priority> {
        self.index.most_urgent()
    }

    /// The item that has waited longest, and since when.
    #[must_use]
    pub fn oldest(&self) -> Option<(ItemId, Instant)> {
        self.waiting.iter().next().map(|(&id, (mark, _))| (id, mark.entered))
    }

    /// The item whose deadline comes first, and the deadline.
    #[must_use]
    pub fn earliest_deadline(&self) -> Option<(ItemId, Instant)> {
        self.index.earliest_deadline().map(|(deadline, id)| (id, deadline))
    }

    /// The groups of which items wait; each with their number and their weight.
    pub fn groups(&self) -> impl Iterator<Item = (u64, usize, u128)> {
        self.index.groups()
    }

    /// How many of a group wait, what they weigh and since when the oldest does; nothing if none does.
    #[must_use]
    pub fn group(&self, group: u64) -> Option<(usize, u128, Instant)> {
        let (n_items, weight, oldest) = self.index.group(group)?;
        self.waiting.get(&oldest).map(|(mark, _)| (n_items, weight, mark.entered))
    }

    /// Takes all out, oldest first.
    pub fn drain(&mut self) -> Vec<Waiting<T>> {
        self.index = Index::default();
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        waiting
            .map(|(id, (mark, value))| Waiting { id, value, place: mark.place, entered: mark.entered })
            .collect()
    }

    fn pop(&mut self, group: Option<u64>, max_weight: u64, now: Instant) -> Option<Waiting<T>> {
        self.age(now);
        let weights = self.config.weights;
        let (lane, id) = self.index.next(group, &weights)?;
        self.place(id).filter(|place| place.weight <= max_weight)?;
        self.index.book(lane, group, &weights);
        self.remove(id)
    }

    fn age(&mut self, now: Instant) {
        while let Some(id) = self.index.aged(now)
            && let Some((mark, _)) = self.waiting.get_mut(&id)
        {
            self.index.remove(mark);
            *mark = Mark::new(id, mark.place, mark.entered, now, &self.config);
            self.index.insert(mark);
        }
    }

    fn insert(&mut self, mark: Mark, value: T) {
        self.index.insert(&mark);
        self.waiting.insert(mark.id, (mark, value));
    }

    fn place(&self, id: ItemId) -> Option<Place> {
        self.waiting.get(&id).map(|(mark, _)| mark.place)
    }
}

#[cfg(test)]
mod tests;
