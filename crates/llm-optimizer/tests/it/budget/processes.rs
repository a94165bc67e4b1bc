//! Three processes spend from one budget, five hundred calls at once each: no sample of it is ever above its limit.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use hp_base::SystemClock;
use llm_optimizer::{BudgetLimits, Ledger, LlmErrorKind, LocalLedger, LocalLedgerConfig, MicroDollars};
use tokio::task::JoinSet;

use super::{PATIENCE, eventually};

/// Tells the test that is a child where the budget is.
const PLACE: &str = "LLM_OPTIMIZER_TEST_CHILD_PLACE";
/// Tells it to make real calls, and to which provider.
const PROVIDER: &str = "LLM_OPTIMIZER_TEST_CHILD_PROVIDER";
/// Tells it to keep some of what it puts aside, until it is killed.
const HOLDS: &str = "LLM_OPTIMIZER_TEST_CHILD_HOLDS";
pub(super) const N_PROCESSES: usize = 3;
pub(super) const N_CALLS: u64 = 500;
const LIMIT: u64 = 60_000;
/// What is put aside for a call. All of them together want more than twice what there is.
const AMOUNT: u64 = 100;

fn open(place: &str) -> Arc<dyn Ledger> {
    open_with(place, LIMIT)
}

pub(super) fn open_with(place: &str, limit: u64) -> Arc<dyn Ledger> {
    let limits = BudgetLimits { daily: Some(MicroDollars(limit)), ..BudgetLimits::default() };
    #[cfg(feature = "remote")]
    if place.starts_with("redis://") {
        let config = super::remote::config(place);
        return Arc::new(llm_optimizer::RemoteLedger::new(&config, limits, Arc::new(SystemClock)).unwrap());
    }
    let config = LocalLedgerConfig { timeout: PATIENCE, ..LocalLedgerConfig::new(place) };
    Arc::new(LocalLedger::open(config, limits, Arc::new(SystemClock)).unwrap())
}

/// One of the processes, when it is one: it makes all its calls at once and says what they have come to.
#[test]
fn child() {
    let Ok(place) = std::env::var(PLACE) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let provider = std::env::var(PROVIDER).ok();
        let ledger = if provider.is_some() { super::calls::open(&place) } else { open(&place) };
        let model = provider.map(|url| super::calls::model(&url, ledger.clone()));
        eventually("the budget can be read", async || ledger.state().await.is_ok()).await;
        println!("\nchild: ready");
        let wait = tokio::task::spawn_blocking(|| std::io::stdin().lines().next());
        wait.await.unwrap();
        let mut calls = JoinSet::new();
        for number in 0..N_CALLS {
            let (ledger, model) = (Arc::clone(&ledger), model.clone());
            calls.spawn(async move {
                match model {
                    Some(model) => super::calls::call(&*model, number).await,
                    None => call(&*ledger, number).await,
                }
            });
        }
        let spent: u64 = calls.join_all().await.into_iter().sum();
        ledger.flush().await.unwrap();
        println!("\nchild: spent {spent}");
        // Until it is killed, or the test has gone.
        let _ = tokio::task::spawn_blocking(|| std::io::stdin().lines().next()).await;
    });
}

