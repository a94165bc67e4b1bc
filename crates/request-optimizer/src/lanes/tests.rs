//! Shares, deadlines, ageing and bounds, and all of them at random against a list.

use std::time::{Duration, Instant};

use hp_base::{Deadline, Priority};
use proptest::prelude::*;

use super::{Lanes, LanesConfig, PerLane, Pick, Place};

const SECOND: Duration = Duration::from_secs(1);

fn at(lane: Priority) -> Place {
    Place { lane, ..Place::default() }
}

fn due(lane: Priority, deadline: Instant) -> Place {
    Place { lane, deadline: Deadline::at(deadline), ..Place::default() }
}

fn turn<T>(lanes: &mut Lanes<T>, now: Instant) -> Option<T> {
    match lanes.pick(now, Duration::ZERO)? {
        Pick::Turn(item) => Some(item.value),
        Pick::Expired(_) => panic!("nothing has expired"),
    }
}

#[test]
fn lanes_have_their_shares_and_none_loses_its_own_to_an_empty_one() {
    let now = Instant::now();
    let mut lanes = Lanes::new(LanesConfig { age_after: Duration::MAX, ..LanesConfig::default() });
    for _ in 0..100 {
        for lane in Priority::ALL {
            lanes.push(lane, at(lane), now).unwrap();
        }
    }
    let picked: Vec<Priority> = (0..24).map(|_| turn(&mut lanes, now).unwrap()).collect();
    assert_eq!(picked[0], Priority::High);
    let n = |lane| picked.iter().filter(|&&picked| picked == lane).count();
    assert_eq!(Priority::ALL.map(n), [2, 6, 16]);
    while lanes.n_waiting().high > 0 {
        turn(&mut lanes, now).unwrap();
    }
    // What it has had from the three counts for a while.
    let n_low = (0..60).filter(|_| turn(&mut lanes, now) == Some(Priority::Low)).count();
    assert!((12..=15).contains(&n_low), "one in four, not {n_low} of 60");
}

#[test]
fn a_lane_without_a_share_waits_for_the_others_or_its_age() {
    let now = Instant::now();
    let weights = PerLane { high: 8, normal: 3, low: 0 };
    let mut lanes = Lanes::new(LanesConfig { weights, ..LanesConfig::default() });
    lanes.push(0, at(Priority::Low), now).unwrap();
    for n in 1..=20 {
        lanes.push(n, at(Priority::Normal), now).unwrap();
    }
    assert!((0..10).all(|_| turn(&mut lanes, now) != Some(0)));
    // Now it counts as normal, and those as high.
    assert!((0..4).any(|_| turn(&mut lanes, now + SECOND) == Some(0)));
}

#[test]
fn the_earliest_deadline_goes_first_then_who_came_first() {
    let now = Instant::now();
    let mut lanes = Lanes::new(LanesConfig::default());
    lanes.push("never", at(Priority::Normal), now).unwrap();
    lanes.push("in 3 s", due(Priority::Normal, now + 3 * SECOND), now).unwrap();
    lanes.push("in 2 s", due(Priority::Normal, now + 2 * SECOND), now).unwrap();
    lanes.push("also in 2 s", due(Priority::Normal, now + 2 * SECOND), now).unwrap();
    lanes.push("never either", at(Priority::Normal), now).unwrap();
    let order: Vec<_> = std::iter::from_fn(|| turn(&mut lanes, now)).collect();
    assert_eq!(order, ["in 2 s", "also in 2 s", "in 3 s", "never", "never either"]);
}

#[test]
fn patience_ends_before_deadlines_that_keep_coming() {
    let mut now = Instant::now();
    let mut lanes = Lanes::new(LanesConfig::default());
    lanes.push(0, at(Priority::High), now).unwrap();
    let mut n_before = 0;
    loop {
        n_before += 1;
        lanes.push(n_before, due(Priority::High, now + 2 * SECOND), now).unwrap();
        lanes.push(n_before, due(Priority::High, now + 2 * SECOND), now).unwrap();
        if turn(&mut lanes, now) == Some(0) {
            break;
        }
        lanes.pick(now, Duration::ZERO).unwrap();
        now += SECOND / 10;
    }
    // From here on they would have to be done later than it.
    assert_eq!(n_before, 81);
}

#[test]
fn who_has_waited_counts_as_more_urgent() {
    let now = Instant::now();
    let one_lane_more = |waited| {
        let mut lanes = Lanes::new(LanesConfig::default());
        lanes.push("old", at(Priority::Low), now).unwrap();
        lanes.push("new", at(Priority::High), now + waited).unwrap();
        turn(&mut lanes, now + waited).unwrap()
    };
    assert_eq!(one_lane_more(2 * SECOND - Duration::from_nanos(1)), "new");
    assert_eq!(one_lane_more(2 * SECOND), "old");
}

