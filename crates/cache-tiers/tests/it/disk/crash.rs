//! Processes killed at any moment: the database opens, no value is wrong, and nothing acknowledged is lost.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::sync::mpsc;

use super::*;

const FOLDER: &str = "CACHE_TIERS_TEST_CRASH";
const N_CRASHES: u64 = 200;
const N_KEYS: u64 = 400;

/// A child that writes until it is killed, and says what was acknowledged. It goes on after the generations it finds.
#[tokio::test]
async fn child_that_writes() {
    let Some(path) = std::env::var_os(FOLDER) else { return };
    let tier = open(Path::new(&path));
    let mut generation = 0;
    for number in 0..N_KEYS {
        generation = look_up(&tier, number).await.unwrap().unwrap_or(0).max(generation);
    }
    println!("\nopen");
    let numbers: Vec<u64> = (0..N_KEYS).collect();
    loop {
        generation += 1;
        for group in numbers.chunks(20) {
            let puts = group.iter().map(|&number| put(&tier, number, generation));
            for done in futures_util::future::join_all(puts).await {
                done.unwrap();
            }
            let lines: String = group.iter().map(|number| format!("{number} {generation}\n")).collect();
            std::io::stdout().write_all(lines.as_bytes()).unwrap();
        }
    }
}

#[tokio::test]
async fn two_hundred_kills_lose_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut lot = u64::from(std::process::id());
    let mut acknowledged: HashMap<u64, u64> = HashMap::new();
    let (mut n_found, mut n_values, mut n_in_opening) = (0_u64, 0_u64, 0_u64);
    for crash in 0..N_CRASHES {
        lot = lot.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = Duration::from_micros((lot >> 33) % 30_000);
        let is_in_opening = crash % 8 == 7;
        n_in_opening += u64::from(is_in_opening);

        let mut child = places::child("disk::crash::child_that_writes", FOLDER, folder.path().as_os_str());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        if !is_in_opening {
            assert!(lines.any(|line| line == "open"), "the child did not open the tier at crash {crash}");
        }
        let reader = std::thread::spawn(move || lines.collect::<Vec<_>>());
        wait(moment);
        child.kill().unwrap();
        child.wait().unwrap();
        // A line may be cut short by the kill; a number that is cut short is a smaller generation, which is fine.
        for line in reader.join().unwrap() {
            let mut numbers = line.split(' ').map(str::parse::<u64>);
            if let (Some(Ok(number)), Some(Ok(generation))) = (numbers.next(), numbers.next()) {
                let last = acknowledged.entry(number).or_default();
                *last = generation.max(*last);
            }
        }

        let tier = open(folder.path());
        for number in 0..N_KEYS {
            let found = look_up(&tier, number).await.unwrap();
            let expected = acknowledged.get(&number).copied();
            assert!(
                found >= expected,
                "crash {crash}, key {number}: {found:?} where {expected:?} was acknowledged"
            );
            n_found += u64::from(found.is_some());
            n_values += 1;
        }
        let stats = tier.stats();
        assert_eq!((stats.state, stats.quarantines, stats.errors), (TierState::Ready, 0, 0), "crash {crash}");
        drop(tier);
    }
    let generations = acknowledged.values().max().copied().unwrap_or(0);
    println!(
        "{N_CRASHES} kills ({n_in_opening} at the opening), {generations} generations of {N_KEYS} keys: \
         {n_found} of {n_values} looked up were found, none was wrong, none acknowledged was lost"
    );
    assert!(generations > N_CRASHES, "the children wrote next to nothing");
}

/// Lets time pass; what is killed is to be at a random point by then.
fn wait(time: Duration) {
    let (_nobody, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(time);
}
