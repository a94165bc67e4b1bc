//! What a provider says of how much more it takes, and holding back while it takes nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hp_base::Clock;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::dates::{parse_http_date, parse_rfc3339, parse_span};
use crate::{LlmError, LlmErrorKind};

/// Nothing is held back for longer, whatever is said: then a call finds out whether it still holds.
const HOLD_AT_MOST: Duration = Duration::from_secs(60);

/// Knows until when a provider takes nothing.
#[derive(Debug)]
pub(super) struct Quota {
    clock: Arc<dyn Clock>,
    held_until: Mutex<Option<Instant>>,
}

/// One limit as headers tell of it: the names of what is allowed, what is left of it, and when all is there again.
struct Limit {
    allowed: &'static str,
    left: &'static str,
    reset: &'static str,
}

const REQUEST_LIMITS: [Limit; 2] = [
    Limit {
        allowed: "x-ratelimit-limit-requests",
        left: "x-ratelimit-remaining-requests",
        reset: "x-ratelimit-reset-requests",
    },
    Limit {
        allowed: "anthropic-ratelimit-requests-limit",
        left: "anthropic-ratelimit-requests-remaining",
        reset: "anthropic-ratelimit-requests-reset",
    },
];

const TOKEN_LIMITS: [Limit; 2] = [
    Limit {
        allowed: "x-ratelimit-limit-tokens",
        left: "x-ratelimit-remaining-tokens",
        reset: "x-ratelimit-reset-tokens",
    },
    Limit {
        allowed: "anthropic-ratelimit-tokens-limit",
        left: "anthropic-ratelimit-tokens-remaining",
        reset: "anthropic-ratelimit-tokens-reset",
    },
];

