//! Log lines of engines: a time stamp, a blank, and what the instance wrote.

use crate::model::{LogLine, LogQuery, LogStream};
use std::time::Duration;

/// The most bytes of one line.
pub(crate) const LINE_LIMIT: usize = 16 * 1024;
/// The most lines that one query gets from what is kept.
pub(crate) const LINES_LIMIT: u32 = 10_000;

/// How many of the last lines a query wants from what is kept.
pub(crate) fn tail_of(query: &LogQuery) -> u32 {
    query.tail.unwrap_or(LINES_LIMIT).min(LINES_LIMIT)
}

/// How long a query wants to follow; at most a day, which no deadline overflows.
pub(crate) fn follow_of(query: &LogQuery) -> Option<Duration> {
    query
        .follow_ms
        .map(|ms| Duration::from_millis(ms.min(24 * 60 * 60 * 1000)))
}

/// Without the line end, as UTF-8, at most [`LINE_LIMIT`] bytes.
pub(crate) fn text_of(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(LINE_LIMIT)]).into_owned();
    // A replacement is longer than what it replaces.
    if text.len() > LINE_LIMIT {
        let mut end = LINE_LIMIT;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

/// `2026-01-31T12:00:00.123456789Z text`, as both engines' APIs send it with `timestamps`.
pub(crate) fn stamped(stream: LogStream, bytes: &[u8]) -> Option<LogLine> {
    let blank = bytes.iter().take(64).position(|b| *b == b' ')?;
    let time_ns = rfc3339_ns(std::str::from_utf8(&bytes[..blank]).ok()?)?;
    Some(LogLine {
        time_ns,
        stream,
        text: text_of(&bytes[blank + 1..]),
    })
}

/// Unix nanoseconds of an RFC 3339 time. `None` before 1970 (engines write the year 1 for never).
pub(crate) fn rfc3339_ns(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let zone_at = rest.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = rest.split_at(zone_at);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut clock = clock.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let in_range = (1970..10_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    if !in_range || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut nanos = 0i64;
    for at in 0..9 {
        let digit = fraction
            .as_bytes()
            .get(at)
            .map_or(0, |b| i64::from(b - b'0'));
        nanos = nanos * 10 + digit;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second
        - zone_s(zone)?;
    u64::try_from(seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?).ok()
}

/// Seconds east of Greenwich of `Z` or `±hh:mm`.
fn zone_s(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let (hours, minutes) = (hours.parse::<i64>().ok()?, minutes.parse::<i64>().ok()?);
    ((0..24).contains(&hours) && (0..60).contains(&minutes))
        .then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Of the proleptic Gregorian calendar: years are counted from March, so that the leap day comes
/// last, and in eras of 400 years, which all have 146,097 days.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_engines_are_read() {
        assert_eq!(rfc3339_ns("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(
            rfc3339_ns("2000-03-01T00:00:00Z"),
            Some(951_868_800_000_000_000)
        );
        assert_eq!(
            rfc3339_ns("2024-02-29T23:59:59.123456789Z"),
            Some(1_709_251_199_123_456_789)
        );
        assert_eq!(
            rfc3339_ns("2024-02-29T23:59:59.5+01:00"),
            Some(1_709_247_599_500_000_000)
        );
        assert_eq!(rfc3339_ns("0001-01-01T00:00:00Z"), None);
        for bad in [
            "",
            "T",
            "2024-02-29",
            "2024-02-29T10:00Z",
            "2024-13-01T00:00:00Z",
            "aTbZ",
        ] {
            assert_eq!(rfc3339_ns(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_line_loses_its_end_and_nothing_else() {
        let line = stamped(
            LogStream::Stderr,
            b"2024-02-29T23:59:59Z  two blanks \x1b[1m\r\n",
        )
        .unwrap();
        assert_eq!(line.text, " two blanks \u{1b}[1m");
        assert_eq!(line.stream, LogStream::Stderr);
        assert_eq!(stamped(LogStream::Stdout, b"no time"), None);
    }

    #[test]
    fn a_line_is_bounded_also_when_it_is_not_utf8() {
        assert_eq!(text_of(&vec![b'a'; 3 * LINE_LIMIT]).len(), LINE_LIMIT);
        let text = text_of(&vec![0xff; 3 * LINE_LIMIT]);
        assert!(text.len() <= LINE_LIMIT && text.len() > LINE_LIMIT - 3);
    }
}
