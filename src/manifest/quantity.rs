//! Durations and sizes, as people write them.
//!
//! A duration is whole numbers with units, the larger unit first: `250ms`, `10s`, `1h30m`.
//! A size is a whole number with a unit: `64MiB`, `10MB`; without a unit it is bytes.

use super::span::Flaw;

/// Units of a duration in milliseconds, the largest first.
const DURATION_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Units of a size in bytes.
const SIZE_UNITS: [(&str, u64); 10] = [
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads a duration such as `10s`, `1h30m` or `250ms`; the result is milliseconds.
///
/// # Errors
/// Anything else, and what does not fit 64 bits.
pub fn parse_duration_ms(text: &str) -> Result<u64, Flaw> {
    let wrong = || {
        let shown = super::shown(text);
        Flaw::new(format!("`{shown}` is not a duration"))
            .hint("write whole numbers with units, as in \"250ms\", \"10s\", \"5m\" or \"1h30m\"")
    };
    let mut rest = text;
    let mut total: u64 = 0;
    let mut units = DURATION_UNITS.as_slice();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let found = units.iter().position(|(unit, _)| *unit == &rest[..letters]);
        let at = found.ok_or_else(wrong)?;
        let part = number.checked_mul(units[at].1).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        // Each unit once, the larger first: `1m1h` and `1s1s` are slips.
        units = &units[at + 1..];
        rest = &rest[letters..];
    }
    if text.is_empty() {
        Err(wrong())
    } else {
        Ok(total)
    }
}

/// `ms` as [`parse_duration_ms`] reads it.
pub fn duration_text(ms: u64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    if !ms.is_multiple_of(1_000) {
        return format!("{ms}ms");
    }
    let mut rest = ms;
    let mut text = String::new();
    for (unit, length) in DURATION_UNITS {
        if rest >= length {
            text.push_str(&format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    text
}

/// Reads a size such as `64MiB`, `10MB` or `4096`; the result is bytes.
///
/// # Errors
/// Anything else, and what does not fit 64 bits.
pub fn parse_bytes(text: &str) -> Result<u64, Flaw> {
    let wrong = || {
        let shown = super::shown(text);
        Flaw::new(format!("`{shown}` is not a size"))
            .hint("write a whole number with a unit, as in \"64MiB\", \"512KiB\" or \"10MB\"")
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit = text[digits..].trim_start_matches(' ');
    let length = match unit {
        "" => 1,
        _ => {
            SIZE_UNITS
                .iter()
                .find(|(name, _)| *name == unit)
                .ok_or_else(wrong)?
                .1
        }
    };
    number.checked_mul(length).ok_or_else(wrong)
}

/// `bytes` as [`parse_bytes`] reads it, in the largest binary unit that keeps it exact.
pub fn bytes_text(bytes: u64) -> String {
    let units = SIZE_UNITS
        .iter()
        .rev()
        .filter(|(unit, _)| unit.contains('i'));
    for (unit, length) in units {
        if bytes >= *length && bytes.is_multiple_of(*length) {
            return format!("{}{unit}", bytes / length);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("0s", 0),
            ("250ms", 250),
            ("10s", 10_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
        ] {
            assert_eq!(parse_duration_ms(text), Ok(ms), "{text}");
        }
        for text in [
            "",
            "10",
            "s",
            "10 s",
            "1m1h",
            "1s1s",
            "-1s",
            "1.5s",
            "10S",
            "999999999999999d",
            "1ß",
        ] {
            assert!(parse_duration_ms(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64MiB", 64 << 20),
            ("10MB", 10_000_000),
            ("1 KiB", 1024),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "MiB",
            "64mib",
            "64M",
            "-1",
            "1.5GiB",
            "99999999999TiB",
            "1ß",
        ] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in any::<u64>()) {
            prop_assert_eq!(parse_duration_ms(&duration_text(value)), Ok(value));
            prop_assert_eq!(parse_bytes(&bytes_text(value)), Ok(value));
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,12}") {
            let _ = parse_duration_ms(&text);
            let _ = parse_bytes(&text);
        }
    }
}
