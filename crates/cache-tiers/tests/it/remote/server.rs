//! Real servers: started on free ports, paused, killed and started again, and gone with the test.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The longest any condition is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A `redis-server` without persistence on a port of this machine.
pub(super) struct Server {
    pub(super) port: u16,
    arguments: Vec<String>,
    directory: TempDir,
    child: Option<Child>,
}

impl Server {
    pub(super) fn start(arguments: &[&str]) -> Self {
        Self::start_on(free_port(), arguments)
    }

    pub(super) fn start_on(port: u16, arguments: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut server = Self { port, arguments, directory, child: None };
        server.restart();
        server
    }

    /// Starts it on its port, empty, if it does not run.
    pub(super) fn restart(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let tls = self.arguments.iter().any(|argument| argument == "--tls-port");
        let port = if tls { "0".to_owned() } else { self.port.to_string() };
        let command = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        self.child = Some(spawn("redis-server", &command, &self.arguments, self.directory.path()));
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        until("the server accepts connections", || TcpStream::connect(address).is_ok());
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Runs a command as an operator would.
    pub(super) fn run(&self, arguments: &[&str]) -> String {
        cli(self.port, arguments)
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends a signal by its name, such as `STOP`.
    pub(super) fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A master, a replica and three Sentinels who watch them.
pub(super) struct Sentinels {
    pub(super) master: Server,
    _replica: Server,
    sentinels: Vec<(u16, Child, TempDir)>,
}

impl Sentinels {
    pub(super) fn start() -> Self {
        let master = Server::start(&["--repl-diskless-sync-delay", "0"]);
        let replica = Server::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
        until("the replica follows", || {
            replica.run(&["info", "replication"]).contains("master_link_status:up")
        });
        let sentinels: Vec<_> = (0..3).map(|_| sentinel(master.port)).collect();
        let sees_all = |port| {
            let text = cli(port, &["sentinel", "master", "main"]).replace('\n', " ");
            text.contains("num-slaves 1") && text.contains("num-other-sentinels 2")
        };
        until("the Sentinels know each other", || sentinels.iter().all(|&(port, _, _)| sees_all(port)));
        Self { master, _replica: replica, sentinels }
    }

    pub(super) fn url(&self) -> String {
        let nodes: String =
            self.sentinels[1..].iter().map(|(port, ..)| format!("&node=127.0.0.1:{port}")).collect();
        format!("redis-sentinel://127.0.0.1:{}?sentinelServiceName=main{nodes}", self.sentinels[0].0)
    }
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        for (_, child, _) in &mut self.sentinels {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn sentinel(master: u16) -> (u16, Child, TempDir) {
    let (port, directory) = (free_port(), TempDir::new().unwrap());
    let path = directory.path().join("sentinel.conf");
    let config = format!(
        "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
    );
    std::fs::write(&path, config).unwrap();
    let child = spawn("redis-server", &[path.to_str().unwrap(), "--sentinel"], &[], directory.path());
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    until("the Sentinel accepts connections", || TcpStream::connect(address).is_ok());
    (port, child, directory)
}

/// Three masters with a replica each.
pub(super) struct Cluster {
    pub(super) nodes: Vec<Server>,
}

impl Cluster {
    pub(super) fn start() -> Self {
        let settings =
            ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"];
        let nodes: Vec<_> = (0..6).map(|_| Server::start_on(free_cluster_port(), &settings)).collect();
        let addresses: Vec<_> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let mut arguments = vec!["--cluster", "create"];
        arguments.extend(addresses.iter().map(String::as_str));
        arguments.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        let made = output("redis-cli", &arguments);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        let is_whole = |node: &Server| {
            let (info, list) = (node.run(&["cluster", "info"]), node.run(&["cluster", "nodes"]));
            let replication = node.run(&["info", "replication"]);
            info.contains("cluster_state:ok")
                && list.matches("slave").count() == 3
                && (replication.contains("role:master") && replication.contains("connected_slaves:1")
                    || replication.contains("master_link_status:up"))
        };
        until("the Cluster is whole", || nodes.iter().all(is_whole));
        Self { nodes }
    }

    pub(super) fn url(&self) -> String {
        let nodes: Vec<_> =
            self.nodes[1..].iter().map(|node| format!("node=127.0.0.1:{}", node.port)).collect();
        format!("redis-cluster://127.0.0.1:{}?{}", self.nodes[0].port, nodes.join("&"))
    }
}

/// Runs `redis-cli`, and returns what it printed.
fn cli(port: u16, arguments: &[&str]) -> String {
    let port = port.to_string();
    let done = output("redis-cli", &[&["-h", "127.0.0.1", "-p", &port], arguments].concat());
    String::from_utf8_lossy(&done.stdout).into_owned()
}

fn output(program: &str, arguments: &[&str]) -> Output {
    match Command::new(program).args(arguments).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => panic!(
            "{program} cannot be run ({error}): install the package redis-server, or valkey with its redis names"
        ),
    }
}

/// Starts a program that ends with this process, however that ends.
fn spawn(program: &str, arguments: &[&str], more: &[String], directory: &Path) -> Child {
    // The shell ends its child when the pipe from the test is closed, which even SIGKILL of the test does. `exec`
    // keeps the server at the id that is signalled, so the watcher is the one in the background.
    let script =
        r#"me=$$; exec 3<&0; (read _ <&3; kill -9 $me) >/dev/null 2>&1 & exec "$0" "$@" </dev/null 3<&-"#;
    let mut command = Command::new("sh");
    command.args(["-c", script, program]).args(arguments).args(more).current_dir(directory);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let known = Command::new(program).arg("--version").stdout(Stdio::null()).status();
    if let Err(error) = known {
        panic!(
            "{program} cannot be run ({error}): install the package redis-server, or valkey with its redis names"
        );
    }
    command.spawn().unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A node of a Cluster also listens 10,000 ports higher.
fn free_cluster_port() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    // Below the range that ports are handed out from, and counted, so that no two nodes meet.
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    let first = 12_000 + (std::process::id() % 800) as u16 * 10;
    loop {
        let port = first + NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
}

/// Waits until a condition holds.
#[track_caller]
pub(super) fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "in vain was it waited until {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Waits until a condition holds, without holding up the other tasks.
pub(super) async fn eventually(what: &str, holds: impl AsyncFn() -> bool) -> Duration {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < PATIENCE, "in vain was it waited until {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    started.elapsed()
}