impl Quota {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, held_until: Mutex::new(None) }
    }

    /// Refuses a call while the provider would.
    pub(super) fn check(&self) -> Result<(), LlmError> {
        let held_until = *self.held_until.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = held_until.map_or(Duration::ZERO, |at| at.saturating_duration_since(self.clock.now()));
        if wait.is_zero() {
            return Ok(());
        }
        let message = "the provider has said to wait, so nothing was sent";
        Err(LlmError::new(LlmErrorKind::RateLimited, message).with_retry_after(wait).unsent())
    }

    /// Reads the headers of an answer to a call of about `n_tokens` tokens.
    pub(super) fn observe(&self, headers: &HeaderMap, n_tokens: u32) {
        if let Some(wait) = self.until_enough(headers, n_tokens, |left| left == Some("0")) {
            self.hold(wait);
        }
    }

    /// How long a rejection for too much says to wait, if it does; calls are held back for as long.
    pub(super) fn rejected(&self, headers: &HeaderMap, n_tokens: u32) -> Option<Duration> {
        let by_limits = || self.until_enough(headers, n_tokens, |left| left.is_none_or(|left| left == "0"));
        let wait = self.retry_after(headers).or_else(by_limits)?;
        self.hold(wait);
        Some(wait)
    }

    /// How long an answer says to wait in so many words.
    pub(super) fn retry_after(&self, headers: &HeaderMap) -> Option<Duration> {
        let millis = || text(headers, "retry-after-ms")?.parse::<f64>().ok();
        let by_millis = millis().and_then(|millis| Duration::try_from_secs_f64(millis / 1e3).ok());
        by_millis.or_else(|| self.until(text(headers, RETRY_AFTER.as_str())?))
    }

    /// How long until there is enough for a call, by the limits of which nothing is left.
    ///
    /// Providers say when all that is allowed will be there again; what one more call needs is there sooner, by as much
    /// as it is less than all.
    fn until_enough(
        &self,
        headers: &HeaderMap,
        n_tokens: u32,
        is_spent: impl Fn(Option<&str>) -> bool,
    ) -> Option<Duration> {
        let requests = REQUEST_LIMITS.iter().map(|limit| (limit, 1));
        let tokens = TOKEN_LIMITS.iter().map(|limit| (limit, n_tokens));
        let waits = requests.chain(tokens).filter_map(|(limit, n_needed)| {
            let all = text(headers, limit.reset).filter(|_| is_spent(text(headers, limit.left)))?;
            let allowed = text(headers, limit.allowed).and_then(|text| text.parse::<u32>().ok());
            let share = allowed.filter(|n| *n > 0).map_or(1.0, |n| f64::from(n_needed) / f64::from(n));
            Some(self.until(all)?.mul_f64(share.min(1.0)))
        });
        waits.max()
    }

    fn hold(&self, wait: Duration) {
        let until = self.clock.now() + wait.min(HOLD_AT_MOST);
        let mut held_until = self.held_until.lock().unwrap_or_else(PoisonError::into_inner);
        *held_until = Some(held_until.map_or(until, |earlier| earlier.max(until)));
    }

    /// The time until what a header says, as a span or a date.
    fn until(&self, text: &str) -> Option<Duration> {
        let by_date = || parse_http_date(text).or_else(|| parse_rfc3339(text));
        parse_span(text).or_else(|| {
            // A date that has passed is no wait.
            by_date().map(|at| at.duration_since(self.clock.wall()).unwrap_or_default())
        })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use hp_base::ManualClock;
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        list.iter().map(pair).collect()
    }

    fn quota() -> (Arc<ManualClock>, Quota) {
        let clock = Arc::new(ManualClock::starting_at(parse_rfc3339("1994-11-06T08:49:07Z").unwrap()));
        (Arc::clone(&clock), Quota::new(clock))
    }

    fn wait(quota: &Quota) -> Option<Duration> {
        quota.check().err().and_then(|error| error.retry_after())
    }

    #[track_caller]
    fn check_rejected(list: &[(&str, &str)], expected_ms: Option<u64>) {
        let (_, quota) = quota();
        let expected = expected_ms.map(Duration::from_millis);
        assert_eq!(quota.rejected(&headers(list), 500), expected);
        assert_eq!(wait(&quota), expected.map(|wait| wait.min(HOLD_AT_MOST)).filter(|wait| !wait.is_zero()));
    }

    #[track_caller]
    fn check_observed(list: &[(&str, &str)], expected_ms: Option<u64>) {
        let (_, quota) = quota();
        quota.observe(&headers(list), 500);
        assert_eq!(wait(&quota), expected_ms.map(Duration::from_millis));
    }

    #[test]
    fn the_time_to_wait_is_read_in_all_its_forms() {
        check_rejected(&[], None);
        check_rejected(&[("retry-after", "7")], Some(7000));
        check_rejected(&[("retry-after", "0.5")], Some(500));
        check_rejected(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], Some(30_000));
        check_rejected(&[("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT")], Some(0));
        check_rejected(&[("retry-after-ms", "250"), ("retry-after", "1")], Some(250));
        check_rejected(&[("retry-after", "3600")], Some(3_600_000));
        check_rejected(&[("retry-after", "soon")], None);
        check_rejected(&[("x-ratelimit-reset-requests", "2s")], Some(2000));
        check_rejected(
            &[("x-ratelimit-reset-requests", "2s"), ("x-ratelimit-remaining-requests", "3")],
            None,
        );
    }

    #[test]
    fn nothing_left_holds_back_until_there_is_enough_for_a_call() {
        let (requests, tokens) = ("x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens");
        let (requests_reset, tokens_reset) = ("x-ratelimit-reset-requests", "x-ratelimit-reset-tokens");
        check_observed(&[(requests, "0"), (requests_reset, "1s")], Some(1000));
        check_observed(&[(requests, "0"), (requests_reset, "6m0s")], Some(60_000));
        check_observed(&[(requests, "1"), (requests_reset, "1s")], None);
        check_observed(&[(requests, "0")], None);
        let allowed = ("x-ratelimit-limit-requests", "60");
        check_observed(&[(requests, "0"), (requests_reset, "1m0s"), allowed], Some(1000));
        let allowed = ("x-ratelimit-limit-tokens", "10000");
        check_observed(&[(tokens, "0"), (tokens_reset, "10s"), allowed], Some(500));
        let requests = ("anthropic-ratelimit-requests-remaining", "0");
        let reset = ("anthropic-ratelimit-requests-reset", "1994-11-06T08:49:10Z");
        check_observed(&[requests, reset], Some(3000));
    }

    #[test]
    fn what_is_held_back_goes_on_when_the_time_has_come() {
        let (clock, quota) = quota();
        quota.hold(Duration::from_secs(10));
        quota.hold(Duration::from_secs(2));
        clock.advance(Duration::from_secs(9));
        assert_eq!(wait(&quota), Some(Duration::from_secs(1)));
        clock.advance(Duration::from_secs(1));
        assert!(quota.check().is_ok());
    }
}
