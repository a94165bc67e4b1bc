//! Three processes that share a server: of all who miss a key at once, in all of them, one works the value out.

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use cache_tiers::{MemoryConfig, MemoryTier, Retention, SystemClock, TieredCache};
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::server::Server;
use super::{HOUR, config, connect, key};

/// Names the server to the test that is a child.
const URL: &str = "CACHE_TIERS_TEST_CHILD_URL";
const N_PROCESSES: usize = 3;
const N_LOOK_UPS: usize = 1_000;
const LEASE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// One of the three processes, when it is one: it says what it does, and loads until it is told to finish.
#[test]
fn child() {
    let Ok(url) = std::env::var(URL) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let tier = Arc::new(connect(cache_tiers::RemoteConfig { lease_ttl: LEASE, ..config(&url) }).await);
        let clock = Arc::new(SystemClock);
        let memory = MemoryTier::<Vec<u8>>::new(MemoryConfig::default(), clock.clone());
        let builder = TieredCache::builder(clock).memory(Arc::new(memory)).remote(tier.clone());
        let cache = builder.replicas(tier.clone()).leases(tier).build();
        let told = Arc::new(Semaphore::new(0));
        let hears = told.clone();
        std::thread::spawn(move || std::io::stdin().lines().for_each(|_| hears.add_permits(1)));
        say("ready");
        told.acquire().await.unwrap().forget();
        let (cache, told, key) = (&cache, &told, key(1));
        let load = || async {
            say("loading");
            told.acquire().await.unwrap().forget();
            Ok::<_, Infallible>((b"worked out".to_vec(), Retention::everywhere(HOUR)))
        };
        let asked = join_all((0..N_LOOK_UPS).map(|_| cache.get_or_load(&key, PATIENCE, load))).await;
        let n_right = asked.iter().flatten().filter(|loaded| loaded.value == b"worked out").count();
        say(&format!("done {n_right}"));
    });
}

fn say(what: &str) {
    println!("\nchild: {what}");
}

/// The three of them, and all they say.
struct Processes {
    children: Vec<(Child, ChildStdin)>,
    said: Receiver<(usize, String)>,
}

impl Processes {
    fn start(server: &Server) -> Self {
        let (saying, said) = channel();
        let children = (0..N_PROCESSES).map(|number| spawn(number, server, saying.clone())).collect();
        let mut processes = Self { children, said };
        for _ in 0..N_PROCESSES {
            assert_eq!(processes.next().1, "ready");
        }
        for number in 0..N_PROCESSES {
            processes.tell(number);
        }
        processes
    }

    fn next(&mut self) -> (usize, String) {
        self.said.recv_timeout(PATIENCE).unwrap()
    }

    fn tell(&mut self, number: usize) {
        writeln!(self.children[number].1, "go on").unwrap();
    }

    /// Waits for those that are left to be done, and counts those that loaded meanwhile.
    fn finish(mut self, n_left: usize) -> usize {
        let (mut n_done, mut n_loads) = (0, 0);
        while n_done < n_left {
            let (number, said) = self.next();
            match said.strip_prefix("done ") {
                Some(n_right) => {
                    assert_eq!(n_right, N_LOOK_UPS.to_string(), "of process {number}");
                    n_done += 1;
                }
                None => {
                    assert_eq!(said, "loading");
                    n_loads += 1;
                    self.tell(number);
                }
            }
        }
        n_loads
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

fn spawn(number: usize, server: &Server, saying: Sender<(usize, String)>) -> (Child, ChildStdin) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "remote::processes::child", "--nocapture"]).env(URL, server.url());
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

#[test]
fn three_thousand_look_ups_in_three_processes_load_once() {
    let server = Server::start(&[]);
    let n_loads = Processes::start(&server).finish(N_PROCESSES);
    assert_eq!(n_loads, 1);
}

#[test]
fn when_the_one_who_loads_is_killed_exactly_one_other_takes_over() {
    let server = Server::start(&[]);
    let mut processes = Processes::start(&server);
    let (first, said) = processes.next();
    assert_eq!(said, "loading");
    processes.children[first].0.kill().unwrap();
    let killed = Instant::now();
    let (second, said) = processes.next();
    let took = killed.elapsed();
    assert_eq!(said, "loading");
    println!("taken over {} ms after the kill, with a lease of {} ms", took.as_millis(), LEASE.as_millis());
    // The machine may be busy; a lease that nobody renews would be waited for in vain.
    assert!(took < LEASE + Duration::from_secs(10), "it took {took:?}");
    processes.tell(second);
    assert_eq!(processes.finish(N_PROCESSES - 1), 0);
}
