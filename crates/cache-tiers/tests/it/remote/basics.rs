//! Every shape of server keeps the contract; what cannot be read is a miss; what is wrong is said.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cache_tiers::{
    BreakerConfig, CacheError, CacheErrorKind, CacheTier, Entry, Forget, MessagePack, Probe, RemoteConfig,
    RemoteTier, Secret, SystemClock, TierState, contract,
};

use super::server::{Cluster, Sentinels, Server, eventually};
use super::{HOUR, config, connect, key, start};

/// Tiers with prefixes of their own, so that each is new on a server that is not.
fn new_tiers(url: &str) -> impl AsyncFn(Arc<cache_tiers::ManualClock>) -> contract::Tier {
    let n_made = AtomicUsize::new(0);
    async move |clock| {
        let prefix = format!("hp{}", n_made.fetch_add(1, Ordering::Relaxed));
        let config = RemoteConfig { prefix, ..config(url) };
        let tier = RemoteTier::new(config, Arc::new(MessagePack::version(1)), clock).unwrap();
        tier.in_service().await;
        Arc::new(tier) as contract::Tier
    }
}

/// Both clocks tell the time: the record's and the server's.
async fn pass(clock: &cache_tiers::ManualClock, span: Duration) {
    clock.advance(span);
    tokio::time::sleep(span).await;
}

