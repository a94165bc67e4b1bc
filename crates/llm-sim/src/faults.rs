//! What can go wrong: the table of faults, and how often each of them happens.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::SimError;

/// Something that goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "the table below says what each does, and the crate's documentation repeats it"
)]
pub enum Fault {
    ServerError,
    BadGatewayHtml,
    RateLimited,
    RateLimitedRetryAfter,
    ConnectionRefused,
    ResetBeforeHeaders,
    ResetInBody,
    HangBeforeHeaders,
    HangMidStream,
    SlowDrip,
    TruncatedStream,
    TruncatedStreamDone,
    MalformedJson,
    MalformedBody,
    WrongShape,
    WrongItems,
    UnknownCategory,
    ConfidenceOutOfRange,
    EmptyReply,
    EnormousReply,
    WrongContentType,
    InvalidUtf8,
    DuplicatedEvents,
    ReorderedEvents,
    UsageMissing,
}

/// Every fault, its name and what happens.
pub const FAULTS: &[(Fault, &str, &str)] = &[
    (Fault::ServerError, "server_error", "status 500 with the provider's error body"),
    (Fault::BadGatewayHtml, "bad_gateway_html", "status 502 with a page of HTML, as from a proxy in between"),
    (Fault::RateLimited, "rate_limited", "status 429 without a word on when to come back"),
    (
        Fault::RateLimitedRetryAfter,
        "rate_limited_retry_after",
        "status 429 with Retry-After, by retry_after_s",
    ),
    (
        Fault::ConnectionRefused,
        "connection_refused",
        "at 1 the port is closed and live connections are reset; below 1 a new connection is reset before anything is \
         read, one in so many",
    ),
    (Fault::ResetBeforeHeaders, "reset_before_headers", "a TCP reset once the request has been read"),
    (Fault::ResetInBody, "reset_in_body", "the headers, half of the body, then a TCP reset"),
    (Fault::HangBeforeHeaders, "hang_before_headers", "the request is read and never answered"),
    (Fault::HangMidStream, "hang_mid_stream", "the headers, half of the body, then nothing for ever"),
    (Fault::SlowDrip, "slow_drip", "the body comes token by token at the pace of slow_drip_ms"),
    (
        Fault::TruncatedStream,
        "truncated_stream",
        "half of the body, then a proper end of the transfer; a stream has no last event",
    ),
    (
        Fault::TruncatedStreamDone,
        "truncated_stream_done",
        "half of the text, then what ends a good reply: finish reason stop and the last event",
    ),
    (Fault::MalformedJson, "malformed_json", "what the model says is no JSON"),
    (
        Fault::MalformedBody,
        "malformed_body",
        "what the provider wraps around it is no JSON; in a stream one event",
    ),
    (Fault::WrongShape, "wrong_shape", "what the model says is JSON with other members than those asked for"),
    (
        Fault::WrongItems,
        "wrong_items",
        "of a batch one answer is missing, one comes twice, one has an unknown id",
    ),
    (Fault::UnknownCategory, "unknown_category", "the category is one that nobody has offered"),
    (Fault::ConfidenceOutOfRange, "confidence_out_of_range", "the confidence is 1e15"),
    (Fault::EmptyReply, "empty_reply", "the model says nothing"),
    (Fault::EnormousReply, "enormous_reply", "the model says far too much, by enormous_reply_bytes"),
    (Fault::WrongContentType, "wrong_content_type", "status 200 with a page of HTML, as from a login"),
    (Fault::InvalidUtf8, "invalid_utf8", "the text has a byte in it that is no UTF-8"),
    (Fault::DuplicatedEvents, "duplicated_events", "every event with text comes twice; streams only"),
    (Fault::ReorderedEvents, "reordered_events", "events with text come in swapped pairs; streams only"),
    (Fault::UsageMissing, "usage_missing", "tokens are charged and not reported"),
];

impl Fault {
    /// Its name in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        FAULTS.iter().find(|(fault, _, _)| *fault == self).map_or("", |(_, name, _)| name)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = SimError;

    fn from_str(text: &str) -> Result<Self, SimError> {
        if let Some((fault, _, _)) = FAULTS.iter().find(|(_, name, _)| *name == text) {
            return Ok(*fault);
        }
        let nearest = FAULTS.iter().map(|(_, name, _)| (strsim::damerau_levenshtein(name, text), name)).min();
        let nearest = nearest.map_or("", |(_, name)| name);
        Err(SimError::invalid(format!(
            "there is no fault `{text}`, did you mean {nearest}? `llm-sim faults` lists them all"
        )))
    }
}

/// How often each fault happens. A request has one at the most, so the probabilities add up to 1 or less.
///
/// As JSON an object: `{"server_error": 0.02, "hang_before_headers": 0.01}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, f64>")]
pub struct Faults(BTreeMap<Fault, f64>);

impl Faults {
    /// Nothing goes wrong.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// This fault and no other, every time.
    #[must_use]
    pub fn always(fault: Fault) -> Self {
        Self(BTreeMap::from([(fault, 1.0)]))
    }

    /// With one more fault, in place of what was set for it.
    ///
    /// # Errors
    /// `InvalidConfig` if it is no probability, or all of them are above 1.
    pub fn with(mut self, fault: Fault, probability: f64) -> Result<Self, SimError> {
        if !(0.0..=1.0).contains(&probability) {
            return Err(SimError::invalid(format!(
                "{fault}={probability} is no probability, write one from 0 to 1"
            )));
        }
        self.0.insert(fault, probability);
        let of_requests = self.0.iter().filter(|(fault, _)| **fault != Fault::ConnectionRefused);
        let sum: f64 = of_requests.map(|(_, probability)| probability).sum();
        // Ten times a tenth are a little more than 1.
        if sum > 1.0 + 1e-9 {
            return Err(SimError::invalid(format!(
                "the probabilities of the faults add up to {sum}, make them 1 or less"
            )));
        }
        Ok(self)
    }

    /// How often the fault happens.
    #[must_use]
    pub fn probability(&self, fault: Fault) -> f64 {
        self.0.get(&fault).copied().unwrap_or(0.0)
    }

    /// With every connection refused, or none, and the other faults as they are.
    pub(crate) fn set_refused(&mut self, refuse: bool) {
        if refuse {
            self.0.insert(Fault::ConnectionRefused, 1.0);
        } else {
            self.0.remove(&Fault::ConnectionRefused);
        }
    }

    /// The fault that a number in [0, 1) stands for. Refused connections are no fault of a request.
    pub(crate) fn pick(&self, mut number: f64) -> Option<Fault> {
        for (&fault, probability) in &self.0 {
            if fault == Fault::ConnectionRefused {
                continue;
            }
            if number < *probability {
                return Some(fault);
            }
            number -= probability;
        }
        None
    }
}

impl TryFrom<BTreeMap<String, f64>> for Faults {
    type Error = SimError;

    fn try_from(probabilities: BTreeMap<String, f64>) -> Result<Self, SimError> {
        let mut faults = Self::none();
        for (name, probability) in probabilities {
            faults = faults.with(name.parse()?, probability)?;
        }
        Ok(faults)
    }
}
