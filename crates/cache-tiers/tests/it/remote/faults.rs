//! Requests go on, whatever happens to the server, and pay at most the timeout until the breaker opens.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cache_tiers::{CacheTier, Entry, Probe, RemoteConfig, Secret, TierState};
use tokio::task::JoinSet;

use super::proxy::{Answers, Proxy};
use super::server::{Cluster, Sentinels, Server, eventually};
use super::{HOUR, Tier, connect, key};

const N_KEYS: u64 = 64;
const N_TASKS: u64 = 4;
/// How long a fault lasts that we end ourselves.
const A_WHILE: Duration = Duration::from_millis(1500);

/// One look-up under load.
#[derive(Clone, Copy)]
struct Sample {
    began: Instant,
    took: Duration,
    /// Whether it went to the server.
    asked: bool,
    is_hit: bool,
    is_wrong: bool,
}

/// Tasks that look things up as requests do, and one that writes behind them.
struct Load {
    is_over: Arc<AtomicBool>,
    tasks: JoinSet<Vec<Sample>>,
    n_failed_puts: Arc<AtomicU64>,
}

fn value(number: u64) -> Vec<u8> {
    vec![number as u8; 400]
}

impl Load {
    async fn start(tier: &Arc<Tier>) -> Self {
        for number in 0..N_KEYS {
            let put = async || tier.put(key(number), Entry { value: value(number), ttl: HOUR }).await.is_ok();
            eventually("it is written", put).await;
        }
        let (is_over, n_failed_puts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for task in 0..N_TASKS {
            let (tier, is_over) = (Arc::clone(tier), Arc::clone(&is_over));
            tasks.spawn(async move {
                let mut samples = Vec::new();
                let mut number = task;
                while !is_over.load(Ordering::Relaxed) {
                    number = (number + 7) % N_KEYS;
                    samples.push(look_up(&tier, number).await);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                samples
            });
        }
        let (writer, writer_is_over, n_failed) =
            (Arc::clone(tier), Arc::clone(&is_over), Arc::clone(&n_failed_puts));
        tasks.spawn(async move {
            let mut number = 0;
            while !writer_is_over.load(Ordering::Relaxed) {
                number = (number + 1) % N_KEYS;
                let put = writer.put(key(number), Entry { value: value(number), ttl: HOUR }).await;
                n_failed.fetch_add(u64::from(put.is_err()), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Vec::new()
        });
        Self { is_over, tasks, n_failed_puts }
    }

    async fn end(mut self) -> Vec<Sample> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut samples = Vec::new();
        while let Some(task) = self.tasks.join_next().await {
            samples.extend(task.expect("a request panicked"));
        }
        samples.sort_by_key(|sample| sample.began);
        samples
    }
}

/// A look-up as a request makes it: errors are misses.
async fn look_up(tier: &Tier, number: u64) -> Sample {
    let began = Instant::now();
    let asked = matches!(tier.probe(&key(number)), Probe::Pending);
    let found = if asked { tier.fetch(&key(number)).await.ok().flatten() } else { None };
    let took = began.elapsed();
    let is_wrong = found.as_ref().is_some_and(|entry| entry.value != value(number));
    Sample { began, took, asked, is_hit: found.is_some(), is_wrong }
}

/// A line of the table.
#[derive(Debug)]
struct Row {
    fault: &'static str,
    n_requests: usize,
    /// Requests that got a wrong value or took longer than half a second.
    n_failed: usize,
    n_hits: usize,
    n_failed_puts: u64,
    has_opened: bool,
    before_max: Duration,
    after_p99: Duration,
    back_after: Duration,
}

impl Row {
    fn new(fault: &'static str, samples: &[Sample], began: Instant, ended: Instant, back: Instant) -> Self {
        let during: Vec<_> =
            samples.iter().filter(|s| s.began + s.took >= began && s.began < ended.max(began)).collect();
        let opened = during.iter().find(|sample| !sample.asked).map(|sample| sample.began);
        let (before, after): (Vec<&Sample>, Vec<&Sample>) =
            during.iter().copied().partition(|sample| opened.is_none_or(|opened| sample.began < opened));
        let mut after: Vec<_> = after.iter().map(|sample| sample.took).collect();
        after.sort();
        Self {
            fault,
            n_requests: samples.len(),
            n_failed: samples.iter().filter(|s| s.is_wrong || s.took > Duration::from_millis(500)).count(),
            n_hits: during.iter().filter(|sample| sample.is_hit).count(),
            n_failed_puts: 0,
            has_opened: opened.is_some(),
            before_max: before.iter().map(|sample| sample.took).max().unwrap_or_default(),
            after_p99: after.get(after.len() * 99 / 100).copied().unwrap_or_default(),
            back_after: back.saturating_duration_since(ended),
        }
    }
}

async fn tier(url: &str) -> Arc<Tier> {
    Arc::new(connect(RemoteConfig { url: Secret::new(url), ..RemoteConfig::default() }).await)
}

/// Puts a server under load, breaks it, mends it, and waits until the tier is back.
async fn try_fault(
    fault: &'static str,
    url: &str,
    break_it: impl AsyncFnOnce(),
    mend_it: impl AsyncFnOnce(),
) -> Row {
    let tier = tier(url).await;
    let load = Load::start(&tier).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let n_failed_before = load.n_failed_puts.load(Ordering::Relaxed);
    let began = Instant::now();
    break_it().await;
    let ended = Instant::now();
    mend_it().await;
    let back = eventually("the tier is back", async || {
        let is_back = tier.stats().state == TierState::Ready;
        // One look-up that fails sends it away again.
        is_back && tier.fetch(&key(0)).await.is_ok()
    });
    let is_back = tokio::time::timeout(Duration::from_secs(15), back).await.is_ok();
    assert!(is_back, "after the fault \"{fault}\" it did not come back: {tier:?}, {:?}", tier.last_error());
    let back = Instant::now();
    let n_failed_puts = load.n_failed_puts.load(Ordering::Relaxed) - n_failed_before;
    Row { n_failed_puts, ..Row::new(fault, &load.end().await, began, ended, back) }
}

async fn a_while() {
    tokio::time::sleep(A_WHILE).await;
}

async fn killed() -> Row {
    let server = std::cell::RefCell::new(Server::start(&[]));
    let url = server.borrow().url();
    let break_it = async || {
        server.borrow_mut().kill();
        a_while().await;
    };
    try_fault("killed", &url, break_it, async || server.borrow_mut().restart()).await
}

async fn stopped() -> Row {
    let server = Server::start(&[]);
    let break_it = async || {
        server.signal("STOP");
        a_while().await;
    };
    try_fault("SIGSTOP", &server.url(), break_it, async || server.signal("CONT")).await
}

async fn asleep() -> Row {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let port = server.port;
    let break_it = async || {
        let sleeping = tokio::task::spawn_blocking(move || speak(port, &["DEBUG SLEEP 1.5"], Duration::ZERO));
        sleeping.await.unwrap();
    };
    try_fault("DEBUG SLEEP", &server.url(), break_it, async || ()).await
}

async fn spoilt(fault: &'static str, answers: Answers) -> Row {
    let server = Server::start(&[]);
    let proxy = Proxy::start(server.port);
    let break_it = async || {
        proxy.set(answers);
        a_while().await;
    };
    try_fault(fault, &proxy.url(), break_it, async || proxy.set(Answers::Whole)).await
}

async fn reset() -> Row {
    let server = Server::start(&[]);
    let port = server.port;
    let break_it = async || {
        let kills = ["CLIENT KILL TYPE normal SKIPME yes"; 100];
        let killing = tokio::task::spawn_blocking(move || speak(port, &kills, Duration::from_millis(15)));
        killing.await.unwrap();
    };
    try_fault("connections reset", &server.url(), break_it, async || ()).await
}

async fn full() -> Row {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]);
    let break_it = async || {
        server.run(&["config", "set", "maxmemory", "1"]);
        a_while().await;
    };
    let row = try_fault("full", &server.url(), break_it, async || {
        server.run(&["config", "set", "maxmemory", "0"]);
    })
    .await;
    assert!(row.n_failed_puts > 0, "the server was not full: {row:?}");
    assert!(!row.has_opened, "reads were given up because of writes: {row:?}");
    row
}

/// Says commands to a server, one after another.
fn speak(port: u16, commands: &[&str], pause: Duration) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    for command in commands {
        stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        assert!(stream.read(&mut [0; 100]).unwrap() > 0, "the server hung up on {command}");
        std::thread::park_timeout(pause);
    }
}

