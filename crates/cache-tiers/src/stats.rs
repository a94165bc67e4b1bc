//! What a tier has done so far, and the counters it is counted with.

use std::array;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hp_base::BreakerState;
use serde::Serialize;

/// What a tier has done since it was made, and how full it is.
///
/// Counters are read one after another while others go on counting, so under load they may be apart by the
/// look-ups of that moment; at rest, and where a tier sees the end of each of its entries, `inserted` is
/// `size + replaced + evicted + expired + forgotten`.
///
/// Tiers of one's own fill in what they know and leave the rest at its default:
///
/// ```
/// use cache_tiers::TierStats;
///
/// let stats = TierStats { size: 3, enabled: true, ..TierStats::of_lookups(30, 10) };
/// assert_eq!(stats.hit_rate, 0.75);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct TierStats {
    /// Look-ups that found an entry.
    pub hits: u64,
    /// Look-ups that found none, or one that had expired.
    pub misses: u64,
    /// `hits / (hits + misses)`, from 0 to 1; 0 before the first look-up.
    pub hit_rate: f64,
    /// Entries held now, expired ones that nobody has asked for since among them; 0 where that is unknown.
    pub size: u64,
    /// The most entries the tier will hold; 0 where entries are not what bounds it.
    pub max_size: u64,
    /// Whether the tier keeps anything at all.
    pub enabled: bool,
    /// Entries dropped because their time was over.
    pub expired: u64,
    /// Entries stored, whether or not they replaced another.
    pub inserted: u64,
    /// Entries that gave way to a later one under their own key.
    pub replaced: u64,
    /// Entries dropped to make room.
    pub evicted: u64,
    /// Entries dropped because [`forget`](crate::CacheTier::forget) said so.
    pub forgotten: u64,
    /// Entries not stored because they are too large.
    pub rejected: u64,
    /// Bytes held now; 0 where that is unknown.
    pub bytes: u64,
    /// The most bytes the tier will hold; 0 where bytes are not what bounds it.
    pub max_bytes: u64,
    /// Whether the tier is at work, and if not, why.
    pub state: TierState,
    /// What the tier's breaker lets through; the least of them where reads and writes have one each, and none where
    /// the tier has no breaker.
    pub breaker: Option<BreakerState>,
    /// Reads and writes that failed, other than by taking too long.
    pub errors: u64,
    /// Reads and writes that took too long.
    pub timeouts: u64,
    /// Reads and writes that were not tried, because the tier is out of service.
    pub bypassed: u64,
    /// Writes that are waiting now.
    pub queue_depth: u64,
    /// Writes that were given up: because too many were waiting, or because the tier failed.
    pub dropped_writes: u64,
    /// Times that what was stored could not be used, was put aside, and the tier began anew.
    pub quarantines: u64,
}

/// Whether a tier is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TierState {
    /// It is.
    #[default]
    Ready,
    /// It keeps nothing, because it was told so.
    Disabled,
    /// It is being opened, or connected to for the first time.
    Starting,
    /// Another process has it open.
    Locked,
    /// What was there could not be used; it was put aside, and a new store is being made.
    Quarantined,
    /// It can be read and not be written: the place is read-only or full.
    ReadOnly,
    /// The store fails or cannot be reached.
    Unavailable,
}

impl TierStats {
    /// Statistics with the look-ups and their rate filled in, and everything else at its default.
    #[must_use]
    pub fn of_lookups(hits: u64, misses: u64) -> Self {
        let n_lookups = hits.saturating_add(misses);
        let hit_rate = if n_lookups == 0 { 0.0 } else { hits as f64 / n_lookups as f64 };
        Self { hits, misses, hit_rate, ..Self::default() }
    }
}

/// What [`Counters`] count.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(
    not(any(feature = "disk", feature = "remote")),
    expect(dead_code, reason = "only tiers that do I/O fail")
)]
pub(crate) enum Event {
    Hit,
    Miss,
    Expired,
    Inserted,
    Replaced,
    Evicted,
    Forgotten,
    Rejected,
    BytesIn,
    BytesOut,
    Error,
    Timeout,
    Bypassed,
    LookedAgain,
}

const N_EVENTS: usize = Event::LookedAgain as usize + 1;

/// The threads that get a stripe of their own: more than the workers of most programs, in 8 KiB.
const N_OWNED: usize = 64;
/// The stripes for all other threads.
const N_SHARED: usize = 16;

/// Counters that many threads increment at once, and that are summed when read.
///
/// The first threads of a process have a stripe each, which they increment without a locked instruction;
/// those that come later share the others. No increment is lost in either case.
#[derive(Debug)]
pub(crate) struct Counters {
    stripes: Box<[Stripe; N_OWNED + N_SHARED]>,
}

/// Whole pairs of cache lines, because processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe([AtomicU64; N_EVENTS]);

impl Counters {
    pub(crate) fn new() -> Self {
        Self { stripes: Box::new(array::from_fn(|_| Stripe(array::from_fn(|_| AtomicU64::new(0))))) }
    }

    #[inline]
    pub(crate) fn add(&self, event: Event, n: u64) {
        let thread = thread_number();
        if thread < N_OWNED {
            // Nobody else writes here, so that reading and writing need not be one step.
            let counter = &self.stripes[thread].0[event as usize];
            counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
        } else {
            self.stripes[N_OWNED + thread % N_SHARED].0[event as usize].fetch_add(n, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn count(&self, event: Event) {
        self.add(event, 1);
    }

    pub(crate) fn sum(&self, event: Event) -> u64 {
        let parts = self.stripes.iter().map(|stripe| stripe.0[event as usize].load(Ordering::Relaxed));
        parts.fold(0, u64::wrapping_add)
    }
}

/// A number that no other thread has or will have, in the order in which threads first counted something.
#[inline]
fn thread_number() -> usize {
    const UNKNOWN: usize = usize::MAX;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(UNKNOWN) };
    }
    NUMBER.with(|number| {
        if number.get() == UNKNOWN {
            number.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_increment_is_lost() {
        let counters = Counters::new();
        // More threads than have stripes of their own, many of them at once.
        for _ in 0..20 {
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| (0..2_000).for_each(|_| counters.count(Event::Hit)));
                }
            });
        }
        counters.add(Event::BytesOut, 7);
        assert_eq!(counters.sum(Event::Hit), 20 * 8 * 2_000);
        assert_eq!(counters.sum(Event::BytesOut), 7);
        assert_eq!(counters.sum(Event::Miss), 0);
    }

    #[test]
    fn the_rate_is_a_fraction_even_before_the_first_lookup() {
        assert_eq!(TierStats::of_lookups(0, 0).hit_rate, 0.0);
        assert_eq!(TierStats::of_lookups(1, 3).hit_rate, 0.25);
    }
}
