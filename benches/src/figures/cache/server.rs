//! A redis-server of its own, and a tier on it.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use cache_tiers::{BreakerConfig, RemoteConfig, RemoteTier, Secret, SystemClock};
use tempfile::TempDir;

use super::answers::{AnswerCodec, Value};
use super::{PATIENCE, TTL};

/// Runs until it is dropped, and keeps nothing.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Server {
    /// Starts it on a free port and waits until it can be connected to.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let folder = tempfile::tempdir()?;
        let mut command = Command::new("redis-server");
        command.current_dir(folder.path()).args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--save", "", "--appendonly", "no"]).stdout(Stdio::null());
        let child =
            command.spawn().context("cannot start redis-server; `cargo xtask bench cache` installs it")?;
        let server = Self { child, port, _folder: folder };
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            ensure!(started.elapsed() < PATIENCE, "redis-server does not listen on port {port}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(server)
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A tier on it that is in service.
    ///
    /// It is as patient as the bare client, so that a moment without a core is a slow answer of both and a miss of
    /// neither.
    pub(super) async fn tier(&self) -> anyhow::Result<RemoteTier<Value>> {
        let patience = Duration::from_secs(2);
        let config = RemoteConfig {
            url: Secret::new(self.url()),
            ttl: TTL,
            operation_timeout: patience,
            breaker: BreakerConfig { slow_call: patience, ..RemoteConfig::default().breaker },
            ..RemoteConfig::default()
        };
        let tier = RemoteTier::new(config, Arc::new(AnswerCodec), Arc::new(SystemClock))?;
        let in_service = tokio::time::timeout(PATIENCE, tier.in_service()).await;
        in_service
            .with_context(|| format!("the tier does not come into service: {:?}", tier.last_error()))?;
        Ok(tier)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // OK to ignore: it has ended by itself then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