#[test]
fn the_newest_of_the_least_urgent_makes_room_for_a_more_urgent_one() {
    let now = Instant::now();
    let mut lanes = Lanes::new(LanesConfig { max_waiting: 3, ..LanesConfig::default() });
    for (value, lane) in [("old", Priority::Low), ("new", Priority::Low), ("normal", Priority::Normal)] {
        assert!(lanes.push(value, at(lane), now).unwrap().displaced.is_none());
    }
    assert_eq!(lanes.push("more", at(Priority::Low), now), Err("more"));
    let mut displaced =
        |value| lanes.push(value, at(Priority::Normal), now).map(|pushed| pushed.displaced.unwrap().value);
    assert_eq!(displaced("one"), Ok("new"));
    assert_eq!(displaced("two"), Ok("old"));
    assert_eq!(lanes.push("three", at(Priority::Normal), now), Err("three"));
    assert_eq!(lanes.push("four", at(Priority::High), now).unwrap().displaced.unwrap().value, "two");
    assert_eq!(lanes.n_waiting(), PerLane { high: 1, normal: 2, low: 0 });
}

#[test]
fn who_can_no_longer_make_it_is_handed_back_and_not_served() {
    let now = Instant::now();
    let mut lanes = Lanes::new(LanesConfig::default());
    lanes.push("urgent", at(Priority::High), now).unwrap();
    lanes.push("late", due(Priority::Low, now + SECOND), now).unwrap();
    let picked = lanes.pick(now, SECOND + Duration::from_nanos(1)).unwrap();
    assert!(matches!(picked, Pick::Expired(item) if item.value == "late"));
    lanes.push("in time", due(Priority::High, now + SECOND), now).unwrap();
    assert!(matches!(lanes.pick(now, SECOND), Some(Pick::Turn(item)) if item.value == "in time"));
}

#[test]
fn a_group_is_picked_from_alone_and_within_its_weight() {
    let now = Instant::now();
    let mut lanes = Lanes::new(LanesConfig::default());
    let mut push = |value, group, weight| {
        lanes.push(value, Place { group, weight, ..Place::default() }, now).unwrap();
    };
    push("a", Some(1), 2);
    push("b", Some(2), 5);
    push("c", None, 1);
    push("d", Some(2), 1);
    assert_eq!(lanes.peek(now).unwrap().group, Some(1));
    assert_eq!(lanes.groups().collect::<Vec<_>>(), [(1, 1, 2), (2, 2, 6)]);
    assert_eq!(lanes.pick_of(2, 4, now), None);
    assert_eq!(lanes.pick_of(2, 5, now).unwrap().value, "b");
    assert_eq!(lanes.pick_of(2, 4, now).unwrap().value, "d");
    assert_eq!(lanes.pick_of(2, 4, now), None);
    assert_eq!(lanes.group(2), None);
    assert_eq!(lanes.pick_of(3, 4, now), None);
}

/// What a list does slowly.
#[derive(Debug, Clone)]
struct Listed {
    number: usize,
    place: Place,
    entered: Instant,
}

#[derive(Debug, Clone)]
enum Deed {
    Push { lane: usize, due_in: Option<u64>, group: Option<u64> },
    Pick { needed: u64 },
    PickOf { group: u64 },
    Remove { nth: usize },
    Move { nth: usize, lane: usize },
    Wait { millis: u64 },
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        4 => (0..3_usize, proptest::option::of(0..4_000_u64), proptest::option::of(0..2_u64))
            .prop_map(|(lane, due_in, group)| Deed::Push { lane, due_in, group }),
        3 => (0..1_000_u64).prop_map(|needed| Deed::Pick { needed }),
        1 => (0..2_u64).prop_map(|group| Deed::PickOf { group }),
        1 => (0..40_usize).prop_map(|nth| Deed::Remove { nth }),
        1 => (0..40_usize, 0..3_usize).prop_map(|(nth, lane)| Deed::Move { nth, lane }),
        1 => (0..1_500_u64).prop_map(|millis| Deed::Wait { millis }),
    ];
    proptest::collection::vec(deed, 0..200)
}

/// The lane in which an item counts.
fn counts_as(item: &Listed, now: Instant) -> usize {
    let n_lanes = (now - item.entered).as_millis() as usize / 1_000;
    (item.place.lane as usize + n_lanes).min(2)
}

