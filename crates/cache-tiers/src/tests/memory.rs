//! The memory tier keeps its bounds, its times and its books.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;

use crate::{CacheErrorKind, Clock, Entry, Key, KeySpace, ManualClock, MemoryConfig, MemoryTier, TierStats};

const SECOND: Duration = Duration::from_secs(1);

fn new(config: MemoryConfig) -> (Arc<MemoryTier<Vec<u8>>>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    (Arc::new(MemoryTier::new(config, clock.clone()).with_weigher(Vec::len)), clock)
}

fn no_jitter() -> MemoryConfig {
    MemoryConfig { ttl_jitter: 0.0, ..MemoryConfig::default() }
}

fn key(number: u64) -> Key {
    KeySpace::builder("cache-tiers test").build().key([number.to_le_bytes().as_slice()])
}

fn entry(n_bytes: usize, ttl: Duration) -> Entry<Vec<u8>> {
    Entry { value: vec![1; n_bytes], ttl }
}

fn put(tier: &MemoryTier<Vec<u8>>, number: u64, n_bytes: usize) {
    tier.insert(key(number), entry(n_bytes, 100 * SECOND)).unwrap();
}

#[track_caller]
fn check_books(stats: &TierStats) {
    let gone = stats.replaced + stats.evicted + stats.expired + stats.forgotten;
    assert_eq!(stats.inserted, stats.size + gone, "{stats:?}");
    assert!(stats.size <= stats.max_size && stats.bytes <= stats.max_bytes, "{stats:?}");
}

/// Numbers that look random: SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn entries_live_for_the_shorter_of_two_times() {
    let (tier, clock) = new(MemoryConfig { ttl: 10 * SECOND, ..no_jitter() });
    tier.insert(key(1), entry(1, 3 * SECOND)).unwrap();
    tier.insert(key(2), entry(1, Duration::MAX)).unwrap();
    assert_eq!(tier.get(&key(1)), Some(entry(1, 3 * SECOND)));
    assert_eq!(tier.get(&key(2)), Some(entry(1, 10 * SECOND)));

    clock.advance(3 * SECOND - Duration::from_nanos(1));
    assert_eq!(tier.get(&key(1)), Some(entry(1, Duration::from_nanos(1))));
    clock.advance(Duration::from_nanos(1));
    assert_eq!(tier.stats().size, 2);
    assert_eq!(tier.get(&key(1)), None);
    assert_eq!(tier.get(&key(1)), None);
    assert_eq!(tier.get(&key(2)), Some(entry(1, 7 * SECOND)));

    let stats = tier.stats();
    assert_eq!((stats.size, stats.expired, stats.hits, stats.misses), (1, 1, 4, 2));
    check_books(&stats);
}

#[test]
fn an_expired_entry_gives_back_its_bytes() {
    let (tier, clock) = new(no_jitter());
    let overhead = MemoryTier::<Vec<u8>>::OVERHEAD_BYTES as u64;
    tier.insert(key(1), entry(1000, SECOND)).unwrap();
    assert_eq!(tier.stats().bytes, 1000 + overhead);
    clock.advance(SECOND);
    assert_eq!(tier.get(&key(1)), None);
    assert_eq!(tier.stats().bytes, 0);
}

/// A clock that puts a fresh entry in place at the moment when a reader, who has found an expired one, asks for
/// the time.
#[derive(Debug, Default)]
struct Interruption {
    clock: ManualClock,
    tier: Mutex<Option<Arc<MemoryTier<Vec<u8>>>>>,
}

impl Clock for Interruption {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn coarse_nanos(&self) -> u64 {
        let tier = self.tier.lock().unwrap().take();
        if let Some(tier) = tier {
            put(&tier, 1, 5);
        }
        self.clock.coarse_nanos()
    }

    fn wall(&self) -> SystemTime {
        self.clock.wall()
    }
}

