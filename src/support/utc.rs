//! A time as people read it.

/// A time of day and date in UTC, as in `2026-01-31 12:00:59`. `unix_ms`: Unix milliseconds.
pub fn utc(unix_ms: u64) -> String {
    let s = unix_ms / 1000;
    let (day, second) = (s / 86_400, s % 86_400);
    // Days to a date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let z = day + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (d, m) = (
        doy - (153 * mp + 2) / 5 + 1,
        if mp < 10 { mp + 3 } else { mp - 9 },
    );
    let y = yoe + era * 400 + u64::from(m <= 2);
    let (h, min, sec) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{y:04}-{m:02}-{d:02} {h:02}:{min:02}:{sec:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        assert_eq!(utc(0), "1970-01-01 00:00:00");
        assert_eq!(utc(951_782_399_000), "2000-02-28 23:59:59");
        assert_eq!(utc(951_868_800_000), "2000-03-01 00:00:00");
        assert_eq!(utc(1_795_132_800_000), "2026-11-20 00:00:00");
        assert!(!utc(u64::MAX).is_empty(), "whatever somebody writes");
    }
}
