//! A real server: started on a free port, paused, killed and started again, and gone with the test.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::PATIENCE;

/// A `redis-server` without persistence on a port of this machine.
pub(super) struct Server {
    port: u16,
    directory: TempDir,
    child: Option<Child>,
}

impl Server {
    pub(super) fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { port, directory: TempDir::new().unwrap(), child: None };
        server.restart();
        server
    }

    /// Starts it on its port, empty, if it does not run.
    pub(super) fn restart(&mut self) {
        // The shell ends its child when the pipe from the test is closed, which even SIGKILL of the test does.
        let script =
            r#"me=$$; exec 3<&0; (read _ <&3; kill -9 $me) >/dev/null 2>&1 & exec "$0" "$@" </dev/null 3<&-"#;
        let mut command = Command::new("sh");
        command.args(["-c", script, "redis-server", "--port", &self.port.to_string()]);
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.current_dir(self.directory.path());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(
                started.elapsed() < PATIENCE,
                "redis-server does not start: install the package redis-server"
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Runs a command as an operator would.
    pub(super) fn run(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let done = Command::new("redis-cli").args(["-p", &port]).args(arguments).output().unwrap();
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
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
