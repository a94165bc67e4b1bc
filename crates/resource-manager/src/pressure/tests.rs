//! Tests of pressure: it does not flap, and what it does is undone.

use std::time::Duration;

use hp_base::ManualClock;
use proptest::prelude::*;

use super::*;

/// A sample that knows these shares.
fn sample(memory: Option<f64>, cpu: Option<f64>) -> Resources {
    Resources { memory_share_used: memory, cpu_share_used: cpu, ..Resources::unknown() }
}

fn memory(share: f64) -> Resources {
    sample(Some(share), None)
}

/// Writes down what it is told.
#[derive(Debug, Default)]
struct Record(Mutex<Vec<PressureState>>);

impl PressureResponse for Record {
    fn name(&self) -> &'static str {
        "record"
    }

    fn respond(&self, state: PressureState) {
        self.0.lock().unwrap().push(state);
    }
}

fn levels(shares: &[f64]) -> Vec<Level> {
    let mut pressure = Pressure::new(PressureConfig::default());
    shares.iter().map(|&share| pressure.observe(&memory(share)).memory).collect()
}

#[test]
fn two_samples_in_a_row_begin_it_and_two_end_it() {
    use Level::{High, Normal};
    assert_eq!(levels(&[0.85, 0.84, 0.85, 0.85]), [Normal, Normal, Normal, High]);
    assert_eq!(levels(&[0.9, 0.9, 0.75, 0.76, 0.75, 0.75]), [Normal, High, High, High, High, Normal]);
}

#[test]
fn memory_and_processor_are_apart() {
    let mut pressure = Pressure::new(PressureConfig { hold: 1, ..PressureConfig::default() });
    let state = pressure.observe(&sample(Some(0.5), Some(0.9)));
    assert_eq!(state, PressureState { memory: Level::Normal, cpu: Level::High });
    let state = pressure.observe(&sample(Some(0.85), Some(0.7)));
    assert_eq!(state, PressureState { memory: Level::High, cpu: Level::Normal });
}

#[test]
fn what_is_unknown_changes_nothing_and_breaks_the_row() {
    let mut pressure = Pressure::new(PressureConfig::default());
    for share in [Some(0.9), None, Some(0.9)] {
        assert_eq!(pressure.observe(&sample(share, None)).memory, Level::Normal);
    }
    assert_eq!(pressure.observe(&memory(0.9)).memory, Level::High);
    for _ in 0..5 {
        assert_eq!(pressure.observe(&sample(None, None)).memory, Level::High);
    }
}

#[test]
fn responses_are_called_on_changes_only_and_the_statistics_show_them() {
    let clock = Arc::new(ManualClock::new());
    let record = Arc::new(Record::default());
    let responses: Vec<Arc<dyn PressureResponse>> = vec![Arc::clone(&record) as _, Arc::new(LogPressure)];
    let control = PressureControl::new(PressureConfig::default(), responses, clock.clone());
    let start = clock.now();
    for share in [0.9, 0.9, 0.9, 0.8, 0.7, 0.7, 0.7, 0.9, 0.9] {
        clock.advance(Duration::from_secs(1));
        control.observe(&memory(share));
    }
    let high = PressureState { memory: Level::High, cpu: Level::Normal };
    let normal = PressureState::default();
    assert_eq!(*record.0.lock().unwrap(), [high, normal, high]);
    let changes: Vec<_> = control.history().iter().map(|change| (change.at - start, change.state)).collect();
    assert_eq!(
        changes,
        [(2, high), (6, normal), (9, high)].map(|(at, state)| (Duration::from_secs(at), state))
    );
    assert_eq!(
        control.stats(),
        PressureStats {
            state: high,
            since: start + Duration::from_secs(9),
            n_memory_high: 2,
            n_cpu_high: 0,
            responses: vec!["record", "log"],
        }
    );
    drop(control);
    assert_eq!(record.0.lock().unwrap().last(), Some(&normal), "nothing stays reduced");
}

#[test]
fn the_history_is_bounded() {
    let control = PressureControl::new(
        PressureConfig { hold: 1, ..PressureConfig::default() },
        Vec::new(),
        Arc::new(ManualClock::new()),
    );
    for _ in 0..1_000 {
        control.observe(&memory(0.9));
        control.observe(&memory(0.1));
    }
    assert_eq!((control.history().len(), control.stats().n_memory_high), (MAX_HISTORY, 1_000));
}

proptest! {
    #[test]
    fn a_change_needs_a_row_beyond_its_bound(
        shares in prop::collection::vec(prop::option::of(0.0..1.2_f64), 0..200),
        (low, high) in (0.0..1.0_f64, 0.0..1.0_f64),
        hold in 0..5_u32,
    ) {
        let config = PressureConfig { memory_low: low, memory_high: high, hold, ..PressureConfig::default() };
        let mut pressure = Pressure::new(config);
        let mut before = Level::Normal;
        let mut last_change = 0;
        for (index, &share) in shares.iter().enumerate() {
            let level = pressure.observe(&sample(share, None)).memory;
            if level != before {
                let hold = hold.max(1) as usize;
                prop_assert!(index + 1 - last_change >= hold, "a row counts once");
                for share in &shares[index + 1 - hold..=index] {
                    let share = share.unwrap();
                    match level {
                        Level::High => prop_assert!(share >= high),
                        Level::Normal => prop_assert!(share <= low && share < high),
                    }
                }
                last_change = index + 1;
            }
            before = level;
        }
    }

    #[test]
    fn between_the_bounds_nothing_ever_changes(shares in prop::collection::vec(0.7501..0.8499_f64, 1..100), is_high: bool) {
        let mut pressure = Pressure::new(PressureConfig::default());
        let share = if is_high { 1.0 } else { 0.0 };
        let level = [share, share].map(|share| pressure.observe(&memory(share)).memory)[1];
        for share in shares {
            prop_assert_eq!(pressure.observe(&memory(share)).memory, level);
        }
    }
}
