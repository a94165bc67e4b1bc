//! Tests of the monitor, with a real thread and real runtimes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use hp_base::SystemClock;

use super::super::lag::Lag;
use super::*;

const SOON: Duration = Duration::from_millis(1);
const NEVER: Duration = Duration::from_secs(3600);

/// Counts its samples in the number of open files.
#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl ResourceProbe for Counting {
    fn sample(&self) -> Resources {
        let n_samples = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        Resources { n_open_files: Some(n_samples), ..Resources::unknown() }
    }
}

fn start(interval: Duration, runtime: Option<tokio::runtime::Handle>) -> ResourceMonitor {
    let probe = Arc::new(Counting::default());
    ResourceMonitor::start(probe, interval, Arc::new(SystemClock), runtime).unwrap()
}

/// A subscriber that passes samples on, and where they arrive.
fn channel() -> (impl Fn(&Resources) + Send + Sync, mpsc::Receiver<Resources>) {
    let (sender, receiver) = mpsc::channel();
    let subscriber = move |resources: &Resources| {
        let _ = sender.send(*resources);
    };
    (subscriber, receiver)
}

#[test]
fn samples_come_by_themselves_and_in_their_order() {
    let monitor = start(SOON, None);
    let (subscriber, samples) = channel();
    let _subscription = monitor.subscribe(subscriber);
    let seen: Vec<_> = samples.iter().take(20).map(|sample| sample.n_open_files).collect();
    assert!(seen.windows(2).all(|pair| pair[1] == pair[0].map(|n| n + 1)), "{seen:?}");
    assert!(monitor.latest().n_open_files >= seen[19]);
    assert!(monitor.n_samples() >= 20);
}

#[test]
fn there_is_a_sample_from_the_first_and_another_when_asked() {
    let monitor = start(NEVER, None);
    assert_eq!(monitor.latest().n_open_files, Some(1));
    let (subscriber, samples) = channel();
    let subscription = monitor.subscribe(subscriber);
    assert_eq!(monitor.sample_now().n_open_files, Some(2));
    assert_eq!(monitor.latest().n_open_files, Some(2));
    assert_eq!(samples.recv().unwrap().n_open_files, Some(2));
    drop(subscription);
    monitor.sample_now();
    assert_eq!(samples.recv(), Err(mpsc::RecvError), "it is gone");
}

#[test]
fn dropping_it_ends_the_thread_at_once() {
    let started = Instant::now();
    let probe = Arc::new(Counting::default());
    let weak = Arc::downgrade(&probe);
    drop(ResourceMonitor::start(probe, NEVER, Arc::new(SystemClock), None).unwrap());
    assert!(weak.upgrade().is_none(), "the thread has let go of it");
    assert!(started.elapsed() < NEVER / 10);
}

#[test]
fn a_subscriber_that_panics_does_not_end_the_sampling() {
    let monitor = start(SOON, None);
    let _bad = monitor.subscribe(|_| panic!("on purpose"));
    let (subscriber, samples) = channel();
    let _good = monitor.subscribe(subscriber);
    assert_eq!(samples.iter().take(3).count(), 3);
}

#[test]
fn a_subscriber_may_drop_the_monitor() {
    let monitor = Arc::new(std::sync::Mutex::new(Some(start(SOON, None))));
    let (subscriber, samples) = channel();
    let its = Arc::clone(&monitor);
    let subscription = monitor.lock().unwrap().as_ref().unwrap().subscribe(move |resources| {
        its.lock().unwrap().take();
        subscriber(resources);
    });
    assert!(samples.recv().is_ok());
    assert!(monitor.lock().unwrap().is_none());
    drop(subscription);
}

#[test]
fn the_lag_of_a_runtime_that_is_held_up_grows_and_is_measured() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let monitor = start(SOON, Some(runtime.handle().clone()));
    let (subscriber, samples) = channel();
    let _subscription = monitor.subscribe(subscriber);
    // Nobody drives the runtime.
    let held_up = samples.iter().find(|sample| sample.loop_lag > Some(Duration::from_millis(20)));
    assert!(held_up.is_some());
    // Now somebody does, on this thread.
    let monitor = runtime.block_on(async move {
        loop {
            tokio::task::yield_now().await;
            if monitor.latest().loop_lag.is_some_and(|lag| lag < Duration::from_millis(20)) {
                return monitor;
            }
        }
    });
    // A runtime that has ended has no lag, and holds up nobody.
    drop(runtime);
    assert!(samples.iter().any(|sample| sample.loop_lag.is_none()));
    drop(monitor);
}

#[test]
fn the_wait_for_a_task_ends_when_it_is_told_to() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let lag = Arc::new(Lag::new(runtime.handle().clone(), Arc::new(SystemClock)));
    let waiting = Arc::clone(&lag);
    let thread = std::thread::spawn(move || waiting.measure(NEVER));
    lag.stop();
    thread.join().unwrap();
    assert!(lag.latest() >= Some(Duration::ZERO));
}
