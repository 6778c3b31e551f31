//! Cron expressions in a time zone: when is the next time?
//!
//! Five fields (minute, hour, day of month, month, day of week), six with seconds first, or a word
//! such as `@daily`. The zones are compiled in (IANA tz database), so that a board without
//! `tzdata` has them, and the same expression gives the same times on every machine.

use super::{Schedule, UnixMs, shown};
use croner::parser::{CronParser, Seconds, Year};
use jiff::{Timestamp, tz::TimeZone};

/// A wall clock that shows less is not set (a board without a battery for it starts in 1970, or
/// when its image was made): 2025-01-01.
pub const CLOCK_SET_MS: UnixMs = 1_735_689_600_000;

/// A cron expression in its time zone.
#[derive(Debug, Clone)]
pub struct Cron {
    expression: croner::Cron,
    zone: TimeZone,
}

/// Why a schedule cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// It is no cron expression.
    #[error("`{text}` is not a cron expression: {message}")]
    Expression {
        /// As written, shortened.
        text: String,
        /// Which field of it is wrong, and what it takes.
        message: String,
    },
    /// There is no such zone.
    #[error("`{0}` is not a time zone")]
    Zone(String),
    /// The thirtieth of February.
    #[error("`{0}` never comes")]
    Never(String),
}

impl Cron {
    /// Understands a schedule.
    ///
    /// # Errors
    /// Not an expression, not a zone, or a time that never comes.
    pub fn new(schedule: &Schedule) -> Result<Cron, CronError> {
        let expression = parse(&schedule.cron).ok_or_else(|| CronError::Expression {
            text: shown(&schedule.cron),
            message: blame(&schedule.cron),
        })?;
        let zone = match schedule.time_zone.as_deref() {
            None => TimeZone::UTC,
            Some(name) => zone(name)?,
        };
        let cron = Cron { expression, zone };
        match cron.next_after(CLOCK_SET_MS) {
            Some(_) => Ok(cron),
            None => Err(CronError::Never(shown(&schedule.cron))),
        }
    }

    /// Whether there is a time zone of this name.
    ///
    /// # Errors
    /// [`CronError::Zone`].
    pub fn check_zone(name: &str) -> Result<(), CronError> {
        zone(name).map(drop)
    }

    /// The first time after `after`; `None` where there is none that a clock could show.
    ///
    /// Daylight saving: a time that a day does not have is the first moment after the gap, and one
    /// that it has twice comes once; an expression with `*` hours goes on through both.
    pub fn next_after(&self, after: UnixMs) -> Option<UnixMs> {
        let after = Timestamp::from_millisecond(i64::try_from(after).ok()?).ok()?;
        let zoned = after.to_zoned(self.zone.clone());
        let next = self.expression.find_next_occurrence(&zoned, false).ok()?;
        u64::try_from(next.timestamp().as_millisecond()).ok()
    }
}

fn zone(name: &str) -> Result<TimeZone, CronError> {
    TimeZone::get(name).map_err(|_| CronError::Zone(shown(name)))
}

fn parse(text: &str) -> Option<croner::Cron> {
    let parser = CronParser::builder()
        .seconds(Seconds::Optional)
        .year(Year::Disallowed)
        .build();
    parser.parse(text).ok()
}

/// The fields, with what each of them takes.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of month", "1 to 31"),
    ("month", "1 to 12, or JAN to DEC"),
    ("day of week", "0 to 7, or SUN to SAT"),
];

