//! The orders in which waiting items are found: by turn, by group, by deadline, by age.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use hp_base::Priority;

use super::{ItemId, LanesConfig, PerLane, Place};

/// When an item's turn is within its lane: whether never, when, and who came first.
type Turn = (bool, Instant, ItemId);

/// Where an item stands in every order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) id: ItemId,
    pub(super) place: Place,
    pub(super) entered: Instant,
    /// The lane it counts in at its age.
    counts_as: Priority,
    /// When it will count as one lane higher.
    ages_at: Option<Instant>,
    turn: Turn,
}

impl Mark {
    pub(super) fn new(
        id: ItemId,
        place: Place,
        entered: Instant,
        now: Instant,
        config: &LanesConfig,
    ) -> Self {
        let mut counts_as = place.lane;
        let mut ages_at = entered.checked_add(config.age_after);
        while let Some(higher) = higher(counts_as) {
            let Some(due) = ages_at.filter(|&at| at <= now) else { break };
            counts_as = higher;
            ages_at = due.checked_add(config.age_after);
        }
        ages_at = ages_at.filter(|_| counts_as != Priority::High);
        Self { id, place, entered, counts_as, ages_at, turn: turn(id, &place, entered, config) }
    }
}

fn turn(id: ItemId, place: &Place, entered: Instant, config: &LanesConfig) -> Turn {
    let patience = entered.checked_add(config.patience);
    let due = match (place.deadline.instant(), patience) {
        (Some(deadline), Some(patience)) => Some(deadline.min(patience)),
        (deadline, patience) => deadline.or(patience),
    };
    (due.is_none(), due.unwrap_or(entered), id)
}

const fn higher(lane: Priority) -> Option<Priority> {
    match lane {
        Priority::Low => Some(Priority::Normal),
        Priority::Normal => Some(Priority::High),
        Priority::High => None,
    }
}

#[derive(Debug, Default)]
struct Lane {
    /// Those that count in this lane, by turn.
    turns: BTreeSet<Turn>,
    /// The same by group, but for those that are in none.
    turns_of_group: BTreeSet<(u64, Turn)>,
    /// Those that were put into this lane, oldest first.
    members: BTreeSet<ItemId>,
    /// What it has earned beyond its share, if positive.
    credit: i64,
}

/// Those that may be picked together.
#[derive(Debug, Default)]
struct Group {
    members: BTreeSet<ItemId>,
    weight: u128,
}

/// All orders of all items.
#[derive(Debug, Default)]
pub(super) struct Index {
    lanes: PerLane<Lane>,
    groups: BTreeMap<u64, Group>,
    deadlines: BTreeSet<(Instant, ItemId)>,
    ageing: BTreeSet<(Instant, ItemId)>,
}

impl Index {
    pub(super) fn insert(&mut self, mark: &Mark) {
        self.lanes.get_mut(mark.place.lane).members.insert(mark.id);
        let lane = self.lanes.get_mut(mark.counts_as);
        lane.turns.insert(mark.turn);
        if let Some(number) = mark.place.group {
            lane.turns_of_group.insert((number, mark.turn));
            let group = self.groups.entry(number).or_default();
            group.members.insert(mark.id);
            group.weight += u128::from(mark.place.weight);
        }
        self.deadlines.extend(mark.place.deadline.instant().map(|at| (at, mark.id)));
        self.ageing.extend(mark.ages_at.map(|at| (at, mark.id)));
    }

    pub(super) fn remove(&mut self, mark: &Mark) {
        self.lanes.get_mut(mark.place.lane).members.remove(&mark.id);
        let lane = self.lanes.get_mut(mark.counts_as);
        lane.turns.remove(&mark.turn);
        if lane.turns.is_empty() {
            // An empty lane neither saves up nor owes.
            lane.credit = 0;
        }
        if let Some(number) = mark.place.group {
            lane.turns_of_group.remove(&(number, mark.turn));
            if let Some(group) = self.groups.get_mut(&number) {
                group.members.remove(&mark.id);
                group.weight -= u128::from(mark.place.weight);
                if group.members.is_empty() {
                    self.groups.remove(&number);
                }
            }
        }
        if let Some(at) = mark.place.deadline.instant() {
            self.deadlines.remove(&(at, mark.id));
        }
        if let Some(at) = mark.ages_at {
            self.ageing.remove(&(at, mark.id));
        }
    }

