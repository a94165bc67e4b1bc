//! The headers that tell of limits, as each provider has them.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::Provider;
use crate::quota::{Level, Quota};
use crate::state::Settings;

/// Writes how much is left of what is limited.
pub(crate) fn write_limits(headers: &mut HeaderMap, provider: Provider, settings: &Settings) {
    let now = Instant::now();
    let level = |quota: &Mutex<Quota>| quota.lock().unwrap_or_else(PoisonError::into_inner).level(now);
    if let Some(requests) = &settings.requests {
        write_level(headers, provider, "requests", level(requests));
    }
    if let Some(tokens) = &settings.tokens {
        write_level(headers, provider, "tokens", level(tokens));
    }
}

fn write_level(headers: &mut HeaderMap, provider: Provider, what: &str, level: Level) {
    match provider {
        Provider::OpenAi | Provider::Azure => {
            write(headers, &format!("x-ratelimit-limit-{what}"), level.limit);
            write(headers, &format!("x-ratelimit-remaining-{what}"), level.remaining);
            write(headers, &format!("x-ratelimit-reset-{what}"), go_duration(level.reset));
        }
        Provider::Anthropic => {
            write(headers, &format!("anthropic-ratelimit-{what}-limit"), level.limit);
            write(headers, &format!("anthropic-ratelimit-{what}-remaining"), level.remaining);
            let full = SystemTime::now() + level.reset;
            write(headers, &format!("anthropic-ratelimit-{what}-reset"), rfc3339(full));
        }
    }
}

/// Writes a header; one that cannot be written is left out.
pub(crate) fn write(headers: &mut HeaderMap, name: &str, value: impl Display) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value.to_string())) {
        headers.insert(name, value);
    }
}

/// As OpenAI writes it: `20ms`, `1.5s`, `6m0s`.
fn go_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    match (ms / 60_000, ms % 60_000) {
        (0, ms) if ms < 1000 => format!("{ms}ms"),
        (0, ms) => format!("{}s", ms as f64 / 1e3),
        (minutes, ms) => format!("{minutes}m{}s", ms as f64 / 1e3),
    }
}

/// In UTC, to the second; the date is worked out as in Howard Hinnant's `civil_from_days`.
fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, in_day) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months count from March on.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year_of_era + era * 400 + next;
    let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_providers_write_them() {
        let go = |ms| go_duration(Duration::from_millis(ms));
        assert_eq!([go(20), go(1500), go(360_000), go(61_250)], ["20ms", "1.5s", "6m0s", "1m1.25s"]);
        let at = |seconds| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_735_689_600), "2025-01-01T00:00:00Z");
    }
}
