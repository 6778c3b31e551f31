//! Times that people type: `10m` (ago), `2026-11-20T10:00:00Z`, `2026-11-20 10:00`, Unix seconds.

use crate::{manifest::quantity::parse_duration_ms, support::clock};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// Unix nanoseconds of what somebody typed. Without a zone it is this machine's, or UTC where that
/// is not known.
///
/// # Errors
/// A sentence.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let now = Timestamp::from_millisecond(i64::try_from(clock::unix_ms()).unwrap_or(i64::MAX));
    let now = now.unwrap_or_default();
    at(text, now).ok_or_else(|| {
        format!(
            "`{}` is not a time: write 10m or 2h (ago), 2026-11-20T10:00:00Z, \"2026-11-20 10:00\", \
             or Unix seconds",
            text.escape_debug()
        )
    })
}

fn at(text: &str, now: Timestamp) -> Option<u64> {
    if let Ok(ms) = parse_duration_ms(text) {
        let ago = u64::try_from(now.as_millisecond()).ok()?;
        return ago.saturating_sub(ms).checked_mul(1_000_000);
    }
    if let Some(ns) = unix_ns(text) {
        return Some(ns);
    }
    let time = match text.parse::<Timestamp>() {
        Ok(time) => time,
        Err(_) => {
            let zone = TimeZone::try_system().unwrap_or(TimeZone::UTC);
            let civil: DateTime = text.parse().ok()?;
            civil.to_zoned(zone).ok()?.timestamp()
        }
    };
    u64::try_from(time.as_nanosecond()).ok()
}

/// `1795168800` or `1795168800.25`.
fn unix_ns(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    let nanos: u64 = format!("{part:0<9}").get(..9)?.parse().ok()?;
    let seconds: u64 = whole.parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_understood() {
        let now: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
        let ns = |text: &str| u64::try_from(text.parse::<Timestamp>().unwrap().as_nanosecond());
        for (typed, meant) in [
            ("10m", "2026-11-20T09:50:00Z"),
            ("1h30m", "2026-11-20T08:30:00Z"),
            ("2026-11-20T10:00:00Z", "2026-11-20T10:00:00Z"),
            ("2026-11-20T10:00:00.5+01:00", "2026-11-20T09:00:00.5Z"),
            ("1795168800", "2026-11-20T10:00:00Z"),
            ("1795168800.25", "2026-11-20T10:00:00.25Z"),
            ("0", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(at(typed, now), ns(meant).ok(), "{typed}");
        }
        let longest = at("999999h", now);
        assert_eq!(longest, Some(0), "before 1970 there is nothing");
    }

    #[test]
    fn a_time_without_a_zone_is_taken() {
        let now = Timestamp::UNIX_EPOCH;
        for typed in ["2026-11-20T10:00:00", "2026-11-20 10:00", "2026-11-20"] {
            // No zone is more than a day away.
            let day = 86_400 * 1_000_000_000;
            let got = at(typed, now).unwrap_or_else(|| panic!("{typed}"));
            let utc = 1_795_168_800 * 1_000_000_000;
            assert!(got.abs_diff(utc) <= 2 * day, "{typed}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_examples() {
        for wrong in [
            "",
            "soon",
            "10",
            "-5m",
            "1.",
            ".5",
            "2026-13-01",
            "1e9",
            "99999999999999999999",
        ] {
            let got = parse(wrong);
            if wrong == "10" {
                assert_eq!(got, Ok(10_000_000_000), "ten seconds after 1970");
            } else {
                assert!(got.is_err_and(|e| e.contains("10m")), "{wrong}");
            }
        }
    }
}