    /// The next in turn of all, or of a group: by smooth weighted round robin among the lanes that have one (as nginx
    /// picks servers), by turn within the lane.
    pub(super) fn next(&self, group: Option<u64>, weights: &PerLane<u32>) -> Option<(Priority, ItemId)> {
        let earned = |lane| self.lanes.get(lane).credit.saturating_add(i64::from(*weights.get(lane)));
        let waiting = Priority::ALL.into_iter().filter_map(|lane| Some((lane, self.first(lane, group)?)));
        // The last of equals is the most urgent.
        waiting.max_by_key(|&(lane, _)| earned(lane))
    }

    /// Books that [`next`](Self::next) was taken from a lane; before the item is removed.
    pub(super) fn book(&mut self, taken: Priority, group: Option<u64>, weights: &PerLane<u32>) {
        let mut total = 0;
        for lane in Priority::ALL {
            if self.first(lane, group).is_some() {
                let weight = i64::from(*weights.get(lane));
                total += weight;
                let credit = &mut self.lanes.get_mut(lane).credit;
                *credit = credit.saturating_add(weight);
            }
        }
        let credit = &mut self.lanes.get_mut(taken).credit;
        *credit = credit.saturating_sub(total);
    }

    fn first(&self, lane: Priority, group: Option<u64>) -> Option<ItemId> {
        let lane = self.lanes.get(lane);
        let Some(number) = group else { return lane.turns.first().map(|turn| turn.2) };
        let from = (number, lane.turns.first().copied()?);
        let first = lane.turns_of_group.range(from..).next()?;
        (first.0 == number).then_some(first.1.2)
    }

    /// One that has come of age by now.
    pub(super) fn aged(&self, now: Instant) -> Option<ItemId> {
        self.ageing.first().filter(|(at, _)| *at <= now).map(|&(_, id)| id)
    }

    /// The deadline that comes first, and whose it is.
    pub(super) fn earliest_deadline(&self) -> Option<(Instant, ItemId)> {
        self.deadlines.first().copied()
    }

    /// The newest of those in the least urgent lane, and that lane.
    pub(super) fn least_urgent(&self) -> Option<(Priority, ItemId)> {
        Priority::ALL.into_iter().find_map(|lane| Some((lane, *self.lanes.get(lane).members.last()?)))
    }

    pub(super) fn most_urgent(&self) -> Option<Priority> {
        Priority::ALL.into_iter().rev().find(|&lane| !self.lanes.get(lane).members.is_empty())
    }

    pub(super) fn n_waiting(&self) -> PerLane<usize> {
        let [low, normal, high] = Priority::ALL.map(|lane| self.lanes.get(lane).members.len());
        PerLane { high, normal, low }
    }

    /// Each group with how many wait in it and what they weigh.
    pub(super) fn groups(&self) -> impl Iterator<Item = (u64, usize, u128)> {
        self.groups.iter().map(|(&number, group)| (number, group.members.len(), group.weight))
    }

    /// How many wait in a group, what they weigh, and which came first.
    pub(super) fn group(&self, number: u64) -> Option<(usize, u128, ItemId)> {
        let group = self.groups.get(&number)?;
        Some((group.members.len(), group.weight, *group.members.first()?))
    }

    /// How many would go before one that came now.
    pub(super) fn n_before(&self, mark: &Mark) -> usize {
        let above = Priority::ALL.into_iter().filter(|&lane| lane > mark.counts_as);
        let n_above: usize = above.map(|lane| self.lanes.get(lane).turns.len()).sum();
        n_above + self.lanes.get(mark.counts_as).turns.range(..mark.turn).count()
    }
}