/// Whether no item of its lane should have gone before it.
fn is_first(list: &[Listed], picked: &Listed, now: Instant, group: Option<u64>) -> bool {
    let patience = LanesConfig::default().patience;
    let key = |item: &Listed| {
        let last = item.entered + patience;
        (item.place.deadline.instant().map_or(last, |deadline| deadline.min(last)), item.number)
    };
    list.iter()
        .filter(|item| group.is_none() || item.place.group == group)
        .filter(|item| counts_as(item, now) == counts_as(picked, now))
        .all(|item| key(picked) <= key(item))
}

proptest! {
    #[test]
    fn lanes_do_what_a_list_would(deeds in deeds()) {
        let config = LanesConfig { max_waiting: 20, ..LanesConfig::default() };
        let mut lanes = Lanes::new(config);
        let mut list: Vec<Listed> = Vec::new();
        let mut ids = Vec::new();
        let mut now = Instant::now();
        for deed in deeds {
            match deed {
                Deed::Push { lane, due_in, group } => {
                    let deadline = due_in.map_or(Deadline::never(), |due| Deadline::at(now + Duration::from_millis(due)));
                    let place = Place { lane: Priority::ALL[lane], deadline, group, weight: 1 };
                    let number = ids.len();
                    let least = list.iter().min_by_key(|item| (item.place.lane, usize::MAX - item.number)).cloned();
                    match lanes.push(number, place, now) {
                        Ok(pushed) => {
                            ids.push(Some(pushed.id));
                            let displaced = pushed.displaced.map(|item| item.value);
                            let expected = least.filter(|_| list.len() == 20).map(|item| item.number);
                            prop_assert_eq!(displaced, expected);
                            list.retain(|item| Some(item.number) != displaced);
                            list.push(Listed { number, place, entered: now });
                        }
                        Err(_) => {
                            ids.push(None);
                            prop_assert!(list.len() == 20 && least.unwrap().place.lane >= place.lane);
                        }
                    }
                }
                Deed::Pick { needed } => {
                    let done = now + Duration::from_millis(needed);
                    let is_late = |item: &Listed| item.place.deadline.instant().is_some_and(|due| due < done);
                    match lanes.pick(now, Duration::from_millis(needed)) {
                        None => prop_assert!(list.is_empty()),
                        Some(Pick::Expired(item)) => {
                            let position = list.iter().position(|listed| listed.number == item.value).unwrap();
                            prop_assert!(is_late(&list.remove(position)));
                        }
                        Some(Pick::Turn(item)) => {
                            prop_assert!(!list.iter().any(is_late));
                            let position = list.iter().position(|listed| listed.number == item.value).unwrap();
                            prop_assert!(is_first(&list, &list[position], now, None));
                            list.remove(position);
                        }
                    }
                }
                Deed::PickOf { group } => match lanes.pick_of(group, 1, now) {
                    None => prop_assert!(list.iter().all(|item| item.place.group != Some(group))),
                    Some(item) => {
                        let position = list.iter().position(|listed| listed.number == item.value).unwrap();
                        prop_assert!(is_first(&list, &list[position], now, Some(group)));
                        prop_assert_eq!(list.remove(position).place.group, Some(group));
                    }
                },
                Deed::Remove { nth } => {
                    let Some(&Some(id)) = ids.get(nth) else { continue };
                    let position = list.iter().position(|item| item.number == nth);
                    prop_assert_eq!(lanes.remove(id).map(|item| item.value), position.map(|at| list.remove(at).number));
                }
                Deed::Move { nth, lane } => {
                    let Some(&Some(id)) = ids.get(nth) else { continue };
                    let listed = list.iter_mut().find(|item| item.number == nth);
                    prop_assert_eq!(lanes.move_to(id, Priority::ALL[lane], now), listed.is_some());
                    if let Some(item) = listed {
                        item.place.lane = Priority::ALL[lane];
                    }
                }
                Deed::Wait { millis } => now += Duration::from_millis(millis),
            }
            prop_assert_eq!(lanes.len(), list.len());
            let n = |lane| list.iter().filter(|item| item.place.lane == lane).count();
            let [low, normal, high] = Priority::ALL.map(n);
            prop_assert_eq!(lanes.n_waiting(), PerLane { high, normal, low });
            prop_assert_eq!(lanes.oldest().map(|(_, since)| since), list.iter().map(|item| item.entered).min());
        }
        prop_assert_eq!(lanes.drain().len(), list.len());
        prop_assert!(lanes.is_empty() && lanes.groups().next().is_none() && lanes.peek(now).is_none());
    }
}