#[test]
fn a_reader_of_an_expired_entry_spares_the_fresh_one() {
    let clock = Arc::new(Interruption::default());
    let tier = Arc::new(MemoryTier::new(no_jitter(), clock.clone()).with_weigher(Vec::len));
    tier.insert(key(1), entry(1, SECOND)).unwrap();
    clock.clock.advance(SECOND);
    *clock.tier.lock().unwrap() = Some(Arc::clone(&tier));
    assert_eq!(tier.get(&key(1)), None);
    assert_eq!(tier.get(&key(1)).map(|entry| entry.value.len()), Some(5));
    assert_eq!((tier.stats().expired, tier.stats().replaced), (0, 1));
}

#[test]
fn a_new_time_counts_for_what_comes_after() {
    let (tier, clock) = new(no_jitter());
    tier.insert(key(1), entry(1, Duration::MAX)).unwrap();
    tier.set_ttl(SECOND);
    tier.insert(key(2), entry(1, Duration::MAX)).unwrap();
    assert_eq!(tier.ttl(), SECOND);
    clock.advance(2 * SECOND);
    assert!(tier.get(&key(1)).is_some());
    assert!(tier.get(&key(2)).is_none());
}

#[test]
fn an_entry_without_time_only_drops_the_old_one() {
    let (tier, _) = new(no_jitter());
    put(&tier, 1, 1);
    tier.insert(key(1), entry(1, Duration::ZERO)).unwrap();
    assert_eq!(tier.get(&key(1)), None);
    check_books(&tier.stats());
    assert_eq!(tier.stats().inserted, 1);
}

#[test]
fn jitter_shortens_within_its_bounds_and_spreads() {
    let (tier, _) = new(MemoryConfig { ttl: 1000 * SECOND, ttl_jitter: 0.25, ..MemoryConfig::default() });
    let mut tenths = [0; 10];
    for number in 0..5_000 {
        tier.insert(key(number), entry(1, Duration::MAX)).unwrap();
        let ttl = tier.get(&key(number)).unwrap().ttl.as_secs_f64();
        assert!((750.0..=1000.0).contains(&ttl), "{ttl}");
        tenths[((ttl - 750.0) / 25.000_001) as usize] += 1;
    }
    // 500 in each tenth of the range if it is uniform, with a standard deviation of 21.
    assert!(tenths.iter().all(|n| (400..600).contains(n)), "{tenths:?}");
}

#[test]
fn jitter_of_one_key_differs_from_put_to_put_but_not_from_run_to_run() {
    let times = || {
        let (tier, _) = new(MemoryConfig::default());
        [(); 3].map(|()| {
            tier.insert(key(1), entry(1, Duration::MAX)).unwrap();
            tier.get(&key(1)).unwrap().ttl
        })
    };
    let [a, b, c] = times();
    assert!(a != b && b != c && a != c);
    assert_eq!(times(), [a, b, c]);
}

#[test]
fn odd_jitter_is_brought_into_range() {
    for (ttl_jitter, least) in [(f64::NAN, 1.0), (-1.0, 1.0), (0.0, 1.0), (7.0, 0.1)] {
        let (tier, _) = new(MemoryConfig { ttl: 1000 * SECOND, ttl_jitter, ..MemoryConfig::default() });
        for number in 0..200 {
            tier.insert(key(number), entry(1, Duration::MAX)).unwrap();
            let ttl = tier.get(&key(number)).unwrap().ttl.as_secs_f64();
            assert!((least * 999.999..=1000.0).contains(&ttl), "{ttl_jitter}: {ttl}");
        }
    }
}

#[test]
fn bounds_hold_under_100_000_random_inserts() {
    for (max_entries, max_bytes, largest) in
        [(1_000, 1 << 20, 100), (1_000, 100_000, 1_000), (10, 5_000, 600), (1, 1_000, 600), (7, 1 << 20, 1)]
    {
        let (tier, _) = new(MemoryConfig { max_entries, max_bytes, ..no_jitter() });
        let mut state = 1;
        let mut most = (0, 0);
        for step in 0..100_000_u64 {
            let number = random(&mut state) % 5_000;
            let n_bytes = (random(&mut state) % (largest + 1)) as usize;
            put(&tier, number, n_bytes);
            if step % 97 == 0 || max_entries < 20 {
                let stats = tier.stats();
                check_books(&stats);
                most = (most.0.max(stats.size), most.1.max(stats.bytes));
            }
        }
        let stats = tier.stats();
        assert_eq!(stats.max_size, max_entries as u64);
        assert!(stats.evicted > 50_000, "{stats:?}");
        // One of the bounds is made use of.
        let fullest = (most.0 as f64 / max_entries as f64).max(most.1 as f64 / max_bytes as f64);
        assert!(fullest > 0.9, "{max_entries} {max_bytes}: {most:?}");
    }
}

