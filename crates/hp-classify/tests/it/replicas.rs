//! The program with a Redis, a real one that the test starts.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests fail as the tests do")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

const QUESTION: &str = "Which enzymes convert kynurenine to quinolinic acid?";

/// A server of the test's own; it ends when dropped.
struct Redis {
    process: Child,
    url: String,
    _folder: TempDir,
}

impl Redis {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.current_dir(folder.path()).stdout(Stdio::null());
        let process = command.spawn().expect("redis-server is not installed");
        let redis = Self { process, url: format!("redis://127.0.0.1:{port}"), _folder: folder };
        let answers = || {
            let mut connection = TcpStream::connect(("127.0.0.1", port)).ok()?;
            connection.write_all(b"PING\r\nQUIT\r\n").ok()?;
            connection.read_to_string(&mut String::new()).ok()
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while answers().is_none() {
            assert!(Instant::now() < deadline, "redis-server does not answer");
            std::thread::yield_now();
        }
        redis
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn run(url: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hp-classify"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HP_")) {
        command.env_remove(name);
    }
    command.env("HP_L2_CACHE_ENABLED", "false").env("HP_REDIS_URL", url);
    command.args(args).stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn json(url: &str, args: &[&str]) -> Value {
    let output = run(url, &[args, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn what_is_warmed_on_redis_is_there_for_all_until_it_is_forgotten() {
    let redis = Redis::start();
    let url = redis.url.as_str();
    assert_eq!(json(url, &["warm", QUESTION, "--depth", "0"])["warmed"], 1);
    assert_eq!(json(url, &["cache", "inspect", QUESTION])["tiers"][0]["present"], true);
    let stats = json(url, &["cache", "stats"]);
    assert_eq!((&stats["l3_cache"]["enabled"], &stats["l3_cache"]["state"]), (&json!(true), &json!("ready")));
    let told = json(url, &["cache", "forget", QUESTION]);
    assert_eq!(
        (&told["tiers"]["l3_distributed"]["done"], &told["replicas_told"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(json(url, &["cache", "inspect", QUESTION])["tiers"][0]["present"], false);
    let flushed = run(url, &["cache", "flush"]);
    assert!(String::from_utf8_lossy(&flushed.stdout).contains("replicas: told through Redis"));
}

#[test]
fn a_redis_that_is_away_fails_what_is_about_it_and_nothing_else() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = &format!("redis://127.0.0.1:{port}");
    assert_eq!(json(url, &["classify", QUESTION])["metadata"]["source"], "embedded");
    for command in [&["warm", QUESTION][..], &["cache", "flush"]] {
        assert_eq!(run(url, command).status.code(), Some(3), "{command:?}");
    }
    let refused = run("redis-ring://ada:hunter2@host", &["config", "check"]);
    let message = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
}
