//! What a simulator is started with.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use crate::{Brain, Faults, Latency, SimError};

/// What a simulator is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where providers are served. Default: 127.0.0.1, a free port.
    pub address: SocketAddr,
    /// Where it is steered while providers are refusing connections. Default: 127.0.0.1, a free port.
    pub control_address: SocketAddr,
    /// What chance begins with; the same seed gives the same answers, times and faults, request by request. Default: 0.
    pub seed: u64,
    /// What the model knows. Default: a handful of rules.
    pub brain: Brain,
    /// How often the model is wrong, in [0, 1]; the same questions are always among them. Default: 0.
    pub error_rate: f64,
    /// How long until the first token. Default: no time.
    pub latency: Latency,
    /// How long each further token takes. Default: no time.
    pub per_token: Duration,
    /// How much is served. Default: any amount.
    pub limits: Limits,
    /// What goes wrong. Default: nothing.
    pub faults: Faults,
    /// How long `rate_limited_retry_after` asks to be left alone, in whole seconds. Default: 2 s.
    pub retry_after: Duration,
    /// The pace of `slow_drip`. Default: 400 ms a token.
    pub slow_drip: Duration,
    /// The size of `enormous_reply`. Default: 4 MiB.
    pub enormous_reply_bytes: usize,
    /// Keys that are let in. Default: none named, and everybody is.
    pub api_keys: ApiKeys,
    /// The models there are. Default: none named, and any name is served.
    pub models: Vec<String>,
    /// How many requests the log keeps; the oldest make room. Default: 100,000.
    pub log_capacity: usize,
}

impl Default for Config {
    fn default() -> Self {
        let free_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            address: free_port,
            control_address: free_port,
            seed: 0,
            brain: Brain::default(),
            error_rate: 0.0,
            latency: Latency::NONE,
            per_token: Duration::ZERO,
            limits: Limits::default(),
            faults: Faults::none(),
            retry_after: Duration::from_secs(2),
            slow_drip: Duration::from_millis(400),
            enormous_reply_bytes: 4 << 20,
            api_keys: ApiKeys::default(),
            models: Vec::new(),
            log_capacity: 100_000,
        }
    }
}

/// How much is served. What is beyond is refused with status 429.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests at a time. Default: any number.
    pub max_concurrent: Option<usize>,
    /// Whether requests beyond `max_concurrent` wait for their turn, first come, first served. Default: no, they are
    /// refused.
    pub queue: bool,
    /// Requests a minute, given back evenly. Default: any number.
    pub requests_per_minute: Option<u32>,
    /// Tokens of prompts a minute, given back evenly. Default: any number.
    pub tokens_per_minute: Option<u32>,
}

/// Keys that are let in; they are never shown.
#[derive(Clone, Default)]
pub struct ApiKeys(Vec<String>);

impl ApiKeys {
    /// Whether this key is let in; without any key named, everybody is.
    pub(crate) fn admit(&self, key: Option<&str>) -> bool {
        self.0.is_empty() || key.is_some_and(|key| self.0.iter().any(|known| known == key))
    }
}

impl<T: Into<String>> FromIterator<T> for ApiKeys {
    fn from_iter<I: IntoIterator<Item = T>>(keys: I) -> Self {
        Self(keys.into_iter().map(Into::into).collect())
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

/// The lines of a file that are not empty, with their numbers from 1 on.
pub(crate) fn lines(file: &Path) -> Result<Vec<(usize, String)>, SimError> {
    let text = read(file)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    Ok(lines.map(|(index, line)| (index + 1, line.to_owned())).collect())
}

/// The text of a file.
pub(crate) fn read(file: &Path) -> Result<String, SimError> {
    std::fs::read_to_string(file)
        .map_err(|error| SimError::io(format!("{} cannot be read: {error}", file.display()), error))
}

/// An error, with where it is.
pub(crate) fn in_line(file: &Path, line: usize, error: &dyn fmt::Display) -> SimError {
    SimError::invalid(format!("{}, line {line}: {error}", file.display()))
}

/// Whether it is a share, from 0 to 1.
pub(crate) fn check_error_rate(rate: f64) -> Result<f64, SimError> {
    if (0.0..=1.0).contains(&rate) {
        Ok(rate)
    } else {
        Err(SimError::invalid(format!("the error rate {rate} is none, write one from 0 to 1")))
    }
}
