//! Log lines of engines: a time stamp, a blank, and what the instance wrote.

use crate::model::{LogLine, LogQuery, LogStream};
use std::{collections::VecDeque, time::Duration};

/// The most bytes of one line.
pub(crate) const LINE_LIMIT: usize = 16 * 1024;
/// The most lines that a query which counts them gets from what is kept.
const LINES_LIMIT: u32 = 10_000;
/// The most bytes of text that are held to find a query's last lines.
const HELD_LIMIT: usize = 4 << 20;

/// How many of the last lines the engine is asked for: all, where the query wants all of them or
/// they are counted here. Nobody who does not count is cut short: a reader that goes on from a
/// cursor would miss the lines between.
pub(crate) fn asked_for(query: &LogQuery) -> String {
    match query.tail {
        Some(tail) if LastLines::of(query).is_none() => tail.min(LINES_LIMIT).to_string(),
        _ => "all".to_owned(),
    }
}

/// Whether a query wants this line, as far as its times and its stream go.
pub(crate) fn is_wanted(query: &LogQuery, line: &LogLine) -> bool {
    query.since_ns.is_none_or(|since| line.time_ns > since)
        && query.until_ns.is_none_or(|until| line.time_ns < until)
        && query.stream.is_none_or(|stream| line.stream == stream)
}

/// The query leaves out lines that an engine counts.
pub(crate) fn is_narrowed(query: &LogQuery) -> bool {
    query.until_ns.is_some() || query.stream.is_some()
}

/// The last lines that a query wants of what is kept. Engines count lines before they leave out
/// those of the other stream or of a later time, so where a query does that they are counted here.
#[derive(Debug)]
pub(crate) struct LastLines {
    kept: VecDeque<LogLine>,
    bytes: usize,
    limit: usize,
}

impl LastLines {
    /// `None`: the query does not count, or the engine counts right. So it must where a query
    /// follows, since there is no last line then.
    pub(crate) fn of(query: &LogQuery) -> Option<LastLines> {
        let tail = query.tail?;
        (is_narrowed(query) && query.follow_ms.is_none()).then(|| LastLines::new(tail))
    }

    /// The last `tail` of what is pushed; fewer where those are very long.
    pub(crate) fn new(tail: u32) -> LastLines {
        LastLines {
            kept: VecDeque::new(),
            bytes: 0,
            limit: tail.min(LINES_LIMIT) as usize,
        }
    }

    /// One more; the oldest go where there are too many.
    pub(crate) fn push(&mut self, line: LogLine) {
        self.bytes += line.text.len();
        self.kept.push_back(line);
        while self.kept.len() > self.limit || self.bytes > HELD_LIMIT {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.bytes -= oldest.text.len();
        }
    }

    /// Oldest first.
    pub(crate) fn into_lines(self) -> impl Iterator<Item = LogLine> {
        self.kept.into_iter()
    }
}

/// Gives each line a time of its own. Podman stamps all lines that it reads at once with one time,
/// Docker all pieces of a long line, and over Podman's API there are whole seconds only; a reader
/// that goes on from a cursor among such lines would miss the rest of them.
#[derive(Debug, Default)]
pub(crate) struct Times {
    told: u64,
    given: u64,
}

impl Times {
    /// The next line, some nanoseconds later where the one before has its time. It must be called
    /// for all lines in their order, from the first one with that time on: then each line gets
    /// the same time whenever it is read.
    pub(crate) fn apart(&mut self, mut line: LogLine) -> LogLine {
        // A clock that was set back is let be.
        if line.time_ns >= self.told {
            self.told = line.time_ns;
            self.given = line.time_ns.max(self.given.saturating_add(1));
        } else {
            self.told = line.time_ns;
            self.given = line.time_ns;
        }
        line.time_ns = self.given;
        line
    }
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
    fn lines_are_counted_after_others_were_left_out() {
        let line = |time_ns, stream| LogLine {
            time_ns,
            stream,
            text: String::new(),
        };
        let query = LogQuery {
            tail: Some(2),
            since_ns: Some(1),
            until_ns: Some(6),
            stream: Some(LogStream::Stdout),
            ..LogQuery::default()
        };
        let mut last = LastLines::of(&query).unwrap();
        for time_ns in 1..=6 {
            for stream in [LogStream::Stdout, LogStream::Stderr] {
                let line = line(time_ns, stream);
                if is_wanted(&query, &line) {
                    last.push(line);
                }
            }
        }
        let times: Vec<u64> = last.into_lines().map(|line| line.time_ns).collect();
        assert_eq!(times, [4, 5]);
    }

    #[test]
    fn nobody_who_does_not_count_is_cut_short() {
        let counting = |tail, stream, follow_ms| LogQuery {
            tail,
            since_ns: Some(1),
            stream,
            follow_ms,
            ..LogQuery::default()
        };
        let out = Some(LogStream::Stdout);
        let cases = [
            (counting(None, None, None), "all", false),
            (counting(None, out, None), "all", false),
            (counting(None, None, Some(1)), "all", false),
            (counting(Some(5), None, None), "5", false),
            (counting(Some(50_000), None, None), "10000", false),
            (counting(Some(5), out, None), "all", true),
            (counting(Some(5), out, Some(1)), "5", false),
        ];
        for (query, asked, counted_here) in cases {
            assert_eq!(asked_for(&query), asked, "{query:?}");
            assert_eq!(LastLines::of(&query).is_some(), counted_here, "{query:?}");
        }
    }

    #[test]
    fn what_is_held_is_bounded_in_lines_and_bytes() {
        let line = |length: usize| LogLine {
            time_ns: 1,
            stream: LogStream::Stdout,
            text: "x".repeat(length),
        };
        let mut last = LastLines::new(u32::MAX);
        (0..=LINES_LIMIT).for_each(|_| last.push(line(1)));
        assert_eq!(last.into_lines().count(), LINES_LIMIT as usize);
        let mut last = LastLines::new(u32::MAX);
        (0..1000).for_each(|_| last.push(line(LINE_LIMIT)));
        assert_eq!(last.into_lines().count(), HELD_LIMIT / LINE_LIMIT);
        let mut none = LastLines::new(0);
        none.push(line(1));
        assert_eq!(none.into_lines().count(), 0);
    }

    #[test]
    fn each_line_has_a_time_of_its_own() {
        let cases = [
            (vec![5, 5, 5, 9], vec![5, 6, 7, 9]),
            (vec![5, 5, 5, 6, 6, 20], vec![5, 6, 7, 8, 9, 20]),
            (vec![50, 50, 3, 3, 4], vec![50, 51, 3, 4, 5]),
            (vec![u64::MAX, u64::MAX], vec![u64::MAX, u64::MAX]),
        ];
        for (told, expected) in cases {
            let mut times = Times::default();
            let given: Vec<u64> = told
                .into_iter()
                .map(|time_ns| {
                    let line = LogLine {
                        time_ns,
                        stream: LogStream::Stdout,
                        text: String::new(),
                    };
                    times.apart(line).time_ns
                })
                .collect();
            assert_eq!(given, expected);
        }
    }

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
