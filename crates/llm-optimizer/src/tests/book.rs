//! Ledgers against a naive model: what is put aside and spent, through rolls and crashes, never exceeds a limit.

use std::sync::Arc;
use std::time::Duration;

use hp_base::{Clock, ManualClock};
use proptest::prelude::*;

use super::*;
use crate::{Ledger, MemoryLedger, Reservation};

const LIMITS: BudgetLimits =
    BudgetLimits { daily: Some(MicroDollars(500)), hourly: Some(MicroDollars(200)), warn_at: 0.8 };

fn at(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second)
}

#[test]
fn both_limits_hold_and_each_rolls_at_its_own_time() {
    let mut book = Book::default();
    let mut reserve = |amount, second| {
        let result = book.reserve(&LIMITS, MicroDollars(amount), at(second));
        result
            .map(|_| ())
            .map_err(|error| (error.to_string(), error.retry_after().map(|wait| wait.as_secs())))
    };
    let refused = |name: &str, limit: &str, wait| {
        Err((
            format!("the budget of the {name}, {limit}, is spent; wait for the next or raise it"),
            Some(wait),
        ))
    };
    assert_eq!(reserve(200, DAY + 10), Ok(()));
    assert_eq!(reserve(1, DAY + 3_599), refused("hour", "$0.0002", 1));
    assert_eq!(reserve(200, DAY + 3_600), Ok(()));
    assert_eq!(reserve(100, DAY + 7_200), Ok(()));
    assert_eq!(reserve(1, DAY + 7_201), refused("day", "$0.0005", DAY - 7_201));
    // Set back, the clock gives nothing back; a new day does.
    assert_eq!(reserve(1, 10), refused("day", "$0.0005", 2 * DAY - 10));
    assert_eq!(reserve(200, 2 * DAY), Ok(()));
    assert_eq!(
        reserve(201, 3 * DAY).unwrap_err(),
        (
            "the call may cost $0.000201, and the budget of a whole hour is $0.0002; raise it or ask for fewer tokens"
                .to_owned(),
            None
        )
    );
}

#[test]
fn amounts_are_settled_in_the_windows_they_were_put_aside_in() {
    let mut book = Book::default();
    let first = book.reserve(&LIMITS, MicroDollars(100), at(3_599)).unwrap();
    let second = book.reserve(&LIMITS, MicroDollars(50), at(3_600)).unwrap();
    book.settle(first, 100, 70);
    assert_eq!(book.day, Account { number: 0, settled: 70, reserved: 50 });
    assert_eq!(book.hour, Account { number: 1, settled: 0, reserved: 50 });
    let third = book.reserve(&LIMITS, MicroDollars(10), at(DAY)).unwrap();
    book.settle(second, 50, 50);
    book.settle(third, 10, 3);
    assert_eq!(book.day, Account { number: 1, settled: 3, reserved: 0 });
    assert_eq!(book.state(&LIMITS, at(DAY)).day.left(), Some(MicroDollars(497)));
    assert_eq!(book.state(&LIMITS, at(3 * DAY)).hour.settled, MicroDollars(0));
}

#[derive(Debug, Clone)]
enum Step {
    Reserve(u64),
    /// Which of those put aside, and the share of it that was spent.
    Settle(usize, f64),
    Drop(usize),
    Advance(u64),
    /// The process ends without a word and starts again.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (1..120_u64).prop_map(Step::Reserve),
        4 => (any::<usize>(), 0.0..=1.0).prop_map(|(which, share)| Step::Settle(which, share)),
        1 => any::<usize>().prop_map(Step::Drop),
        1 => (1..5_000_u64).prop_map(Step::Advance),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..60)
}

/// Each amount with the day and the hour it was put aside in, and what is known to be spent of it.
#[derive(Default)]
struct Naive(Vec<(u64, u64, u64)>);

impl Naive {
    fn gone(&self, of: u64, length: u64) -> u64 {
        self.0.iter().filter(|(second, ..)| second / length == of / length).map(|(_, _, gone)| gone).sum()
    }

    fn fits(&self, amount: u64, now: u64) -> bool {
        self.gone(now, DAY) + amount <= 500 && self.gone(now, HOUR) + amount <= 200
    }
}

/// Plays the steps; `crash` makes the ledger anew after the process's end, if it can survive that.
async fn play<L: Ledger>(
    steps: Vec<Step>,
    clock: Arc<ManualClock>,
    open: impl Fn() -> L,
    survives: bool,
) -> Result<(), TestCaseError> {
    let mut ledger = open();
    let mut naive = Naive::default();
    let mut held: Vec<(usize, Reservation)> = Vec::new();
    let now = || seconds(clock.wall());
    for step in steps {
        match step {
            Step::Reserve(amount) => {
                let result = ledger.reserve(MicroDollars(amount)).await;
                prop_assert_eq!(result.is_ok(), naive.fits(amount, now()));
                if let Ok(reservation) = result {
                    held.push((naive.0.len(), reservation));
                    naive.0.push((now(), amount, amount));
                }
            }
            Step::Settle(which, share) if !held.is_empty() => {
                let (number, reservation) = held.swap_remove(which % held.len());
                let spent = (reservation.amount().0 as f64 * share) as u64;
                naive.0[number].2 = spent;
                reservation.settle(MicroDollars(spent));
            }
            Step::Drop(which) if !held.is_empty() => drop(held.swap_remove(which % held.len())),
            Step::Advance(seconds) => clock.advance(Duration::from_secs(seconds)),
            Step::Crash if survives => {
                ledger.flush().await.unwrap();
                held.drain(..).for_each(|(_, reservation)| std::mem::forget(reservation));
                ledger = open();
            }
            _ => {}
        }
        ledger.flush().await.unwrap();
        let state = ledger.state().await.unwrap();
        for (window, length) in [(state.day, DAY), (state.hour, HOUR)] {
            prop_assert_eq!(window.settled.0 + window.reserved.0, naive.gone(now(), length));
            prop_assert!(
                window.left() == window.limit.map(|limit| MicroDollars(limit.0 - naive.gone(now(), length)))
            );
        }
        let open: u64 =
            held.iter().filter(|(n, _)| naive.0[*n].0 / DAY == now() / DAY).map(|(n, _)| naive.0[*n].1).sum();
        prop_assert!(state.day.reserved.0 >= open);
    }
    Ok(())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn in_memory_it_is_as_in_the_naive_model(steps in steps()) {
        let clock = Arc::new(ManualClock::starting_at(at(3 * DAY - 20_000)));
        let open = || MemoryLedger::new(LIMITS, clock.clone()).unwrap();
        block_on(play(steps, clock.clone(), open, false))?;
    }
}

#[cfg(unix)]
proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn in_a_file_it_is_so_through_crashes_too(steps in steps()) {
        use crate::{LocalLedger, LocalLedgerConfig};
        let folder = tempfile::TempDir::new().unwrap();
        let clock = Arc::new(ManualClock::starting_at(at(3 * DAY - 20_000)));
        let config = LocalLedgerConfig { timeout: Duration::from_secs(20), ..LocalLedgerConfig::new(folder.path().join("budget")) };
        let open = || LocalLedger::open(config.clone(), LIMITS, clock.clone()).unwrap();
        block_on(play(steps, clock.clone(), open, true))?;
    }
}