/// Puts aside, takes a moment, and settles less, all, or nothing; says what was spent.
async fn call(ledger: &dyn Ledger, number: u64) -> u64 {
    let reservation = match ledger.reserve(MicroDollars(AMOUNT)).await {
        Ok(reservation) => reservation,
        Err(error) => {
            assert_eq!(error.kind(), LlmErrorKind::OverBudget, "{error}");
            return 0;
        }
    };
    if number.is_multiple_of(10) && std::env::var(HOLDS).is_ok() {
        println!("\nchild: holding");
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(Duration::from_millis(number % 7)).await;
    match number % 4 {
        0 => {
            reservation.release();
            0
        }
        1 => {
            drop(reservation);
            AMOUNT
        }
        share => {
            reservation.settle(MicroDollars(share * 20));
            share * 20
        }
    }
}

pub(super) struct Processes {
    children: Vec<(Child, ChildStdin)>,
    said: Receiver<(usize, String)>,
    /// One that holds what it has until it is killed.
    holding: Option<usize>,
}

impl Processes {
    /// Starts them, so many of which hold what they have until they are killed.
    fn start(place: &str, n_holding: usize) -> Self {
        Self::start_with(place, n_holding, None)
    }

    /// The same, with real calls to a provider.
    pub(super) fn start_with(place: &str, n_holding: usize, provider: Option<&str>) -> Self {
        let (saying, said) = channel();
        let children = (0..N_PROCESSES)
            .map(|number| spawn(place, number, number < n_holding, provider, saying.clone()))
            .collect();
        let mut processes = Self { children, said, holding: None };
        (0..N_PROCESSES).for_each(|_| assert_eq!(processes.next().1, "ready"));
        // Who is to hold something must find something left.
        let others_from = n_holding.min(N_PROCESSES);
        processes.go(0..others_from);
        while n_holding > 0 && processes.holding.is_none() {
            let (number, said) = processes.next();
            if said == "holding" {
                processes.holding = Some(number);
            }
        }
        processes.go(others_from..N_PROCESSES);
        processes
    }

    fn go(&mut self, which: std::ops::Range<usize>) {
        for (_, stdin) in &mut self.children[which] {
            writeln!(stdin, "go on").unwrap();
        }
    }

    fn next(&mut self) -> (usize, String) {
        self.said.recv_timeout(PATIENCE).unwrap()
    }

    /// What was said meanwhile that tells of money.
    pub(super) fn spent(&mut self) -> Vec<u64> {
        let said = self.said.try_iter();
        said.filter_map(|(_, said)| said.strip_prefix("spent ").map(|spent| spent.parse().unwrap())).collect()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for (child, _) in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn spawn(
    place: &str,
    number: usize,
    holds: bool,
    provider: Option<&str>,
    saying: Sender<(usize, String)>,
) -> (Child, ChildStdin) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "budget::processes::child", "--nocapture"]).env(PLACE, place);
    if holds {
        command.env(HOLDS, "yes");
    }
    if let Some(provider) = provider {
        command.env(PROVIDER, provider);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(said) = line.strip_prefix("child: ") {
                let _ = saying.send((number, said.to_owned()));
            }
        }
    });
    (child, stdin)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Lets them all call, looking at the budget all the while, and compares the sums.
fn spend_all(place: &str) {
    block_on(async {
        let ledger = open(place);
        let mut processes = Processes::start(place, 0);
        let (mut spent, mut n_samples, mut highest) = (Vec::new(), 0, 0);
        while spent.len() < N_PROCESSES {
            if let Ok(state) = ledger.state().await {
                let gone = state.day.settled.0 + state.day.reserved.0;
                assert!(gone <= LIMIT, "{gone} are gone of {LIMIT}");
                highest = highest.max(gone);
                n_samples += 1;
            }
            spent.extend(processes.spent());
            tokio::task::yield_now().await;
        }
        let state = ledger.state().await.unwrap().day;
        println!("{n_samples} samples, at the most {highest} of {LIMIT} gone");
        assert_eq!((state.settled.0, state.reserved.0), (spent.iter().sum(), 0));
        assert!(state.settled.0 > LIMIT / 3 && highest > LIMIT * 9 / 10, "it was never tried hard");
    });
}

/// Kills one of them while it calls: what it had put aside stays gone, and the others' sums are right.
fn kill_one(place: &str) {
    block_on(async {
        let ledger = open(place);
        eventually("the budget can be read", async || ledger.state().await.is_ok()).await;
        let mut processes = Processes::start(place, 1);
        let mut spent = Vec::new();
        let number = processes.holding.unwrap();
        processes.children[number].0.kill().unwrap();
        processes.children[number].0.wait().unwrap();
        let mut settled = MicroDollars(0);
        while spent.len() < N_PROCESSES - 1 {
            let state = ledger.state().await.unwrap().day;
            assert!(state.settled.0 + state.reserved.0 <= LIMIT && state.settled >= settled);
            settled = state.settled;
            spent.extend(processes.spent());
            tokio::task::yield_now().await;
        }
        let state = ledger.state().await.unwrap().day;
        assert!(state.settled.0 + state.reserved.0 <= LIMIT);
        assert!(state.settled.0 >= spent.iter().sum());
        assert!(state.reserved.0 > 0 && state.reserved.0 % AMOUNT == 0, "{:?}", state.reserved);
        // Whoever comes later finds all of it still gone.
        let later = open(place);
        eventually("the budget can be read", async || later.state().await.is_ok()).await;
        assert_eq!(later.state().await.unwrap().day.reserved, state.reserved);
        assert_eq!(later.state().await.unwrap().day.settled, state.settled);
    });
}

fn with_file(test: impl FnOnce(&str)) {
    let folder = tempfile::TempDir::new().unwrap();
    let path: &Path = &folder.path().join("budget");
    test(path.to_str().unwrap());
}

#[test]
fn in_a_file_they_never_spend_more_than_there_is() {
    with_file(spend_all);
}

#[test]
fn in_a_file_a_kill_loses_nothing() {
    with_file(kill_one);
}

#[cfg(feature = "remote")]
#[test]
fn on_a_server_they_never_spend_more_than_there_is() {
    spend_all(&super::server::Server::start().url());
}

#[cfg(feature = "remote")]
#[test]
fn on_a_server_a_kill_loses_nothing() {
    kill_one(&super::server::Server::start().url());
}
