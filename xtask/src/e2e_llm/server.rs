//! A llama.cpp server on a port of its own, for as long as the checks run.

use std::fmt;
use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::http::{Host, wait_for};
use super::install::Tools;
use crate::process;

/// What the model is called in requests.
pub(super) const MODEL: &str = "smollm2";
/// How long loading may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// A server that ends when this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Option<Child>,
    port: u16,
    log: PathBuf,
    began: Instant,
    loaded_in: Duration,
}

impl Server {
    /// Starts it and waits until the model is loaded.
    pub(super) fn start(tools: &Tools) -> anyhow::Result<Self> {
        // Nobody else is likely to take it in between; if someone does, the server says so.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = tools.folder.join("server.log");
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(&tools.server);
        command.arg("--model").arg(&tools.model).args(arguments(port));
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        eprintln!("+ {}", process::spell(&command));
        let began = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot start {}", tools.server.display()))?;
        let mut server = Self { child: Some(child), port, log, began, loaded_in: Duration::ZERO };
        server.wait()?;
        Ok(server)
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let host = Host::of(&self.url())?;
        let (child, log) = (&mut self.child, self.log.display());
        let is_up = wait_for(PATIENCE, || {
            if let Some(status) = child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("the server has ended ({status}); its log is {log}");
            }
            Ok(host.get("/health").is_ok_and(|reply| reply.status == 200).then_some(()))
        })?;
        if is_up.is_none() {
            bail!("the server has not loaded its model in {} s; its log is {log}", PATIENCE.as_secs());
        }
        self.loaded_in = self.began.elapsed();
        Ok(())
    }

    /// The address to set as `llm_base_url`.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// Leaves it running, and says which process it is.
    pub(super) fn keep(mut self) -> u32 {
        self.child.take().map_or(0, |child| child.id())
    }
}

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (url, seconds, log) = (self.url(), self.loaded_in.as_secs_f64(), self.log.display());
        write!(formatter, "{MODEL} is served at {url} after {seconds:.1} s; the log is {log}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // OK to ignore: it may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Two slots of 2048 tokens, as many as the longest prompt and its reply.
fn arguments(port: u16) -> Vec<String> {
    let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
    // Its threads wait for one another without sleeping: on cores that others use as well, more of them are slower.
    let n_threads = (n_cores / 2).max(1).to_string();
    let port = port.to_string();
    let words = [
        ["--alias", MODEL],
        ["--host", "127.0.0.1"],
        ["--port", &port],
        ["--parallel", "2"],
        ["--ctx-size", "4096"],
        // In between of these it notices who has gone.
        ["--batch-size", "64"],
        ["--ubatch-size", "64"],
        ["--threads", &n_threads],
        ["--poll", "0"],
    ];
    let flags = ["--slots", "--metrics", "--no-ui", "--jinja"];
    words.iter().flatten().chain(&flags).map(|&word| word.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tools whose server is a shell script.
    fn tools(name: &str, script: &str) -> Tools {
        let folder = std::env::temp_dir().join(format!("xtask-e2e-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let model = folder.join("model");
        std::fs::write(&model, script).unwrap();
        Tools { server: "sh".into(), model, folder }
    }

    #[test]
    fn a_server_that_ends_at_once_is_not_waited_for() {
        // `sh --model …` is a usage error.
        let tools = tools("ends", "");
        let error = Server::start(&tools).unwrap_err().to_string();
        assert!(error.starts_with("the server has ended") && error.contains("server.log"), "{error}");
        std::fs::remove_dir_all(&tools.folder).unwrap();
    }

    #[test]
    fn the_server_ends_with_its_owner_unless_it_is_kept() {
        let server = || {
            let child = Command::new("sleep").arg("600").spawn().unwrap();
            let id = child.id().to_string();
            let (log, began) = (PathBuf::new(), Instant::now());
            (Server { child: Some(child), port: 1, log, began, loaded_in: Duration::ZERO }, id)
        };
        let is_alive = |id: &str| process::works(Command::new("kill").args(["-0", id]));
        let (dropped, id) = server();
        drop(dropped);
        assert!(!is_alive(&id));
        let (kept, id) = server();
        assert_eq!(kept.keep().to_string(), id);
        assert!(is_alive(&id));
        assert!(process::works(Command::new("kill").arg(&id)));
    }
}
