//! What one replica forgets, the others hear; what one works out, the others wait for.

use std::time::{Duration, Instant};

use cache_tiers::{CacheTier, Claim, Entry, Forget, Leases, RemoteConfig, Replicas, TierState};
use tokio::time::timeout;

use super::server::{Server, eventually};
use super::{HOUR, Tier, config, connect, key};

const LONG: Duration = Duration::from_secs(15);

async fn hear(tier: &Tier, position: &mut Option<cache_tiers::Position>) -> Vec<Forget> {
    let heard = timeout(LONG, tier.forgotten_since(position.take())).await;
    let (forgotten, present) = heard.expect("nothing was heard");
    *position = Some(present);
    forgotten
}

#[tokio::test]
async fn other_replicas_hear_what_was_forgotten() {
    let server = Server::start(&[]);
    let (a, b) = (connect(config(&server.url())).await, connect(config(&server.url())).await);
    let mut position = None;
    assert_eq!(hear(&b, &mut position).await, []);
    a.put(key(1), Entry { value: vec![1], ttl: HOUR }).await.unwrap();
    assert!(b.fetch(&key(1)).await.unwrap().is_some());

    let mut slowest = Duration::ZERO;
    for what in [Forget::Key(key(1)), Forget::All, Forget::Key(key(2))] {
        // Its own words are no news to it.
        b.forget(Forget::Key(key(9))).await.unwrap();
        a.forget(what).await.unwrap();
        let started = Instant::now();
        assert_eq!(hear(&b, &mut position).await, [what]);
        slowest = slowest.max(started.elapsed());
    }
    println!("what was forgotten on one replica was heard on another within {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");

    a.put(key(3), Entry { value: vec![1], ttl: HOUR }).await.unwrap();
    a.forget(Forget::All).await.unwrap();
    let took = eventually("the flush is seen", async || b.fetch(&key(3)).await.unwrap().is_none()).await;
    println!("a flush on one replica was seen on another within {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn a_replica_that_was_cut_off_learns_in_order() {
    let server = Server::start(&[]);
    let (a, b) = (connect(config(&server.url())).await, connect(config(&server.url())).await);
    let mut position = None;
    hear(&b, &mut position).await;
    drop(b);
    a.forget(Forget::Key(key(1))).await.unwrap();
    a.forget(Forget::All).await.unwrap();
    a.forget(Forget::Key(key(2))).await.unwrap();
    server.run(&["client", "kill", "type", "pubsub"]);
    server.run(&["client", "kill", "type", "normal"]);

    let b = connect(config(&server.url())).await;
    let all = [Forget::Key(key(1)), Forget::All, Forget::Key(key(2))];
    assert_eq!(hear(&b, &mut position).await, all);

    // The doorbell alone is cut, and rung while nobody hears it.
    server.run(&["client", "kill", "type", "pubsub"]);
    a_forgets(&a, Forget::Key(key(3))).await;
    assert_eq!(hear(&b, &mut position).await, [Forget::Key(key(3))]);
}

/// Forgets as soon as the tier is in service again.
async fn a_forgets(tier: &Tier, what: Forget) {
    tier.in_service().await;
    tier.forget(what).await.unwrap();
}

#[tokio::test]
async fn a_history_that_does_not_reach_back_means_all() {
    let mut server = Server::start(&[]);
    let tier = connect(config(&server.url())).await;
    let mut position = None;
    hear(&tier, &mut position).await;
    let old = position.clone();
    let other = connect(config(&server.url())).await;
    other.forget(Forget::Key(key(1))).await.unwrap();
    server.run(&["xtrim", "{hp}:forgotten", "MAXLEN", "1"]);
    assert_eq!(hear(&tier, &mut position).await, [Forget::All]);
    other.forget(Forget::Key(key(2))).await.unwrap();
    assert_eq!(hear(&tier, &mut position).await, [Forget::Key(key(2))]);

    server.kill();
    eventually("the loss is seen", async || tier.stats().state == TierState::Unavailable).await;
    server.restart();
    assert_eq!(hear(&tier, &mut position).await, [Forget::All]);
    let mut strange = Some(cache_tiers::Position("$".to_owned()));
    assert_eq!(hear(&tier, &mut strange).await, [Forget::All]);
    assert_ne!(position, old);
}

#[tokio::test]
async fn what_was_to_be_forgotten_during_an_outage_is_not_served_and_made_up_for() {
    let server = Server::start(&[]);
    let (a, b) = (connect(config(&server.url())).await, connect(config(&server.url())).await);
    let mut position = None;
    hear(&b, &mut position).await;
    a.put(key(1), Entry { value: vec![1], ttl: HOUR }).await.unwrap();
    a.put(key(2), Entry { value: vec![2], ttl: HOUR }).await.unwrap();

    // Both tiers lose their connections, and get new ones that are not answered.
    server.signal("STOP");
    let refused = a.forget(Forget::Key(key(1))).await;
    assert!(refused.is_err());
    assert_eq!(a.probe(&key(1)), cache_tiers::Probe::Miss);
    server.signal("CONT");
    eventually("the debt is paid", async || b.fetch(&key(1)).await.is_ok_and(|found| found.is_none())).await;
    assert_eq!(hear(&b, &mut position).await[..1], [Forget::Key(key(1))]);
    eventually("the other entry is served", async || {
        a.fetch(&key(2)).await.is_ok_and(|found| found.is_some())
    })
    .await;
    assert_eq!(a.fetch(&key(1)).await.unwrap(), None);
}

#[tokio::test]
async fn one_of_two_gets_the_lease_and_the_other_waits_for_it() {
    let server = Server::start(&[]);
    let leases = RemoteConfig { lease_ttl: Duration::from_millis(600), ..config(&server.url()) };
    let (a, b) = (connect(leases.clone()).await, connect(leases).await);
    let Claim::Mine(lease) = a.claim(&key(1)).await.unwrap() else { panic!("nobody has it") };
    let Claim::Mine(_other) = b.claim(&key(2)).await.unwrap() else { panic!("nobody has that one") };
    let Claim::Theirs(mut released) = b.claim(&key(1)).await.unwrap() else { panic!("two have it") };
    assert_eq!(b.n_awaited_leases(), 1);

    // It is renewed beyond its time.
    assert!(timeout(Duration::from_millis(1500), &mut released).await.is_err(), "it was not renewed");
    let started = Instant::now();
    drop(lease);
    timeout(LONG, released).await.expect("the release was not heard");
    println!("a lease that was let go was heard of within {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_millis(500), "it was waited for until it expired");
    assert_eq!(b.n_awaited_leases(), 0);
    assert!(matches!(b.claim(&key(1)).await.unwrap(), Claim::Mine(_)));

    let Claim::Theirs(given_up) = a.claim(&key(2)).await.unwrap() else { panic!("two have it") };
    drop(given_up);
    assert_eq!(a.n_awaited_leases(), 0);
}

#[test]
fn a_lease_dies_with_its_holder() {
    let server = Server::start(&[]);
    let lease_ttl = Duration::from_millis(1000);
    let leases = RemoteConfig { lease_ttl, ..config(&server.url()) };
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (doomed, lasting) = (runtime(), runtime());
    let holder = doomed.block_on(connect(leases.clone()));
    let lease = doomed.block_on(holder.claim(&key(1))).unwrap();
    assert!(matches!(lease, Claim::Mine(_)));
    lasting.block_on(async {
        let tier = connect(leases).await;
        let Claim::Theirs(ended) = tier.claim(&key(1)).await.unwrap() else { panic!("two have it") };
        doomed.shutdown_background();
        let started = Instant::now();
        timeout(LONG, ended).await.expect("the dead holder kept it");
        println!("a lease of {lease_ttl:?} was free {:?} after its holder had died", started.elapsed());
        assert!(started.elapsed() < lease_ttl + Duration::from_secs(1));
        assert!(matches!(tier.claim(&key(1)).await.unwrap(), Claim::Mine(_)));
    });
}

#[tokio::test]
async fn nobody_waits_for_a_lease_on_a_server_that_is_lost() {
    let mut server = Server::start(&[]);
    let leases = RemoteConfig { lease_ttl: Duration::from_secs(60), ..config(&server.url()) };
    let (a, b) = (connect(leases.clone()).await, connect(leases).await);
    let Claim::Mine(_lease) = a.claim(&key(1)).await.unwrap() else { panic!("nobody has it") };
    let Claim::Theirs(ended) = b.claim(&key(1)).await.unwrap() else { panic!("two have it") };
    server.kill();
    timeout(LONG, ended).await.expect("it was waited for");
    eventually("claims fail", async || b.claim(&key(1)).await.is_err()).await;
}
