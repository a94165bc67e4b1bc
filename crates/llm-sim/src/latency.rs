//! How long the model takes: fixed, drawn from a distribution, or replayed.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::random::{self, Purpose};
use crate::{SimError, config};

/// How long a request waits for its first token.
///
/// Read from text as `600` or `fixed:600` (milliseconds), `lognormal:600,2500` (median and 99th percentile) or
/// `replay:FILE` (milliseconds, one a line, in order, from the top again at the end).
#[derive(Debug, Clone, PartialEq)]
pub enum Latency {
    /// Always the same.
    Fixed(Duration),
    /// Log-normal, as the times of real providers nearly are.
    Lognormal {
        /// Half of the requests are faster.
        median: Duration,
        /// One in a hundred is slower; not below the median.
        p99: Duration,
    },
    /// One after the other, from the first again after the last.
    Replay(Arc<[Duration]>),
}

/// The 99th percentile of the standard normal distribution.
const Z99: f64 = 2.326_347_874_040_841;

impl Latency {
    /// No time at all.
    pub const NONE: Self = Self::Fixed(Duration::ZERO);

    /// The time of a request, by its number from 0 on. The same seed and number give the same time.
    #[must_use]
    pub fn sample(&self, seed: u64, n: u64) -> Duration {
        match self {
            Self::Fixed(duration) => *duration,
            Self::Lognormal { median, p99 } => {
                // Box and Muller (1958); 1 - u keeps the logarithm finite.
                let u = 1.0 - random::unit(seed, n, Purpose::Latency);
                let v = random::unit(seed, n, Purpose::SecondLatency);
                let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
                let sigma = (p99.as_secs_f64() / median.as_secs_f64()).ln() / Z99;
                let seconds = median.as_secs_f64() * (sigma * normal).exp();
                Duration::try_from_secs_f64(seconds).unwrap_or(*p99)
            }
            // OK to cast: the remainder is below a length.
            Self::Replay(times) => times[(n % times.len() as u64) as usize],
        }
    }

    /// Times to replay, from a file of milliseconds, one a line; empty lines are passed over.
    ///
    /// # Errors
    /// `Io`; `InvalidConfig` if a line is no number, or there is none.
    pub fn replay(file: &Path) -> Result<Self, SimError> {
        let mut times = Vec::new();
        for (line, text) in config::lines(file)? {
            times.push(milliseconds(&text).map_err(|error| config::in_line(file, line, &error))?);
        }
        if times.is_empty() {
            return Err(SimError::invalid(format!(
                "{} has no times, write milliseconds, one a line",
                file.display()
            )));
        }
        Ok(Self::Replay(times.into()))
    }
}

impl Default for Latency {
    /// None.
    fn default() -> Self {
        Self::NONE
    }
}

impl FromStr for Latency {
    type Err = SimError;

    fn from_str(text: &str) -> Result<Self, SimError> {
        match text.split_once(':') {
            None => Ok(Self::Fixed(milliseconds(text)?)),
            Some(("fixed", time)) => Ok(Self::Fixed(milliseconds(time)?)),
            Some(("lognormal", times)) => {
                let (median, p99) = times.split_once(',').ok_or_else(|| unknown(text))?;
                let (median, p99) = (milliseconds(median)?, milliseconds(p99)?);
                if median.is_zero() || p99 < median {
                    let message = format!(
                        "the latency `{text}` is none: the median must be above 0, and the 99th percentile not below it"
                    );
                    return Err(SimError::invalid(message));
                }
                Ok(Self::Lognormal { median, p99 })
            }
            Some(("replay", file)) => Self::replay(Path::new(file)),
            Some(_) => Err(unknown(text)),
        }
    }
}

impl fmt::Display for Latency {
    /// As it is read, but for the times of a replay.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(time) => write!(f, "fixed:{}", time.as_secs_f64() * 1e3),
            Self::Lognormal { median, p99 } => {
                write!(f, "lognormal:{},{}", median.as_secs_f64() * 1e3, p99.as_secs_f64() * 1e3)
            }
            Self::Replay(times) => write!(f, "replay of {} times", times.len()),
        }
    }
}

fn unknown(text: &str) -> SimError {
    SimError::invalid(format!(
        "the latency `{text}` is not known, write fixed:MS, lognormal:MEDIAN_MS,P99_MS or replay:FILE"
    ))
}

/// A time from its milliseconds.
pub(crate) fn milliseconds(text: &str) -> Result<Duration, SimError> {
    let time = text.trim().parse().ok().and_then(|ms: f64| Duration::try_from_secs_f64(ms / 1e3).ok());
    time.ok_or_else(|| SimError::invalid(format!("`{text}` is no time, write milliseconds as 600 or 0.5")))
}
