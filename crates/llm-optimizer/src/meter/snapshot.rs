//! What a meter has counted, as it grows and as it is shown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{ChatReply, Finish, LlmErrorKind, MicroDollars, Price};

/// All that a [`Meter`](super::Meter) has counted since it was made.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MeterSnapshot {
    /// Of all models together.
    pub total: ModelMeter,
    /// Of each model, by its name.
    pub models: BTreeMap<String, ModelMeter>,
}

/// What was counted of a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ModelMeter {
    /// Calls that have ended, however they did.
    pub n_calls: u64,
    /// Calls that are under way.
    pub n_running: u64,
    /// Replies that were whole.
    pub n_replies: u64,
    /// Replies that were cut because the reader had enough.
    pub n_cut_early: u64,
    /// Replies that were cut at the length allowed.
    pub n_cut_at_length: u64,
    /// Replies that the provider has withheld.
    pub n_filtered: u64,
    /// Calls whose caller has gone.
    pub n_cancelled: u64,
    /// Calls that failed, by the kind of error.
    pub errors: BTreeMap<&'static str, u64>,
    /// Tokens of prompts, those read from the provider's cache and written to it included.
    pub input_tokens: u64,
    /// Of those, the ones read from the provider's cache.
    pub cached_input_tokens: u64,
    /// Of those, the ones written to the provider's cache.
    pub cache_write_tokens: u64,
    /// Tokens of replies.
    pub output_tokens: u64,
    /// What the replies of known cost have cost, in micro-dollars.
    pub cost_micros: u64,
    /// Replies whose cost is unknown: the provider did not say what they took, or the model has no price.
    pub n_unpriced: u64,
    /// What the provider's cache has saved, in micro-dollars; less than nothing where writing to it has cost more than
    /// reading saved.
    pub saved_by_cache_micros: i64,
    /// How long the calls took that got a reply.
    pub total_time: Times,
    /// From the request to the first piece of text, where there was one.
    pub time_to_first_token: Times,
}

/// A distribution of times. Each is right to one part in a hundred.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Times {
    /// How many.
    pub n: u64,
    /// Half took no longer, in microseconds.
    pub p50_us: u64,
    /// 95 of a hundred took no longer, in microseconds.
    pub p95_us: u64,
    /// 99 of a hundred took no longer, in microseconds.
    pub p99_us: u64,
    /// The longest, in microseconds.
    pub max_us: u64,
}

/// Counters that grow, and the times they come with.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) meter: ModelMeter,
    total_time: Recorder,
    time_to_first_token: Recorder,
}

impl Tally {
    pub(super) fn replied(&mut self, reply: &ChatReply, price: Option<Price>, time: Duration) {
        let meter = &mut self.meter;
        meter.n_calls += 1;
        match reply.finish {
            Finish::Stop => meter.n_replies += 1,
            Finish::Enough => meter.n_cut_early += 1,
            Finish::Length => meter.n_cut_at_length += 1,
            Finish::Filtered => meter.n_filtered += 1,
        }
        if let Some(usage) = &reply.usage {
            meter.input_tokens += u64::from(usage.input_tokens);
            meter.cached_input_tokens += u64::from(usage.cached_input_tokens);
            meter.cache_write_tokens += u64::from(usage.cache_write_tokens);
            meter.output_tokens += u64::from(usage.output_tokens);
            let saved = price.map_or(0, |price| price.saved_by_cache(usage));
            meter.saved_by_cache_micros = meter.saved_by_cache_micros.saturating_add(saved);
        }
        match reply.report.cost {
            Some(MicroDollars(cost)) => meter.cost_micros = meter.cost_micros.saturating_add(cost),
            None => meter.n_unpriced += 1,
        }
        self.total_time.record(time);
        if !reply.report.time_to_first_token.is_zero() {
            self.time_to_first_token.record(reply.report.time_to_first_token);
        }
    }

    pub(super) fn failed(&mut self, kind: LlmErrorKind) {
        self.meter.n_calls += 1;
        *self.meter.errors.entry(name_of(kind)).or_default() += 1;
    }

