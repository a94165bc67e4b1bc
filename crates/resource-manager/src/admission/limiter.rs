//! The adaptive limit: how many may be under way, found from how long they take.

use std::time::{Duration, Instant};

use super::config::AdmissionConfig;
use super::permit::Outcome;

/// Samples in a window, at the least, unless they come slowly.
const LEAST_SAMPLES: usize = 50;
/// And at the most, however noisy.
const MOST_SAMPLES: usize = 200;
/// The standard error of a window's mean, as a share of it, with which it is closed.
const SMALL_ERROR: f64 = 0.04;
/// Samples with which a window that has lasted long enough is closed all the same.
const FEW_SAMPLES: usize = 10;
/// How long such a window lasts, at the least.
const LONG_WINDOW: Duration = Duration::from_secs(1);
/// The limit under which the usual latency is measured, as a share of the limit in use.
const PROBE_SHARE: f64 = 0.7;
/// A limit is lower than the one before, for judging what it did to latency, from this share of it.
const LOWER_SHARE: f64 = 0.8;
/// By how much more one takes under a lower limit than usual without anything having changed.
const PROBE_NOISE: f64 = 0.1;
/// By how many standard errors latency may be shorter than it was measured.
const DOUBT: f64 = 0.75;
/// A gradient so near 1 says that nothing queues.
const CALM: f64 = 0.97;
/// How much a probe that has found little new counts.
const PROBE_WEIGHT: f64 = 0.3;
/// Latency has not followed the limit if the one under the lower limit is no less than this share of the other one.
const SAME_LATENCY: f64 = 0.85;
/// The share of its way the limit is let down when what is behind is too busy (the usual constant of TCP Reno's kin).
const OVERLOAD_SHARE: f64 = 0.9;
/// How much of a step down is taken at once, so that one odd window does not halve the limit.
const STEP_DOWN: f64 = 0.7;
/// The limit grows by no more than this share of it at a time.
const MOST_GROWTH: f64 = 0.5;

/// A limit that follows what is behind it.
///
/// By Little's law, `limit` calls under way behind `c` servers take `limit / c` times as long as one alone. So
/// `limit × usual latency / latency` is `c` as soon as calls queue; a headroom on top finds out whether there is more.
/// The formula is that of Netflix' concurrency-limits (`Gradient2Limit`), there with a long mean as the usual latency,
/// which drifts under lasting overload. Here it is measured under a lower limit now and then, like the round-trip time
/// in BBR (Cardwell et al. 2016, "BBR: congestion-based congestion control", `ProbeRTT`).
#[derive(Debug)]
pub(crate) struct Limiter {
    config: AdmissionConfig,
    limit: f64,
    /// The usual latency, when nothing queues, in seconds.
    usual: Option<f64>,
    /// The running mean of latency, in seconds.
    latency: Option<f64>,
    window: Window,
    /// The limit and the latency of the window before.
    before: Option<(f64, f64)>,
    probe: Probe,
    /// When the usual latency was last measured.
    probed: Instant,
    /// Whether it is to be measured as soon as possible.
    is_probe_wanted: bool,
    /// Windows in a row in which nothing queued, less those that leave doubt.
    n_calm: u32,
    /// Whether it has never been too high yet: it grows as fast as it may.
    is_starting: bool,
    /// Whether more are under way than the limit allows, since it has just gone down.
    is_draining: bool,
    /// Until when a word of overload is an echo of the last one.
    deaf_until: Instant,
    /// Until when it does not grow, after an overload.
    quiet_until: Instant,
}

/// Whether the usual latency is being measured.
#[derive(Debug, Clone, Copy)]
enum Probe {
    No,
    /// The limit is low for a window; afterwards it goes back to what it was, and its latency was.
    Low {
        limit: f64,
        latency: f64,
    },
    /// The limit is back, and it is looked at whether latency is the same as it was under the low one.
    Back {
        low_latency: f64,
    },
}

/// What is measured under one limit.
#[derive(Debug)]
struct Window {
    opens: Instant,
    n_samples: usize,
    total: f64,
    total_squares: f64,
    most_in_flight: usize,
    /// Samples that ended while no more were let in.
    n_full: usize,
}

impl Window {
    fn opening(opens: Instant) -> Self {
        Self { opens, n_samples: 0, total: 0.0, total_squares: 0.0, most_in_flight: 0, n_full: 0 }
    }

    fn mean(&self) -> f64 {
        self.total / self.n_samples as f64
    }

