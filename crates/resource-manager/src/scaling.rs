//! Advice on how many replicas there should be.

use std::fmt;
use std::time::{Duration, Instant};

/// How [`ScalingAdvisor`] judges. Values out of bounds count as the nearest one within.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScalingConfig {
    /// Utilisation from which there are too few replicas, from 0 to 1. Default: 0.8.
    pub scale_up_threshold: f64,
    /// Utilisation below which there are too many, from 0 to `scale_up_threshold`. Default: 0.3.
    pub scale_down_threshold: f64,
    /// The 95th percentile of response time that is to be kept. Default: 2 s.
    pub target_response_time: Duration,
    /// Never fewer, at least 1. Default: 1.
    pub min_replicas: u32,
    /// Never more, not below `min_replicas`. Default: 10.
    pub max_replicas: u32,
    /// How long a need for more must last before it is advised. Default: 30 s.
    pub hold_up: Duration,
    /// How long a need for fewer must last before it is advised. Default: 300 s.
    pub hold_down: Duration,
}

impl Default for ScalingConfig {
    fn default() -> Self {
        Self {
            scale_up_threshold: 0.8,
            scale_down_threshold: 0.3,
            target_response_time: Duration::from_secs(2),
            min_replicas: 1,
            max_replicas: 10,
            hold_up: Duration::from_secs(30),
            hold_down: Duration::from_secs(300),
        }
    }
}

/// How things stand at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// When.
    pub now: Instant,
    /// Replicas that serve.
    pub n_replicas: u32,
    /// The share of what the replicas can do at once that is in use, from 0 to 1.
    pub utilisation: f64,
    /// Requests that wait for admission, on all replicas.
    pub n_waiting: usize,
    /// Requests that come, on all replicas, a second.
    pub arrival_rate: f64,
    /// How long one request is worked on, on average.
    pub service_time: Duration,
    /// How many requests a replica works on at once.
    pub concurrency_per_replica: f64,
    /// The 95th percentile of response time, if there is one.
    pub p95_response_time: Option<Duration>,
}

/// What to do about the replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScalingAction {
    /// There should be more.
    ScaleUp,
    /// There should be fewer.
    ScaleDown,
    /// There are as many as there should be.
    Steady,
}

/// Why something is advised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ScalingReason {
    /// Nothing was observed yet.
    NothingSeen,
    /// Nothing has been needed for long enough.
    Enough,
    /// Utilisation has been too high.
    Busy,
    /// Requests have waited, and responses have taken too long.
    Late,
    /// Utilisation has been low, and fewer would do.
    Idle,
    /// There are fewer replicas than there may be.
    BelowMinimum,
    /// There are more replicas than there may be.
    AboveMaximum,
    /// More would be needed than there may be.
    AtMaximum,
}

impl fmt::Display for ScalingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingSeen => "nothing was observed yet",
            Self::Enough => "the replicas suffice, and not by far",
            Self::Busy => "utilisation has been above the threshold for long enough",
            Self::Late => "requests wait and the response time has been above its target for long enough",
            Self::Idle => {
                "utilisation has been below the threshold for long enough, and fewer replicas would do"
            }
            Self::BelowMinimum => "there are fewer replicas than the minimum",
            Self::AboveMaximum => "there are more replicas than the maximum",
            Self::AtMaximum => "more replicas are needed than the maximum allows; raise it or shed load",
        })
    }
}

/// What is advised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// What to do.
    pub action: ScalingAction,
    /// How many replicas there should be; as many as there are if nothing is to be done, 0 before anything was observed.
    pub n_replicas: u32,
    /// Why.
    pub reason: ScalingReason,
    /// Since when this action has been advised for this reason; nothing before anything was observed.
    pub since: Option<Instant>,
}

/// Advises how many replicas there should be.
///
/// By Little's law as many requests are worked on at once as come in the time that one takes, so that
/// `arrival rate × service time / (concurrency of a replica × utilisation aimed at)`, rounded up, is how many replicas it
/// takes. A need must last before it is advised: at once would follow every burst.
///
/// ```
/// use std::time::{Duration, Instant};
/// use resource_manager::{Observation, ScalingAction, ScalingAdvisor, ScalingConfig};
///
/// let start = Instant::now();
/// let mut advisor = ScalingAdvisor::new(ScalingConfig::default());
/// for second in 0..=30 {
///     advisor.observe(Observation {
///         now: start + Duration::from_secs(second),
///         n_replicas: 2,
///         utilisation: 0.95,
///         n_waiting: 12,
///         arrival_rate: 60.0,
///         service_time: Duration::from_millis(300),
///         concurrency_per_replica: 8.0,
///         p95_response_time: None,
///     });
/// }
/// let advice = advisor.advice();
/// // 60 × 0.3 = 18 at once; 8 × 0.55 = 4.4 of them on each replica.
/// assert_eq!((advice.action, advice.n_replicas), (ScalingAction::ScaleUp, 5));
/// ```
#[derive(Debug)]
pub struct ScalingAdvisor {
    config: ScalingConfig,
    need: Option<Need>,
    advice: Advice,
}

