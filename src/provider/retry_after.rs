//! Reads `Retry-After` and similar headers as providers send them.
//!
//! Pure: header values and the present time in, a duration out. `retry-after-ms` (OpenAI) takes
//! precedence over `Retry-After` (RFC 9110 section 10.2.3: whole seconds or an HTTP date in any of
//! its three forms). Fractions of seconds are accepted because several providers send them. A time
//! in the past means *now*; an invalid value counts as none.

use std::time::{Duration, SystemTime};

/// How long the provider asks clients to wait; `None` without a valid value.
///
/// Values too large for a duration become the longest one: callers bound them anyway.
pub fn retry_after(
    seconds_or_date: Option<&str>,
    milliseconds: Option<&str>,
    now: SystemTime,
) -> Option<Duration> {
    let milliseconds = milliseconds.and_then(|text| number(text, 1_000.0));
    milliseconds.or_else(|| {
        let text = seconds_or_date?;
        number(text, 1.0).or_else(|| date(text, now))
    })
}

/// A decimal number of units, `units` per second. A negative number is in the past.
fn number(text: &str, units: f64) -> Option<Duration> {
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    // `f64` would also parse exponents, infinities and a leading plus, which no provider sends.
    if !plain || !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    Some(Duration::try_from_secs_f64(number.max(0.0) / units).unwrap_or(Duration::MAX))
}

fn date(text: &str, now: SystemTime) -> Option<Duration> {
    let date = httpdate::parse_http_date(text.trim()).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110.
    const NOW: u64 = 784_111_777;

    #[test]
    fn every_form_of_retry_after_is_read() {
        let forms: [(&str, Option<f64>); 27] = [
            ("0", Some(0.0)),
            ("1", Some(1.0)),
            ("20", Some(20.0)),
            ("3600", Some(3600.0)),
            (" 7 ", Some(7.0)),
            ("\t7", Some(7.0)),
            ("007", Some(7.0)),
            ("1.5", Some(1.5)),
            ("0.250", Some(0.25)),
            ("2.", Some(2.0)),
            ("-1", Some(0.0)),
            ("-0.5", Some(0.0)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10.0)),
            ("Sunday, 06-Nov-94 08:49:57 GMT", Some(20.0)),
            ("Sun Nov  6 08:50:37 1994", Some(60.0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0.0)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0.0)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0.0)),
            ("", None),
            ("soon", None),
            ("5s", None),
            ("+5", None),
            ("1e3", None),
            ("inf", None),
            ("1.2.3", None),
            ("5, 10", None),
            ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        for (text, seconds) in forms {
            let expected = seconds.map(Duration::from_secs_f64);
            assert_eq!(retry_after(Some(text), None, now), expected, "{text:?}");
        }
    }

    #[test]
    fn milliseconds_take_precedence_unless_they_are_invalid() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        for (milliseconds, expected) in [
            (Some("1500"), Duration::from_millis(1500)),
            (Some("0"), Duration::ZERO),
            (Some("-20"), Duration::ZERO),
            (Some("x"), Duration::from_secs(9)),
            (None, Duration::from_secs(9)),
        ] {
            assert_eq!(retry_after(Some("9"), milliseconds, now), Some(expected));
        }
        assert_eq!(retry_after(None, Some("250"), now), Some(Duration::from_millis(250)));
        assert_eq!(retry_after(None, None, now), None);
    }

    #[test]
    fn enormous_values_do_not_overflow() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        let digits = "9".repeat(40);
        assert_eq!(retry_after(Some(&digits), None, now), Some(Duration::MAX));
        assert!(retry_after(Some("Fri, 31 Dec 9999 23:59:59 GMT"), None, now).is_some());
    }
}
