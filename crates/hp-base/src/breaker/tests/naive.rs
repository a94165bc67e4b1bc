//! The breaker against one that keeps every call and counts them anew each time.

use proptest::prelude::*;

use super::super::*;
use crate::ManualClock;

const CONFIG: BreakerConfig = BreakerConfig {
    window: Duration::from_millis(1000),
    min_calls: 3,
    failure_rate: 0.5,
    slow_call: Duration::from_millis(300),
    adaptive_slow: None,
    slow_rate: 0.8,
    open_for: Duration::from_millis(200),
    open_for_most: Duration::from_millis(700),
    n_trials: 2,
};

#[derive(Debug, Clone, Copy)]
enum Step {
    Advance(u64),
    Begin,
    Succeed(usize),
    Fail(usize),
    Late(usize),
    Abandon(usize),
    FailAfterAll,
    Trip,
    Reset,
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..6_usize;
    prop_oneof![
        4 => (1..350_u64).prop_map(Step::Advance),
        8 => Just(Step::Begin),
        4 => which.clone().prop_map(Step::Succeed),
        4 => which.clone().prop_map(Step::Fail),
        2 => which.clone().prop_map(Step::Late),
        1 => which.prop_map(Step::Abandon),
        1 => Just(Step::FailAfterAll),
        1 => Just(Step::Trip),
        1 => Just(Step::Reset),
    ]
}

#[derive(Debug)]
struct Naive {
    now: u64,
    state: BreakerState,
    counted: Vec<Counted>,
    period: u32,
    open_until: u64,
    open_for: u64,
    n_running: u32,
    n_good: u32,
}

#[derive(Debug)]
struct Counted {
    id: usize,
    slice: u64,
    failed: bool,
    slow: bool,
}

#[derive(Debug)]
struct NaiveCall {
    id: usize,
    started: u64,
    period: u32,
    is_trial: bool,
    is_late: bool,
    is_counted: bool,
}

impl Naive {
    fn new() -> Self {
        Self {
            now: 0,
            state: BreakerState::Closed,
            counted: Vec::new(),
            period: 0,
            open_until: 0,
            open_for: 200,
            n_running: 0,
            n_good: 0,
        }
    }

    fn settle(&mut self) {
        if self.state == BreakerState::Open && self.now >= self.open_until {
            self.begin(BreakerState::HalfOpen);
        }
    }

    fn begin(&mut self, state: BreakerState) {
        (self.state, self.n_running, self.n_good) = (state, 0, 0);
        self.period += 1;
        self.counted.clear();
    }

    fn open(&mut self) {
        if self.state == BreakerState::HalfOpen {
            self.open_for = (self.open_for * 2).min(700);
        }
        self.begin(BreakerState::Open);
        self.open_until = self.now + self.open_for;
    }

    fn close(&mut self) {
        self.begin(BreakerState::Closed);
        self.open_for = 200;
    }

    fn forget_old(&mut self) {
        let oldest = (self.now / 100).saturating_sub(9);
        self.counted.retain(|counted| counted.slice >= oldest);
    }

    fn judge(&mut self) {
        self.forget_old();
        let share = |of: fn(&&Counted) -> bool| {
            self.counted.iter().filter(of).count() as f64 / self.counted.len().max(1) as f64
        };
        if self.counted.len() >= 3 && (share(|call| call.failed) >= 0.5 || share(|call| call.slow) >= 0.8) {
            self.open();
        }
    }

    fn try_call(&mut self, id: usize) -> Option<NaiveCall> {
        self.settle();
        let is_trial = self.state == BreakerState::HalfOpen;
        if self.state == BreakerState::Open || (is_trial && self.n_running == 2) {
            return None;
        }
        self.n_running += u32::from(is_trial);
        Some(NaiveCall {
            id,
            started: self.now,
            period: self.period,
            is_trial,
            is_late: false,
            is_counted: false,
        })
    }

    fn tell(&mut self, call: &mut NaiveCall, word: Word) {
        if word == Word::Late && call.is_late {
            return;
        }
        let slow = call.is_late || word == Word::Late || self.now - call.started >= 300;
        call.is_late = slow;
        if call.period != self.period {
            return;
        }
        if call.is_trial {
            self.n_running -= 1;
            self.n_good += 1;
            if word != Word::Succeeded || slow {
                self.open();
            } else if self.n_good == 2 {
                self.close();
            }
            return;
        }
        let failed = word == Word::Failed;
        if !call.is_counted {
            self.counted.push(Counted { id: call.id, slice: self.now / 100, failed, slow });
            call.is_counted = true;
        } else if failed {
            self.fail_counted(call.id);
        } else {
            return;
        }
        self.judge();
    }

    /// The breaker knows how many of a slice have failed, and not which.
    fn fail_counted(&mut self, id: usize) {
        let Some(at) = self.counted.iter().position(|counted| counted.id == id) else { return };
        let slice = self.counted[at].slice;
        if let Some(other) = self.counted.iter_mut().find(|other| other.slice == slice && !other.failed) {
            other.failed = true;
        }
    }

    fn fail_after_all(&mut self) {
        self.settle();
        match self.state {
            BreakerState::Closed => {
                self.forget_old();
                if let Some(latest) = self.counted.iter_mut().rfind(|counted| !counted.failed) {
                    latest.failed = true;
                }
                self.judge();
            }
            BreakerState::Open => {}
            BreakerState::HalfOpen => self.open(),
        }
    }

    fn abandon(&mut self, call: NaiveCall) {
        if call.is_trial && call.period == self.period {
            self.n_running -= 1;
        }
    }
}

proptest! {
    #[test]
    fn the_breaker_is_in_the_state_of_the_naive_one(steps in prop::collection::vec(step(), 1..300)) {
        let clock = Arc::new(ManualClock::new());
        let breaker = CircuitBreaker::new(CONFIG, clock.clone());
        let mut naive = Naive::new();
        let mut running: Vec<(Call<'_>, NaiveCall)> = Vec::new();
        for (id, step) in steps.into_iter().enumerate() {
            match step {
                Step::Advance(millis) => {
                    clock.advance(Duration::from_millis(millis));
                    naive.now += millis;
                }
                Step::Begin => {
                    let (call, other) = (breaker.try_call(), naive.try_call(id));
                    prop_assert_eq!(call.is_some(), other.is_some());
                    running.extend(call.zip(other));
                }
                Step::Succeed(at) if at < running.len() => {
                    let (call, mut other) = running.remove(at);
                    call.succeeded();
                    naive.tell(&mut other, Word::Succeeded);
                }
                Step::Fail(at) if at < running.len() => {
                    let (call, mut other) = running.remove(at);
                    call.failed();
                    naive.tell(&mut other, Word::Failed);
                }
                Step::Late(at) if at < running.len() => {
                    let (call, other) = &mut running[at];
                    call.late();
                    naive.tell(other, Word::Late);
                }
                Step::Abandon(at) if at < running.len() => naive.abandon(running.remove(at).1),
                Step::Succeed(_) | Step::Fail(_) | Step::Late(_) | Step::Abandon(_) => {}
                Step::FailAfterAll => {
                    breaker.failed_after_all();
                    naive.fail_after_all();
                }
                Step::Trip => {
                    breaker.trip();
                    naive.open();
                }
                Step::Reset => {
                    breaker.reset();
                    naive.close();
                }
            }
            naive.settle();
            prop_assert_eq!(breaker.state(), naive.state, "{:?}", naive);
            let left = (naive.state == BreakerState::Open).then(|| naive.open_until - naive.now);
            prop_assert_eq!(breaker.open_for(), left.map(Duration::from_millis));
        }
    }
}