#[tokio::test]
async fn a_server_alone_keeps_the_contract() {
    let server = Server::start(&[]);
    contract::check_tier_in_time(new_tiers(&server.url()), pass).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_keeps_the_contract() {
    let cluster = Cluster::start();
    contract::check_tier_in_time(new_tiers(&cluster.url()), pass).await;
}

async fn check_basics(config: RemoteConfig) {
    let tier = connect(config).await;
    for number in 0..50 {
        tier.put(key(number), Entry { value: vec![7; number as usize * 100], ttl: HOUR }).await.unwrap();
    }
    for number in 0..50 {
        assert_eq!(tier.probe(&key(number)), Probe::Pending);
        let entry = tier.fetch(&key(number)).await.unwrap().unwrap();
        assert_eq!(entry.value, vec![7; number as usize * 100]);
        assert!(entry.ttl <= HOUR && entry.ttl > HOUR / 2);
    }
    tier.forget(Forget::Key(key(1))).await.unwrap();
    assert_eq!(tier.fetch(&key(1)).await.unwrap(), None);
    assert!(tier.fetch(&key(2)).await.unwrap().is_some());
    tier.forget(Forget::All).await.unwrap();
    assert_eq!(tier.fetch(&key(2)).await.unwrap(), None);
    assert_eq!(tier.stats().state, TierState::Ready);
    assert!(tier.server_info().await.unwrap().version.contains(' '));
}

#[tokio::test]
async fn sentinels_lead_to_the_master() {
    let sentinels = Sentinels::start();
    check_basics(config(&sentinels.url())).await;
}

/// An authority and a server's certificate under it, made by `openssl`.
fn certificates(directory: &Path) {
    let openssl = |arguments: &str| {
        let made = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output();
        let made = made.expect("openssl cannot be run: install the package openssl");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    fs::write(directory.join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost").unwrap();
    let curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {curve} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority"));
    openssl(&format!("req {curve} -keyout server.key -out server.csr -subj /CN=localhost"));
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names",
    );
}

/// A server that speaks TLS alone, with a user who may do no more than the documentation says.
fn guarded(directory: &Path) -> Server {
    certificates(directory);
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let rights = "on >hunter2 ~hp:* ~{hp}:* &{hp}:* +get +set +del +pttl +pexpire +eval +time +xadd +xrange \
                  +xrevrange +publish +subscribe +info +ping +hello +auth +client";
    let acl = path("users.acl");
    fs::write(&acl, format!("user default off\nuser cache {rights}\n")).unwrap();
    let tls =
        ["--tls-port", &port.to_string(), "--tls-auth-clients", "no", "--aclfile", &acl].map(str::to_owned);
    let files =
        ["--tls-cert-file", "server.pem", "--tls-key-file", "server.key", "--tls-ca-cert-file", "ca.pem"];
    let files = files.map(|name| if name.starts_with("--") { name.to_owned() } else { path(name) });
    let arguments: Vec<&str> = tls.iter().chain(&files).map(String::as_str).collect();
    Server::start_on(port, &arguments)
}

#[tokio::test]
async fn tls_and_an_acl_user_are_enough() {
    let directory = tempfile::tempdir().unwrap();
    let server = guarded(directory.path());
    let good = RemoteConfig {
        username: "cache".into(),
        password: Secret::new("hunter2"),
        ca_file: Some(directory.path().join("ca.pem")),
        ..config(&format!("rediss://127.0.0.1:{}", server.port))
    };
    check_basics(good.clone()).await;

    let wrong = start(RemoteConfig { password: Secret::new("hunter3"), ..good.clone() });
    eventually("the password is refused", async || wrong.stats().state == TierState::Unavailable).await;
    eventually("the reason is known", async || wrong.last_error().is_some_and(|e| e.contains("WRONGPASS")))
        .await;
    let said = format!("{wrong:?} {:?} {:?}", wrong.last_error(), wrong.fetch(&key(1)).await);
    assert!(!said.contains("hunter"), "{said}");

    let distrustful = start(RemoteConfig { ca_file: None, ..good });
    eventually("the certificate is refused", async || distrustful.last_error().is_some()).await;
    assert_eq!(distrustful.stats().state, TierState::Unavailable);
}

#[tokio::test]
async fn what_another_version_wrote_or_nobody_did_is_not_served() {
    let server = Server::start(&[]);
    // The breaker is to stay out of this.
    let breaker = BreakerConfig { min_calls: 10, ..RemoteConfig::default().breaker };
    let tier = connect(RemoteConfig { breaker, ..config(&server.url()) }).await;
    let ttl = Duration::from_secs(100);
    tier.put(key(1), Entry { value: vec![1; 5000], ttl }).await.unwrap();
    let stored = tier.inspect(&key(1)).await.unwrap().unwrap();
    assert!(stored.bytes < 1000 && stored.ttl <= ttl, "{stored:?}");
    assert_eq!(tier.inspect(&key(2)).await.unwrap(), None);

    let later = Arc::new(MessagePack::version(2));
    let newer: RemoteTier<Vec<u8>> =
        RemoteTier::new(config(&server.url()), later, Arc::new(SystemClock)).unwrap();
    newer.in_service().await;
    assert_eq!(newer.fetch(&key(1)).await.unwrap(), None);

    let epoch = server.run(&["get", "{hp}:epoch"]);
    let name = format!("hp:{}:{}", epoch.trim(), key(1));
    server.run(&["append", &name, "x"]);
    let kind = |error: CacheError| error.kind();
    assert_eq!(tier.fetch(&key(1)).await.map_err(kind), Err(CacheErrorKind::Corrupt));
    server.run(&["del", &name]);
    server.run(&["lpush", &name, "x"]);
    assert_eq!(tier.fetch(&key(1)).await.map_err(kind), Err(CacheErrorKind::Unavailable));
    tier.put(key(1), Entry { value: vec![2], ttl }).await.unwrap();
    assert!(tier.fetch(&key(1)).await.unwrap().is_some());
    tier.put(key(1), Entry { value: vec![3], ttl: Duration::ZERO }).await.unwrap();
    assert_eq!(tier.fetch(&key(1)).await.unwrap(), None);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_waited_for() {
    let mut server = Server::start(&[]);
    server.kill();
    let tier = start(config(&server.url()));
    assert_eq!(tier.stats().state, TierState::Starting);
    assert_eq!(tier.probe(&key(1)), Probe::Miss);
    assert!(tier.put(key(1), Entry { value: vec![1], ttl: HOUR }).await.is_err());
    server.restart();
    eventually("it is in service", async || tier.stats().state == TierState::Ready).await;
    tier.put(key(1), Entry { value: vec![1], ttl: HOUR }).await.unwrap();
    let stats = tier.stats();
    assert_eq!((stats.hits, stats.misses, stats.bypassed), (0, 1, 2));
}

#[tokio::test]
async fn a_flush_outlives_a_server_that_lost_its_epoch() {
    let server = Server::start(&[]);
    let tier = connect(config(&server.url())).await;
    tier.put(key(1), Entry { value: vec![1], ttl: HOUR }).await.unwrap();
    tier.forget(Forget::All).await.unwrap();
    server.run(&["del", "{hp}:epoch"]);
    let other = connect(config(&server.url())).await;
    assert_eq!(other.fetch(&key(1)).await.unwrap(), None);
    other.forget(Forget::All).await.unwrap();
    assert_eq!(other.fetch(&key(1)).await.unwrap(), None);
}

#[tokio::test]
async fn a_tier_that_is_dropped_leaves_no_connection() {
    let server = Server::start(&[]);
    let tier = connect(config(&server.url())).await;
    let n_clients = || server.run(&["client", "list"]).lines().count();
    eventually("all connections are there", async || n_clients() == 4).await;
    drop(tier);
    eventually("they are gone", async || n_clients() == 1).await;
}

#[test]
fn outside_of_a_runtime_it_is_refused() {
    let made: Result<RemoteTier<u8>, _> = RemoteTier::new(
        config("redis://localhost"),
        Arc::new(MessagePack::version(1)),
        Arc::new(SystemClock),
    );
    assert_eq!(made.unwrap_err().kind(), CacheErrorKind::InvalidConfig);
}