/// What is wrong with an expression that is none.
fn blame(text: &str) -> String {
    let written: Vec<&str> = text.split_whitespace().collect();
    let fields = match written.len() {
        0 => return "it is empty".into(),
        1 if text.trim_start().starts_with('@') => {
            return "the words are @yearly, @monthly, @weekly, @daily and @hourly".into();
        }
        5 => &FIELDS[1..],
        6 => &FIELDS[..],
        1 => return "it has 1 field and needs 5".into(),
        n => return format!("it has {n} fields and needs 5 (or 6, the second first)"),
    };
    // The one to blame is the one that fails where all others could be anything.
    let fails = |at: &usize| {
        let mut alone = vec!["*"; written.len()];
        alone[*at] = written[*at];
        parse(&alone.join(" ")).is_none()
    };
    match (0..written.len()).find(fails) {
        Some(at) => {
            let (name, takes) = fields[at];
            format!("its {name} is `{}` and takes {takes}", shown(written[at]))
        }
        None => "its fields do not fit together".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cron(text: &str, zone: Option<&str>) -> Result<Cron, CronError> {
        Cron::new(&Schedule {
            cron: text.into(),
            time_zone: zone.map(str::to_owned),
            ..Schedule::default()
        })
    }

    fn ms(text: &str) -> UnixMs {
        text.parse::<Timestamp>().unwrap().as_millisecond() as u64
    }

    #[test]
    fn the_next_time_is_found() {
        for (text, zone, after, next) in [
            (
                "0 3 * * *",
                None,
                "2026-11-20T22:00:00Z",
                "2026-11-21T03:00:00Z",
            ),
            (
                "0 3 * * *",
                None,
                "2026-11-21T03:00:00Z",
                "2026-11-22T03:00:00Z",
            ),
            (
                "*/10 * * * * *",
                None,
                "2026-11-20T22:00:01Z",
                "2026-11-20T22:00:10Z",
            ),
            (
                "@daily",
                Some("Europe/Berlin"),
                "2026-11-20T22:00:00Z",
                "2026-11-20T23:00:00Z",
            ),
            (
                "0 9 * * MON-FRI",
                None,
                "2026-11-20T22:00:00Z",
                "2026-11-23T09:00:00Z",
            ),
            // The night has no 02:30 (29 March 2026) and two of them (25 October 2026).
            (
                "30 2 * * *",
                Some("Europe/Berlin"),
                "2026-03-28T22:00:00Z",
                "2026-03-29T01:00:00Z",
            ),
            (
                "30 2 * * *",
                Some("Europe/Berlin"),
                "2026-10-24T22:00:00Z",
                "2026-10-25T00:30:00Z",
            ),
            (
                "30 2 * * *",
                Some("Europe/Berlin"),
                "2026-10-25T00:30:00Z",
                "2026-10-26T01:30:00Z",
            ),
        ] {
            let next_ms = cron(text, zone).unwrap().next_after(ms(after));
            assert_eq!(next_ms, Some(ms(next)), "{text} after {after}");
        }
    }

    #[test]
    fn what_never_comes_and_what_is_none_is_refused() {
        assert!(matches!(cron("0 0 30 2 *", None), Err(CronError::Never(_))));
        assert!(matches!(
            cron("0 0 * *", None),
            Err(CronError::Expression { .. })
        ));
        assert!(matches!(
            cron("61 * * * *", None),
            Err(CronError::Expression { .. })
        ));
        assert!(matches!(
            cron("0 0 3 1 1 * 2030", None),
            Err(CronError::Expression { .. })
        ));
        assert!(matches!(cron("", None), Err(CronError::Expression { .. })));
        assert!(matches!(
            cron("@daily", Some("Mars/Olympus")),
            Err(CronError::Zone(_))
        ));
    }

    #[test]
    fn the_field_that_is_wrong_is_named_in_our_words() {
        for (text, expected) in [
            ("", "it is empty"),
            ("often", "it has 1 field and needs 5"),
            (
                "0 3 * *",
                "it has 4 fields and needs 5 (or 6, the second first)",
            ),
            (
                "0 3 * * * 2030 7",
                "it has 7 fields and needs 5 (or 6, the second first)",
            ),
            ("61 3 * * *", "its minute is `61` and takes 0 to 59"),
            ("0 24 * * *", "its hour is `24` and takes 0 to 23"),
            ("0 3 0 * *", "its day of month is `0` and takes 1 to 31"),
            (
                "0 3 * JUX *",
                "its month is `JUX` and takes 1 to 12, or JAN to DEC",
            ),
            (
                "0 3 * * 8",
                "its day of week is `8` and takes 0 to 7, or SUN to SAT",
            ),
            ("60 0 3 * * *", "its second is `60` and takes 0 to 59"),
            (
                "@dayly",
                "the words are @yearly, @monthly, @weekly, @daily and @hourly",
            ),
        ] {
            match cron(text, None) {
                Err(CronError::Expression { message, .. }) => assert_eq!(message, expected),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[0-9*/,@A-Za-z #?-]{0,24}", after in any::<u64>()) {
            let cron = cron(&text, Some("America/New_York"));
            if let Some(next) = cron.ok().and_then(|cron| cron.next_after(after)) {
                prop_assert!(next > after);
            }
        }
    }
}