#[test]
fn the_default_tier_is_well_filled() {
    let (tier, _) = new(no_jitter());
    (0..40_000).for_each(|number| put(&tier, number, 300));
    let stats = tier.stats();
    check_books(&stats);
    assert!(stats.size > 9_900, "{stats:?}");
}

#[test]
fn what_is_too_large_is_rejected_with_what_was_there() {
    let (tier, _) = new(MemoryConfig { max_entries: 100, max_bytes: 40_000, ..no_jitter() });
    put(&tier, 1, 10);
    let error = tier.insert(key(1), entry(10_001, SECOND)).unwrap_err();
    assert_eq!(error.kind(), CacheErrorKind::TooLarge);
    assert!(error.to_string().contains("10000 are the most, raise max_bytes"), "{error}");
    assert_eq!(tier.get(&key(1)), None);
    let stats = tier.stats();
    assert_eq!((stats.rejected, stats.size, stats.bytes), (1, 0, 0));
    check_books(&stats);
    put(&tier, 1, 10_000 - MemoryTier::<Vec<u8>>::OVERHEAD_BYTES);
    assert!(tier.get(&key(1)).is_some());
}

#[test]
fn a_tier_without_room_keeps_nothing_until_it_is_given_some() {
    for (max_entries, max_bytes) in [(0, 1 << 20), (100, 0), (0, 0)] {
        let (tier, _) = new(MemoryConfig { max_entries, max_bytes, ..no_jitter() });
        put(&tier, 1, 10);
        assert_eq!(tier.get(&key(1)), None);
        let stats = tier.stats();
        assert_eq!((stats.enabled, stats.size, stats.inserted, stats.max_size), (false, 0, 0, 0));

        tier.resize(1_000, 1 << 20);
        (0..2_000).for_each(|number| put(&tier, number, 10));
        let stats = tier.stats();
        assert!(stats.enabled && stats.size > 800, "{stats:?}");
        check_books(&stats);

        tier.resize(max_entries, max_bytes);
        assert_eq!((tier.stats().enabled, tier.stats().size, tier.stats().bytes), (false, 0, 0));
        check_books(&tier.stats());
    }
}

#[test]
fn bounds_move_while_the_tier_is_in_use() {
    let (tier, _) = new(no_jitter());
    (0..10_000).for_each(|number| put(&tier, number, 100));
    let before = tier.stats();

    // Room for more entries in the same bytes: nothing goes.
    tier.resize(40_000, 32 << 20);
    assert_eq!(tier.stats().size, before.size);
    (10_000..40_000).for_each(|number| put(&tier, number, 100));
    assert!(tier.stats().size > 35_000, "{:?}", tier.stats());

    // Fewer entries in the same bytes, and then in fewer bytes.
    for (max_entries, max_bytes) in [(2_000, 32 << 20), (2_000, 128_000), (3, 128_000)] {
        tier.resize(max_entries, max_bytes);
        let stats = tier.stats();
        // At least one entry a shard, of which the machine decides how many there are.
        assert!(
            stats.max_size == max_entries as u64 || (max_entries == 3 && stats.max_size <= 64),
            "{stats:?}"
        );
        assert_eq!(stats.max_bytes, max_bytes);
        assert!(stats.size > 0);
        check_books(&stats);
        (0..10_000).for_each(|number| put(&tier, number, 100));
        check_books(&tier.stats());
    }
    let shown = format!("MemoryTier {{ max_entries: {}, max_bytes: 128000", tier.stats().max_size);
    assert!(format!("{tier:?}").starts_with(&shown), "{tier:?}");
}

