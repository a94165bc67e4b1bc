//! Who waits: the most urgent first, the earliest deadline first within, and nobody for ever.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use hp_base::Priority;

use super::applicant::Applicant;

/// Tells one who waits from the others.
pub(crate) type Ticket = u64;

/// When it must be done; never is later than all. Equal ones go in the order of their tickets.
type Place = (bool, Option<Instant>, Ticket);

/// Those who wait, each with something to be told by.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    age_after: Duration,
    /// By urgency, least first.
    lanes: [Lane; Priority::ALL.len()],
    waiting: HashMap<Ticket, Waiting<T>>,
}

#[derive(Debug, Default)]
struct Lane {
    by_deadline: BTreeSet<Place>,
    /// By when they came into this lane.
    by_age: BTreeMap<(Instant, Ticket), Place>,
}

#[derive(Debug)]
struct Waiting<T> {
    applicant: Applicant,
    lane: usize,
    since: Instant,
    teller: T,
}

impl<T> Queue<T> {
    pub(crate) fn new(age_after: Duration) -> Self {
        Self { age_after, lanes: Default::default(), waiting: HashMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How many would be admitted before an applicant who came now.
    pub(crate) fn n_ahead(&self, applicant: Applicant) -> usize {
        let lane = applicant.priority as usize;
        let more_urgent: usize = self.lanes[lane + 1..].iter().map(|lane| lane.by_deadline.len()).sum();
        let mine = &self.lanes[lane].by_deadline;
        let place = place(applicant, Ticket::MAX);
        // Most come with the latest deadline, so that those behind are few.
        more_urgent + mine.len() - mine.range(place..).count()
    }

    pub(crate) fn push(&mut self, ticket: Ticket, applicant: Applicant, teller: T, now: Instant) {
        let lane = applicant.priority as usize;
        self.lanes[lane].insert(now, place(applicant, ticket));
        self.waiting.insert(ticket, Waiting { applicant, lane, since: now, teller });
    }

    /// Takes out one who waits, if they still do.
    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<(Applicant, T)> {
        let waiting = self.waiting.remove(&ticket)?;
        self.lanes[waiting.lane].remove(waiting.since, place(waiting.applicant, ticket));
        Some((waiting.applicant, waiting.teller))
    }

    /// Takes out who is to be admitted first.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(Applicant, T)> {
        self.age(now);
        let ticket = self.lanes.iter().rev().find_map(|lane| lane.by_deadline.first())?.2;
        self.remove(ticket)
    }

    /// Takes out the newest of the least urgent, if they are less urgent than this.
    pub(crate) fn displace(&mut self, priority: Priority, now: Instant) -> Option<(Applicant, T)> {
        self.age(now);
        let less_urgent = &self.lanes[..priority as usize];
        let ticket = less_urgent.iter().find_map(|lane| lane.by_age.keys().next_back())?.1;
        self.remove(ticket)
    }

    /// Takes out somebody, whoever it is.
    pub(crate) fn pop_any(&mut self) -> Option<(Applicant, T)> {
        let ticket = *self.waiting.keys().next()?;
        self.remove(ticket)
    }

    /// Moves those who have waited long one lane up; the newest of the most urgent lane last.
    fn age(&mut self, now: Instant) {
        for lane in 0..self.lanes.len() - 1 {
            while let Some((&(since, ticket), &place)) = self.lanes[lane].by_age.first_key_value() {
                let Some(due) = since.checked_add(self.age_after).filter(|due| *due <= now) else { break };
                self.lanes[lane].remove(since, place);
                self.lanes[lane + 1].insert(due, place);
                if let Some(waiting) = self.waiting.get_mut(&ticket) {
                    (waiting.lane, waiting.since) = (lane + 1, due);
                }
            }
        }
    }
}

impl Lane {
    fn insert(&mut self, since: Instant, place: Place) {
        self.by_deadline.insert(place);
        self.by_age.insert((since, place.2), place);
    }

    fn remove(&mut self, since: Instant, place: Place) {
        self.by_deadline.remove(&place);
        self.by_age.remove(&(since, place.2));
    }
}

fn place(applicant: Applicant, ticket: Ticket) -> Place {
    let deadline = applicant.deadline.instant();
    (deadline.is_none(), deadline, ticket)
}
