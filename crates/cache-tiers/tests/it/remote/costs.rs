//! What a look-up costs beside the bare client's, and that writes made at once go out at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cache_tiers::{CacheTier, Entry, RemoteConfig};
use fred::prelude::{Builder, ClientLike, Config, KeysInterface};

use super::server::Server;
use super::{HOUR, config, connect, key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hit_costs_little_more_than_a_bare_get() {
    const N_ROUNDS: usize = 20;
    const N_GETS: u32 = 200;
    let server = Server::start(&[]);
    let tier = connect(RemoteConfig { pool_size: 1, ..config(&server.url()) }).await;
    let bare = Builder::from_config(Config::from_url(&server.url()).unwrap()).build().unwrap();
    bare.init().await.unwrap();
    tier.put(key(1), Entry { value: vec![7; 400], ttl: HOUR }).await.unwrap();
    bare.set::<(), _, _>("bare", "x".repeat(400), None, None, false).await.unwrap();

    let (mut tier_took, mut bare_took) = (Vec::new(), Vec::new());
    for _ in 0..N_ROUNDS {
        let began = Instant::now();
        for _ in 0..N_GETS {
            assert!(tier.fetch(&key(1)).await.unwrap().is_some());
        }
        tier_took.push(began.elapsed() / N_GETS);
        let began = Instant::now();
        for _ in 0..N_GETS {
            assert!(bare.get::<Option<Vec<u8>>, _>("bare").await.unwrap().is_some());
        }
        bare_took.push(began.elapsed() / N_GETS);
    }
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let (tier_took, bare_took) = (median(tier_took), median(bare_took));
    let ratio = tier_took.as_secs_f64() / bare_took.as_secs_f64();
    println!("a hit took {tier_took:?}, a bare GET {bare_took:?}: {ratio:.2} times as long");
    assert!(ratio < 4.0, "a hit takes {ratio} times as long as a bare GET");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_made_at_once_share_the_way() {
    const N_PUTS: u32 = 256;
    let server = Server::start(&[]);
    let tier = Arc::new(connect(config(&server.url())).await);
    let entry = || Entry { value: vec![7; 400], ttl: HOUR };
    let began = Instant::now();
    for number in 0..N_PUTS {
        tier.put(key(number.into()), entry()).await.unwrap();
    }
    let one_by_one = began.elapsed();
    let began = Instant::now();
    let puts = (0..N_PUTS).map(|number| tier.put(key(number.into()), entry()));
    for put in futures_util::future::join_all(puts).await {
        put.unwrap();
    }
    let at_once = began.elapsed();
    println!("{N_PUTS} puts took {one_by_one:?} one by one and {at_once:?} at once");
    assert!(at_once < one_by_one, "{at_once:?} at once, {one_by_one:?} one by one");
}
