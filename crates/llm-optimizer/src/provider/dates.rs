//! Times and dates as they stand in headers.

use std::time::{Duration, SystemTime};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A span as in `1s`, `6m0s`, `120ms`, `1h2m3.5s`, or a number of seconds without a unit.
pub(super) fn parse_span(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if let Some(seconds) = parse_number(rest) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| c.is_ascii_alphabetic())?);
        let (unit, after) =
            after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
        let seconds = match unit {
            "d" => 86_400.0,
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" => 1e-6,
            _ => return None,
        };
        let span = Duration::try_from_secs_f64(parse_number(number)? * seconds).ok()?;
        total = total.checked_add(span)?;
        rest = after;
    }
    (!text.trim().is_empty()).then_some(total)
}

/// A number of digits with at most one point.
fn parse_number(text: &str) -> Option<f64> {
    let is_plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| is_plain)
}

/// A date as in `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7, the form that is to be sent).
pub(super) fn parse_http_date(text: &str) -> Option<SystemTime> {
    let parts: Vec<&str> = text.trim().split(' ').collect();
    let [_, day, month, year, time, "GMT"] = parts[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? as u32 + 1;
    at(digits(year)?, month, digits(day)?, clock(time)?)
}

/// A date as in `2024-02-29T12:30:00.25Z` or with `+01:00` (RFC 3339).
pub(super) fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let (date, time) = text.trim().split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-').map(digits);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, zone) = time.split_at(time.find(['Z', 'z', '+', '-'])?);
    let (whole, fraction) = time.split_once('.').unwrap_or((time, "0"));
    digits(fraction.get(..fraction.len().min(9))?)?;
    let fraction = Duration::try_from_secs_f64(format!("0.{fraction}").parse().ok()?).ok()?;
    let local = at(year, month, day, clock(whole)?)? + fraction;
    if zone.eq_ignore_ascii_case("z") {
        return Some(local);
    }
    let offset = Duration::from_secs(clock(&format!("{}:00", zone.get(1..)?))?);
    if zone.starts_with('+') { local.checked_sub(offset) } else { local.checked_add(offset) }
}

fn digits(text: &str) -> Option<u32> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The seconds of the day at `08:49:37`.
fn clock(text: &str) -> Option<u64> {
    let mut parts = text.splitn(3, ':').map(digits);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    (hour < 24 && minute < 60 && second <= 60)
        .then(|| u64::from(hour) * 3600 + u64::from(minute) * 60 + u64::from(second))
}

fn at(year: u32, month: u32, day: u32, seconds: u64) -> Option<SystemTime> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin in March, so that the day that comes and goes is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days_of_years = 365 * year + year / 4 - year / 100 + year / 400;
    let days_of_months = (153 * month + 2) / 5;
    // From 1 March of year 0 to 1 January 1970 there are 719,468 days.
    let days = u64::from((days_of_years + days_of_months + day - 1).checked_sub(719_468)?);
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(days * 86_400 + seconds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(time: Option<SystemTime>) -> Option<f64> {
        time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok()).map(|time| time.as_secs_f64())
    }

    #[test]
    fn spans_are_read_in_all_their_forms() {
        let millis = |text| parse_span(text).map(|span| span.as_millis());
        assert_eq!(
            ["1s", "6m0s", "120ms", "1h2m3.5s", "7", "0.25", " 2 ", "1d"].map(millis),
            [1000, 360_000, 120, 3_723_500, 7000, 250, 2000, 86_400_000].map(Some)
        );
        assert_eq!(["", "s", "-1", "1x", "1e9", "inf", "1s2", "1.2.3s", "nan"].map(millis), [None; 9]);
    }

    #[test]
    fn dates_are_read() {
        assert_eq!(seconds(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT")), Some(784_111_777.0));
        assert_eq!(seconds(parse_rfc3339("1994-11-06T08:49:37Z")), Some(784_111_777.0));
        assert_eq!(seconds(parse_rfc3339("1994-11-06T10:49:37.5+02:00")), Some(784_111_777.5));
        assert_eq!(seconds(parse_rfc3339("1994-11-06T06:19:37-02:30")), Some(784_111_777.0));
        assert_eq!(seconds(parse_rfc3339("2024-02-29T00:00:00Z")), Some(1_709_164_800.0));
        assert_eq!(seconds(parse_rfc3339("1970-01-01T00:00:00Z")), Some(0.0));
        assert_eq!(seconds(parse_rfc3339("2100-03-01T00:00:00Z")), Some(4_107_542_400.0));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in ["", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Foo 1994 08:49:37 GMT", "0", "1994-11-06"] {
            assert_eq!((parse_http_date(text), parse_rfc3339(text)), (None, None), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}|[0-9TZ:+. -]{0,40}|[0-9.hmsd]{0,20}") {
            let _ = (parse_span(&text), parse_http_date(&text), parse_rfc3339(&text));
        }
    }
}