#[test]
fn removing_and_clearing_keep_the_books() {
    let (tier, _) = new(no_jitter());
    (0..10).for_each(|number| put(&tier, number, 10));
    put(&tier, 0, 20);
    assert!(tier.remove(&key(0)));
    assert!(!tier.remove(&key(0)));
    tier.clear();
    let stats = tier.stats();
    assert_eq!((stats.inserted, stats.replaced, stats.forgotten, stats.size, stats.bytes), (11, 1, 10, 0, 0));
}

#[test]
fn books_balance_after_many_threads() {
    let (tier, clock) = new(MemoryConfig { max_entries: 500, max_bytes: 200_000, ..MemoryConfig::default() });
    let work = |worker: u64| {
        let mut state = worker;
        let mut n_lookups = 0;
        for step in 0..30_000_u64 {
            let number = random(&mut state) % 300;
            match random(&mut state) % 64 {
                0 => drop(tier.remove(&key(number))),
                1 => clock.advance(SECOND),
                2..20 => {
                    let value = vec![number as u8; (random(&mut state) % 2_000) as usize];
                    drop(tier.insert(key(number), Entry { value, ttl: 5 * SECOND }));
                }
                _ => {
                    n_lookups += 1;
                    if let Some(entry) = tier.get(&key(number)) {
                        assert!(entry.value.iter().all(|&byte| byte == number as u8));
                    }
                }
            }
            match (worker, step % 2_000) {
                (0, 0) => tier.clear(),
                (1, 0) => tier.resize(50, 200_000),
                (1, 1_000) => tier.resize(500, 200_000),
                _ => {}
            }
        }
        n_lookups
    };
    let n_lookups: u64 = thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = (0..4).map(|worker| scope.spawn(move || work(worker))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    tier.resize(500, 200_000);
    let stats = tier.stats();
    check_books(&stats);
    assert_eq!(stats.hits + stats.misses, n_lookups);
    assert!(stats.hits > 0 && stats.evicted > 0 && stats.expired > 0 && stats.forgotten > 0, "{stats:?}");
    tier.clear();
    assert_eq!((tier.stats().size, tier.stats().bytes), (0, 0));
}

#[derive(Debug, Clone)]
enum Step {
    Put { number: u64, n_bytes: usize, seconds: u32 },
    Get(u64),
    Remove(u64),
    Clear,
    Pass(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..8_u64, 0..50_usize, 0..9_u32).prop_map(|(number, n_bytes, seconds)| Step::Put { number, n_bytes, seconds }),
        6 => (0..8_u64).prop_map(Step::Get),
        1 => (0..8_u64).prop_map(Step::Remove),
        1 => Just(Step::Clear),
        3 => (1..5_u32).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn a_tier_with_room_behaves_like_a_map(steps in proptest::collection::vec(step(), 0..60)) {
        let (tier, clock) = new(MemoryConfig { ttl: 6 * SECOND, ..no_jitter() });
        let mut model: HashMap<u64, (usize, u32)> = HashMap::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Put { number, n_bytes, seconds } => {
                    tier.insert(key(number), entry(n_bytes, seconds * SECOND)).unwrap();
                    model.insert(number, (n_bytes, now + seconds.min(6)));
                }
                Step::Get(number) => {
                    let alive = model.get(&number).filter(|(_, expires)| *expires > now);
                    let expected = alive.map(|&(n_bytes, expires)| entry(n_bytes, (expires - now) * SECOND));
                    prop_assert_eq!(tier.get(&key(number)), expected);
                }
                Step::Remove(number) => {
                    tier.remove(&key(number));
                    model.remove(&number);
                }
                Step::Clear => {
                    tier.clear();
                    model.clear();
                }
                Step::Pass(seconds) => {
                    clock.advance(seconds * SECOND);
                    now += seconds;
                }
            }
            check_books(&tier.stats());
        }
    }
}