    fn shown(&self) -> ModelMeter {
        ModelMeter {
            total_time: self.total_time.times(),
            time_to_first_token: self.time_to_first_token.times(),
            ..self.meter.clone()
        }
    }

    fn add(&mut self, other: &Self) {
        let (sum, meter) = (&mut self.meter, &other.meter);
        let counters = [
            (&mut sum.n_calls, meter.n_calls),
            (&mut sum.n_running, meter.n_running),
            (&mut sum.n_replies, meter.n_replies),
            (&mut sum.n_cut_early, meter.n_cut_early),
            (&mut sum.n_cut_at_length, meter.n_cut_at_length),
            (&mut sum.n_filtered, meter.n_filtered),
            (&mut sum.n_cancelled, meter.n_cancelled),
            (&mut sum.input_tokens, meter.input_tokens),
            (&mut sum.cached_input_tokens, meter.cached_input_tokens),
            (&mut sum.cache_write_tokens, meter.cache_write_tokens),
            (&mut sum.output_tokens, meter.output_tokens),
            (&mut sum.cost_micros, meter.cost_micros),
            (&mut sum.n_unpriced, meter.n_unpriced),
        ];
        for (counter, more) in counters {
            *counter = counter.saturating_add(more);
        }
        sum.saved_by_cache_micros = sum.saved_by_cache_micros.saturating_add(meter.saved_by_cache_micros);
        for (kind, n) in &meter.errors {
            *sum.errors.entry(kind).or_default() += n;
        }
        self.total_time.add(&other.total_time);
        self.time_to_first_token.add(&other.time_to_first_token);
    }
}

impl MeterSnapshot {
    pub(super) fn of(tallies: &BTreeMap<Arc<str>, Tally>) -> Self {
        let mut total = Tally::default();
        for tally in tallies.values() {
            total.add(tally);
        }
        let models = tallies.iter().map(|(name, tally)| (name.to_string(), tally.shown())).collect();
        Self { total: total.shown(), models }
    }
}

/// Times in microseconds, in some 20 kB. None only if the parameters were wrong, which a test would see.
#[derive(Debug)]
struct Recorder(Option<Histogram<u32>>);

impl Default for Recorder {
    fn default() -> Self {
        // Up to an hour; what takes longer counts as an hour.
        Self(Histogram::new_with_bounds(1, 3_600_000_000, 2).ok())
    }
}

impl Recorder {
    fn record(&mut self, time: Duration) {
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        }
    }

    fn add(&mut self, other: &Self) {
        if let (Some(sum), Some(more)) = (&mut self.0, &other.0) {
            // OK to ignore: both have the same bounds.
            let _ = sum.add(more);
        }
    }

    fn times(&self) -> Times {
        let Some(histogram) = self.0.as_ref().filter(|histogram| !histogram.is_empty()) else {
            return Times::default();
        };
        let at = |quantile| histogram.value_at_quantile(quantile);
        Times {
            n: histogram.len(),
            p50_us: at(0.50),
            p95_us: at(0.95),
            p99_us: at(0.99),
            max_us: histogram.max(),
        }
    }
}

const fn name_of(kind: LlmErrorKind) -> &'static str {
    match kind {
        LlmErrorKind::InvalidConfig => "invalid_config",
        LlmErrorKind::InvalidRequest => "invalid_request",
        LlmErrorKind::Unauthorized => "unauthorized",
        LlmErrorKind::NotFound => "not_found",
        LlmErrorKind::RateLimited => "rate_limited",
        LlmErrorKind::Unavailable => "unavailable",
        LlmErrorKind::Disconnected => "disconnected",
        LlmErrorKind::OutOfTime => "out_of_time",
        LlmErrorKind::InvalidReply => "invalid_reply",
        LlmErrorKind::CircuitOpen => "circuit_open",
        LlmErrorKind::Busy => "busy",
        LlmErrorKind::OverBudget => "over_budget",
        LlmErrorKind::BudgetUnknown => "budget_unknown",
    }
}
