//! Replicas that share a Redis, a real one that the test starts.

#[cfg(feature = "llm")]
mod partition;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cache_tiers::{CacheLevel, TierState};
use classifier_core::{ClassificationSystem, ErrorKind, Request, Source};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{built_in, config, is_hit, until};

const QUESTION: &str = "Which transporter carries carnitine into muscle cells?";

/// A server of the test's own; it ends when dropped.
struct Redis {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Redis {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]).args(arguments);
        command.current_dir(folder.path()).stdout(Stdio::null());
        let process =
            command.spawn().unwrap_or_else(|error| panic!("redis-server cannot be started: {error}"));
        let redis = Self { process, port, _folder: folder };
        let deadline = Instant::now() + Duration::from_secs(30);
        while redis.reply("PING").is_none() {
            assert!(Instant::now() < deadline, "redis-server does not answer");
            std::thread::yield_now();
        }
        redis
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn reply(&self, command: &str) -> Option<String> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        connection.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).ok()?;
        let mut reply = String::new();
        connection.read_to_string(&mut reply).ok()?;
        Some(reply)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn replica(flags: &[(&str, &str)]) -> ClassificationSystem {
    let config = config(flags);
    ClassificationSystem::builder(&config).with_classifier(built_in().clone()).build().unwrap()
}

async fn ready(system: &ClassificationSystem) {
    until("Redis is connected to", async || system.cache_stats().l3_cache.state == TierState::Ready).await;
}

#[tokio::test]
async fn replicas_share_answers_and_forget_together() {
    let redis = Redis::start(&[]);
    let url = redis.url();
    let flags = [("redis_url", url.as_str()), ("redis_prefix", "mine"), ("l3_compress_above_bytes", "0")];
    let (one, other) = (replica(&flags), replica(&flags));
    ready(&one).await;
    ready(&other).await;
    assert!(!is_hit(&one, QUESTION).await);
    one.cache().drain().await;
    let metadata = other.classify(&Request::new(QUESTION)).await.unwrap().metadata;
    assert_eq!(json!([metadata.source, metadata.cache_level]), json!(["l3", "l3_distributed"]));
    let key = one.key(&Request::new(QUESTION)).unwrap();
    assert!(one.stored(CacheLevel::L3Distributed, &key).await.unwrap().unwrap().bytes > 0);

    let names = redis.reply("KEYS *").unwrap();
    let names: Vec<_> = names.lines().filter(|line| line.contains(':')).collect();
    assert!(!names.is_empty() && names.iter().all(|name| name.contains("mine")), "{names:?}");

    assert!(is_hit(&other, QUESTION).await, "it is in the memory of both");
    one.forget(&Request::new(QUESTION)).await.unwrap();
    until("the other has forgotten it", async || !is_hit(&other, QUESTION).await).await;
    one.flush().await.unwrap();
    until("the other has forgotten all", async || !is_hit(&other, QUESTION).await).await;
    one.close().await;
    other.close().await;
}

#[tokio::test]
async fn the_password_is_taken_from_where_it_is_said_to_be() {
    let user = ["--user", "ada", "on", ">lovelace", "~*", "&*", "+@all"];
    let redis = Redis::start(&[&["--requirepass", "hunter2"], &user[..]].concat());
    let url = redis.url();
    let url = ("redis_url", url.as_str());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "hunter2\n").unwrap();
    for flags in [
        &[url, ("redis_password", "hunter2")][..],
        &[url, ("redis_password_file", file.to_str().unwrap())],
        &[url, ("redis_username", "ada"), ("redis_password", "lovelace")],
    ] {
        ready(&replica(flags)).await;
    }
    let stranger = replica(&[url, ("redis_password", "wrong")]);
    assert!(!is_hit(&stranger, QUESTION).await, "it answers all the same");
    assert_ne!(stranger.cache_stats().l3_cache.state, TierState::Ready);
}

#[tokio::test]
async fn without_a_server_answers_come_from_elsewhere() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("redis://127.0.0.1:{port}");
    let system = replica(&[("redis_url", &url)]);
    for expected in [Source::Embedded, Source::L1] {
        let answer = system.classify(&Request::new(QUESTION)).await.unwrap();
        assert_eq!(answer.metadata.source, expected);
    }
    let off = replica(&[("redis_url", &url), ("l3_cache_enabled", "false")]);
    assert!(off.cache().tier(CacheLevel::L3Distributed).is_none() && off.missing_caches().is_empty());
    system.close().await;
}

#[test]
fn an_address_that_cannot_be_used_is_refused_without_its_password() {
    let config = config(&[("redis_url", "http://ada:hunter2@host")]);
    let builder = ClassificationSystem::builder(&config).with_classifier(built_in().clone());
    let error = builder.build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    let message = format!("{error} {error:?}");
    assert!(message.contains("redis://") && !message.contains("hunter2"), "{message}");
}
