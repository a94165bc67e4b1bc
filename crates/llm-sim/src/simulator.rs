//! A running simulator, and what can be done to it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::config::{self, Config, Limits};
use crate::server::Server;
use crate::state::State;
use crate::{Fault, Faults, Latency, LogEntry, SimError, Stats};

/// A running simulator; it stops when it is dropped, and what is under way breaks off.
pub struct Simulator {
    state: Arc<State>,
    address: SocketAddr,
    control_address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Simulator {
    /// Starts a simulator. To be called inside a tokio runtime with I/O and time, whose tasks serve it.
    ///
    /// The first in a process takes some 70 ms, in which the tokenizer is loaded.
    ///
    /// # Errors
    /// `InvalidConfig`; `Io` if a port cannot be had.
    pub async fn start(config: Config) -> Result<Self, SimError> {
        let providers = Server::bind(config.address)?;
        let control = Server::bind(config.control_address)?;
        let (address, control_address) = (providers.address(), control.address());
        let state = Arc::new(State::new(config)?);
        let mut tasks = JoinSet::new();
        tasks.spawn(providers.providers(Arc::clone(&state)));
        tasks.spawn(control.control(Arc::clone(&state)));
        state.settle().await;
        Ok(Self { state, address, control_address, _tasks: tasks })
    }

    /// Where providers are served, as `http://127.0.0.1:40123`; OpenAI's base address is this with `/v1`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it can be steered even while the port of the providers is closed.
    #[must_use]
    pub fn control_url(&self) -> String {
        format!("http://{}", self.control_address)
    }

    /// The socket address behind [`url`](Self::url).
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets what goes wrong from now on, in place of what was set. When this returns, the port is as open or closed as
    /// the faults have it.
    pub async fn set_faults(&self, faults: Faults) {
        self.state.change(|settings| settings.faults = faults);
        self.state.settle().await;
    }

    /// Sets what happens to the next requests, ahead of the probabilities: a fault, or none. Those set before come first.
    /// A [refused connection](Fault::ConnectionRefused) cannot be had in this way, and counts as none.
    pub fn next(&self, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.state.script(faults);
    }

    /// Closes the port of the providers and resets their connections, or opens it again; the other faults stay. When
    /// this returns, it is done.
    pub async fn refuse_connections(&self, refuse: bool) {
        self.state.change(|settings| settings.faults.set_refused(refuse));
        self.state.settle().await;
    }

    /// Sets how long the first token takes, and each one after it, for requests that arrive from now on.
    pub fn set_latency(&self, latency: Latency, per_token: Duration) {
        self.state.change(|settings| {
            settings.latency = latency;
            settings.per_token = per_token;
        });
    }

    /// Sets how much is served. A limit that changes begins anew.
    pub fn set_limits(&self, limits: Limits) {
        self.state.change(|settings| settings.limit(limits));
    }

    /// Sets how often the model is wrong, in [0, 1].
    ///
    /// # Errors
    /// `InvalidConfig` if it is no such number.
    pub fn set_error_rate(&self, error_rate: f64) -> Result<(), SimError> {
        config::check_error_rate(error_rate)?;
        self.state.change(|settings| settings.error_rate = error_rate);
        Ok(())
    }

    /// Every chat request since the start or the last [reset](Self::clear_log), in the order of arrival, those under
    /// way included; the oldest may be gone, by [`log_capacity`](Config::log_capacity).
    #[must_use]
    pub fn log(&self) -> Vec<LogEntry> {
        self.state.journal.entries()
    }

    /// Waits until the log is as the condition wants it, such as that a request is in it or was cancelled, and returns it.
    pub async fn log_when(&self, condition: impl FnMut(&[LogEntry]) -> bool) -> Vec<LogEntry> {
        self.state.journal.entries_when(condition).await
    }

    /// Empties the log and begins to count anew; what is under way is still counted as such. Requests are numbered on.
    pub fn clear_log(&self) {
        self.state.journal.clear();
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.state.journal.stats()
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator")
            .field("url", &self.url())
            .field("control_url", &self.control_url())
            .finish()
    }
}