async fn master_of_cluster_lost() -> Row {
    let cluster = std::cell::RefCell::new(Cluster::start());
    let url = cluster.borrow().url();
    // The one that keeps what all replicas share, so that nothing goes on without it.
    let owner = {
        let cluster = cluster.borrow();
        let moved = cluster.nodes.iter().map(|node| node.run(&["set", "{hp}:probe", ""]));
        moved.into_iter().position(|answer| answer.starts_with("OK")).unwrap()
    };
    let lost = async || cluster.borrow_mut().nodes[owner].kill();
    failed_over("Cluster: master lost", &url, lost).await
}

async fn master_of_sentinels_lost() -> Row {
    let sentinels = std::cell::RefCell::new(Sentinels::start());
    let url = sentinels.borrow().url();
    failed_over("Sentinel: fails over", &url, async || sentinels.borrow_mut().master.kill()).await
}

/// A fault that others mend.
async fn failed_over(fault: &'static str, url: &str, lose: impl AsyncFnOnce()) -> Row {
    let tier = tier(url).await;
    let load = Load::start(&tier).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    lose().await;
    eventually("the loss is seen", async || tier.stats().state == TierState::Unavailable).await;
    eventually("the tier is back", async || tier.stats().state == TierState::Ready).await;
    let back = Instant::now();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let n_failed_puts = load.n_failed_puts.load(Ordering::Relaxed);
    let samples = load.end().await;
    assert!(samples.iter().any(|sample| sample.began > back && sample.asked), "nothing is asked any more");
    let row = Row::new(fault, &samples, began, back, back);
    Row { n_failed_puts, back_after: back - began, ..row }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_cost_requests_the_timeout_at_most_and_then_nothing() {
    let rows = [
        killed().await,
        stopped().await,
        asleep().await,
        spoilt("answers nonsense", Answers::Nonsense).await,
        spoilt("answers mistaken", Answers::Mistaken).await,
        spoilt("hangs up at once", Answers::Reset).await,
        reset().await,
        full().await,
        master_of_cluster_lost().await,
        master_of_sentinels_lost().await,
    ];
    let mut table = String::new();
    writeln!(
        table,
        "| fault                | requests | failed | hits during | slowest until open, ms | p99 after, ms | back after, ms |\n\
         |----------------------|----------|--------|-------------|------------------------|---------------|----------------|"
    )
    .unwrap();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    for row in &rows {
        let Row { fault, n_requests, n_failed, n_hits, .. } = row;
        let (before, after, back) = (ms(row.before_max), ms(row.after_p99), ms(row.back_after));
        writeln!(
            table,
            "| {fault:<20} | {n_requests:>8} | {n_failed:>6} | {n_hits:>11} | {before:>22.1} | {after:>13.3} | {back:>14.0} |"
        )
        .unwrap();
    }
    println!("{table}");
    for row in &rows {
        assert_eq!(row.n_failed, 0, "{row:?}");
        assert!(row.n_requests > 500, "{row:?}");
        assert!(row.has_opened || row.fault == "full", "the breaker did not open: {row:?}");
        // The timeout is 20 ms; the rest is for a busy machine.
        assert!(row.before_max < Duration::from_millis(150), "{row:?}");
        assert!(row.after_p99 < Duration::from_millis(25), "{row:?}");
        assert!(row.back_after < Duration::from_secs(15), "{row:?}");
    }
}