    /// The standard error of the mean.
    fn error(&self) -> f64 {
        let (n, mean) = (self.n_samples as f64, self.mean());
        ((self.total_squares / n - mean * mean).max(0.0) / n).sqrt()
    }
}

impl Limiter {
    /// A limit at its initial value.
    pub(crate) fn new(config: AdmissionConfig, now: Instant) -> Self {
        let config = config.in_bounds();
        Self {
            limit: config.initial as f64,
            config,
            usual: None,
            latency: None,
            window: Window::opening(now),
            before: None,
            probe: Probe::No,
            probed: now,
            is_probe_wanted: false,
            n_calm: 0,
            is_starting: true,
            is_draining: false,
            deaf_until: now,
            quiet_until: now,
        }
    }

    /// How many may be under way.
    pub(crate) fn limit(&self) -> usize {
        // OK to cast: it is between the floor, at least 1, and the ceiling.
        self.limit as usize
    }

    /// How long one takes, as a running mean; nothing before one has ended well.
    pub(crate) fn latency(&self) -> Option<Duration> {
        self.latency.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    /// How long one takes when nothing queues, as far as that is known.
    pub(crate) fn usual_latency(&self) -> Option<Duration> {
        self.usual.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    /// Learns how one has ended; `n_in_flight` counts it.
    pub(crate) fn sample(&mut self, latency: Duration, n_in_flight: usize, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Done => self.done(latency.as_secs_f64(), n_in_flight, now),
            Outcome::Overloaded => self.overloaded(n_in_flight, now),
            Outcome::Unknown => {}
        }
    }

    fn done(&mut self, latency: f64, n_in_flight: usize, now: Instant) {
        let mean = *self.latency.get_or_insert_with(|| {
            // The first to end are the short ones: they tell of no mean.
            self.window = Window::opening(later(now, 2.0 * latency));
            latency
        });
        self.latency = Some(mean + 0.1 * (latency - mean));
        if self.is_fixed() {
            return;
        }
        if self.is_draining {
            if n_in_flight > self.limit() {
                return;
            }
            // Those under way still tell of the limit before, for about as long as one takes.
            self.is_draining = false;
            self.window = Window::opening(later(now, latency));
        }
        if now < self.window.opens {
            return;
        }
        self.window.n_samples += 1;
        self.window.total += latency;
        self.window.total_squares += latency * latency;
        self.window.n_full += usize::from(n_in_flight >= self.limit());
        self.window.most_in_flight = self.window.most_in_flight.max(n_in_flight);
        if self.is_full(now) {
            self.close_window(now);
        }
    }

    fn overloaded(&mut self, n_in_flight: usize, now: Instant) {
        if self.is_fixed() || now < self.deaf_until {
            return;
        }
        let latency = self.latency.unwrap_or_default();
        self.set_limit(self.limit.min(n_in_flight as f64) * OVERLOAD_SHARE);
        self.is_draining = true;
        self.deaf_until = later(now, latency.max(0.02));
        self.quiet_until = later(now, (10.0 * latency).max(1.0));
        (self.before, self.probe, self.n_calm) = (None, Probe::No, 0);
        self.is_starting = false;
    }

    fn is_full(&self, now: Instant) -> bool {
        let window = &self.window;
        let long = LONG_WINDOW.as_secs_f64().max(3.0 * window.mean());
        let is_sure = window.error() <= SMALL_ERROR * window.mean();
        window.n_samples >= MOST_SAMPLES
            || window.n_samples >= LEAST_SAMPLES.max(self.limit()) && is_sure
            || window.n_samples >= FEW_SAMPLES
                && now.saturating_duration_since(window.opens).as_secs_f64() >= long
    }

    fn close_window(&mut self, now: Instant) {
        let (limit_now, latency, error) = (self.limit, self.window.mean(), self.window.error());
        let most_in_flight = self.window.most_in_flight;
        let is_used = 2 * self.window.n_full >= self.window.n_samples;
        let usual = *self.usual.get_or_insert(latency);
        match self.probe {
            Probe::Low { limit, latency: before } => {
                self.probed = now;
                self.probe = Probe::No;
                if latency < SAME_LATENCY * usual {
                    // The one before was measured while calls queued, as this may be: go on from here.
                    self.usual = Some(latency);
                    self.begin_probe(latency, latency, now);
                    return self.open_window(limit_now, latency, most_in_flight, now);
                } else if latency <= usual + error || latency < (1.0 + PROBE_NOISE) * usual {
                    let weight = if latency + error < usual { 0.7 } else { PROBE_WEIGHT };
                    self.usual = Some(usual + weight * (latency - usual));
                } else if latency >= SAME_LATENCY * before {
                    self.probe = Probe::Back { low_latency: latency };
                }
                self.set_limit(limit);
            }
            Probe::Back { low_latency } => {
                self.probe = Probe::No;
                if low_latency >= SAME_LATENCY * latency {
                    // Neither has a lower limit made it shorter nor a higher one longer: all has become slower.
                    let weight = if low_latency > 1.3 * usual { 1.0 } else { PROBE_WEIGHT };
                    self.usual = Some(usual + weight * (low_latency - usual));
                }
                self.step(latency, error, is_used, now);
            }
            Probe::No if most_in_flight * 2 < self.limit() => {}
            Probe::No if is_used && self.is_probe_due(latency, now) => self.begin_probe(usual, latency, now),
            Probe::No => {
                if latency + 2.0 * error < usual {
                    self.usual = Some(usual + PROBE_WEIGHT * (latency - usual));
                }
                if self.before.is_some_and(|(higher, before)| {
                    limit_now <= LOWER_SHARE * higher && latency >= SAME_LATENCY * before
                }) {
                    self.probe_soon(now);
                }
                self.step(latency, error, is_used, now);
            }
        }
        self.open_window(limit_now, latency, most_in_flight, now);
    }

    fn open_window(&mut self, limit: f64, latency: f64, most_in_flight: usize, now: Instant) {
        self.before = Some((limit, latency));
        self.is_draining = self.limit() < most_in_flight;
        self.window = Window::opening(later(now, latency));
    }

    fn probe_soon(&mut self, now: Instant) {
        self.is_probe_wanted = true;
        self.probed = now;
    }

    fn is_probe_due(&self, latency: f64, now: Instant) -> bool {
        if self.is_probe_wanted {
            return true;
        }
        let every = self.config.probe_every.as_secs_f64().max(40.0 * latency);
        let since = now.saturating_duration_since(self.probed);
        since.as_secs_f64() >= every
    }

    /// Lowers the limit for one window.
    fn begin_probe(&mut self, usual: f64, latency: f64, now: Instant) {
        self.is_probe_wanted = false;
        let limit = self.limit;
        self.set_limit((limit * PROBE_SHARE).ceil());
        if self.limit <= LOWER_SHARE * limit {
            self.probe = Probe::Low { limit, latency };
        } else {
            // At the floor there is no lower limit: what one takes here is usual.
            self.set_limit(limit);
            self.usual = Some(0.5 * (usual + latency));
            self.probed = now;
        }
    }

    /// One step by the gradient of latency, and up only if the limit was used.
    fn step(&mut self, latency: f64, error: f64, is_used: bool, now: Instant) {
        let limit = self.limit;
        let usual = self.usual.unwrap_or(latency);
        let gradient = self.config.tolerance * usual / (latency - DOUBT * error);
        // What takes no time at all does not queue.
        let gradient = if gradient.is_nan() { 1.0 } else { gradient.clamp(0.5, 1.0) };
        self.n_calm = match gradient {
            _ if !is_used => 0,
            CALM.. => self.n_calm.saturating_add(1),
            0.9.. => self.n_calm.saturating_sub(1),
            _ => 0,
        };
        self.is_starting &= gradient >= SAME_LATENCY;
        let headroom = if is_used && now >= self.quiet_until { self.headroom(limit) } else { 0.0 };
        let aim = limit * gradient + headroom;
        self.set_limit(if aim < limit { limit + STEP_DOWN * (aim - limit) } else { aim });
    }

    /// What is tried above what is known; it doubles while that is calm again and again.
    fn headroom(&self, limit: f64) -> f64 {
        if self.is_starting {
            return (MOST_GROWTH * limit).max(1.0);
        }
        let headroom = (self.config.headroom * limit).max(0.5);
        let n_doublings = self.n_calm.saturating_sub(1).min(6);
        (headroom * f64::from(1_u32 << n_doublings)).min((MOST_GROWTH * limit).max(1.0))
    }

    fn is_fixed(&self) -> bool {
        self.config.floor == self.config.ceiling
    }

    fn set_limit(&mut self, limit: f64) {
        self.limit = limit.clamp(self.config.floor as f64, self.config.ceiling as f64);
    }
}

fn later(now: Instant, seconds: f64) -> Instant {
    // OK to stay: no call takes as long as a clock can tell.
    Duration::try_from_secs_f64(seconds).ok().and_then(|time| now.checked_add(time)).unwrap_or(now)
}