/// A need that lasts.
#[derive(Debug, Clone, Copy)]
struct Need {
    is_for_more: bool,
    /// As many replicas as there are: with others, what was seen before says little.
    n_now: u32,
    since: Instant,
    /// The fewest replicas that would have done all the time, for more, and the most that were needed, for fewer.
    n_replicas: u32,
}

impl ScalingAdvisor {
    /// An advisor that has seen nothing.
    #[must_use]
    pub fn new(config: ScalingConfig) -> Self {
        let share = |value: f64, usual: f64| if value.is_nan() { usual } else { value.clamp(0.01, 1.0) };
        let scale_up_threshold = share(config.scale_up_threshold, 0.8);
        let min_replicas = config.min_replicas.max(1);
        let config = ScalingConfig {
            scale_up_threshold,
            scale_down_threshold: share(config.scale_down_threshold, 0.3).min(scale_up_threshold),
            min_replicas,
            max_replicas: config.max_replicas.max(min_replicas),
            ..config
        };
        let advice = Advice {
            action: ScalingAction::Steady,
            n_replicas: 0,
            reason: ScalingReason::NothingSeen,
            since: None,
        };
        Self { config, need: None, advice }
    }

    /// Takes in how things stand. Observations come in the order of their time, every few seconds.
    pub fn observe(&mut self, observation: Observation) {
        let (action, n_replicas, reason) = self.judge(&observation);
        let is_same =
            self.advice.since.is_some() && (action, reason) == (self.advice.action, self.advice.reason);
        let since = if is_same { self.advice.since } else { Some(observation.now) };
        self.advice = Advice { action, n_replicas, reason, since };
    }

    /// What is advised as of the latest observation.
    #[must_use]
    pub fn advice(&self) -> Advice {
        self.advice
    }

    fn judge(&mut self, seen: &Observation) -> (ScalingAction, u32, ScalingReason) {
        let config = self.config;
        let n = seen.n_replicas;
        if n < config.min_replicas || n > config.max_replicas {
            self.need = None;
            return if n < config.min_replicas {
                (ScalingAction::ScaleUp, config.min_replicas, ScalingReason::BelowMinimum)
            } else {
                (ScalingAction::ScaleDown, config.max_replicas, ScalingReason::AboveMaximum)
            };
        }
        let is_late = seen.n_waiting > 0
            && seen.p95_response_time.is_some_and(|time| time > config.target_response_time);
        let is_busy = seen.utilisation >= config.scale_up_threshold;
        let needed = self.needed(seen);
        // With fewer the others take over: no more is taken away than leaves them below the threshold for more.
        let is_idle = !is_late && seen.utilisation < config.scale_down_threshold && needed < n;
        let reason = if is_late { ScalingReason::Late } else { ScalingReason::Busy };
        let (is_for_more, wanted, hold) = if is_busy || is_late {
            (true, needed.max(n.saturating_add(1)), config.hold_up)
        } else if is_idle {
            (false, needed, config.hold_down)
        } else {
            self.need = None;
            return (ScalingAction::Steady, n, ScalingReason::Enough);
        };
        let need = self.need.filter(|need| (need.is_for_more, need.n_now) == (is_for_more, n)).map_or(
            Need { is_for_more, n_now: n, since: seen.now, n_replicas: wanted },
            |need| Need {
                n_replicas: if is_for_more {
                    need.n_replicas.min(wanted)
                } else {
                    need.n_replicas.max(wanted)
                },
                ..need
            },
        );
        self.need = Some(need);
        if seen.now.saturating_duration_since(need.since) < hold {
            return (ScalingAction::Steady, n, ScalingReason::Enough);
        }
        let n_replicas = need.n_replicas.clamp(config.min_replicas, config.max_replicas);
        match n_replicas.cmp(&n) {
            std::cmp::Ordering::Greater => (ScalingAction::ScaleUp, n_replicas, reason),
            std::cmp::Ordering::Less if !is_for_more => {
                (ScalingAction::ScaleDown, n_replicas, ScalingReason::Idle)
            }
            _ if is_for_more => (ScalingAction::Steady, n, ScalingReason::AtMaximum),
            _ => (ScalingAction::Steady, n, ScalingReason::Enough),
        }
    }

    /// How many replicas it takes by Little's law, at a utilisation halfway between the thresholds.
    fn needed(&self, seen: &Observation) -> u32 {
        let aim = f64::midpoint(self.config.scale_up_threshold, self.config.scale_down_threshold);
        let at_once = seen.arrival_rate * seen.service_time.as_secs_f64();
        let needed = (at_once / (seen.concurrency_per_replica * aim)).ceil();
        // OK to cast: casts saturate. What is not a number, as nothing divided by nothing, asks for no change.
        if needed.is_nan() { seen.n_replicas } else { (needed as u32).max(1) }
    }
}

#[cfg(test)]
mod tests;
