//! Words as Compose writes them: durations in Go's form, sizes with one letter, and numbers that
//! may be texts, since variables are.

use super::super::{
    quantity::duration_text,
    report::Report,
    shown,
    span::Flaw,
    tree::{Data, Entry, Value},
    yaml::draft::{as_written, text, texts},
};

/// Units of a duration in microseconds.
const DURATION_UNITS: [(&str, u64); 5] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
];

/// `1m30s`, `1.5s` or `300ms` in milliseconds; less than one counts as one.
pub(super) fn duration_ms(text: &str) -> Result<u64, Flaw> {
    let wrong = || {
        Flaw::new(format!("`{}` is not a duration", shown(text)))
            .hint("write numbers with units, as in \"30s\", \"1m30s\" or \"1.5s\"")
    };
    let mut rest = text;
    let mut total = 0f64;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest
            .bytes()
            .take_while(|b| b.is_ascii_digit() || *b == b'.')
            .count();
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = DURATION_UNITS
            .iter()
            .find(|(unit, _)| *unit == &rest[..letters]);
        total += number * unit.ok_or_else(wrong)?.1 as f64;
        rest = &rest[letters..];
    }
    // Longer than any bound that follows.
    if total > 1e18 {
        return Err(wrong());
    }
    Ok((total / 1_000.0).ceil() as u64)
}

/// `64m`, `1.5g`, `512kb`, `100b` or `4096` in bytes; the units are binary, as in Docker.
pub(super) fn bytes(text: &str) -> Result<i64, Flaw> {
    let wrong = || {
        Flaw::new(format!("`{}` is not a size", shown(text)))
            .hint("write a number with a unit, as in \"64m\", \"1g\" or \"512k\"")
    };
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower
        .bytes()
        .take_while(|b| b.is_ascii_digit() || *b == b'.')
        .count();
    let number: f64 = lower[..digits].parse().map_err(|_| wrong())?;
    let unit = match lower[digits..].trim_start() {
        "" | "b" => 1u64,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return Err(wrong()),
    };
    let bytes = number * unit as f64;
    if bytes > 1e18 {
        return Err(wrong());
    }
    Ok(bytes as i64)
}

/// Reads values, and says at their place what is wrong.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub report: &'a Report,
}

impl Reader<'_> {
    /// Says that `entry` is wrong.
    pub(super) fn refuse(self, value: &Value, flaw: Flaw) {
        self.report.add(value.span.clone(), flaw);
    }

    fn mistyped(self, entry: &Entry, wanted: &str) {
        let found = entry.value.kind();
        let name = shown(&entry.name);
        self.refuse(
            &entry.value,
            Flaw::new(format!("`{name}` must be {wanted}, not {found}")),
        );
    }

    /// A scalar as a text.
    pub(super) fn text(self, entry: &Entry) -> Option<String> {
        let written = as_written(&entry.value, self.report);
        if written.is_none() {
            self.mistyped(entry, "a text");
        }
        written
    }

    /// A whole number.
    pub(super) fn whole(self, entry: &Entry) -> Option<Value> {
        let number = match &entry.value.data {
            Data::Integer(number) => Some(*number),
            Data::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        if number.is_none() {
            self.mistyped(entry, "a whole number");
        }
        Some(with(&entry.value, Data::Integer(number?)))
    }

    /// A number.
    pub(super) fn number(self, entry: &Entry) -> Option<Value> {
        let number = match &entry.value.data {
            Data::Integer(number) => Some(*number as f64),
            Data::Float(number) => Some(*number),
            Data::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        if number.is_none() {
            self.mistyped(entry, "a number");
        }
        Some(with(&entry.value, Data::Float(number?)))
    }

    /// `true` or `false`.
    pub(super) fn truth(self, entry: &Entry) -> Option<bool> {
        match &entry.value.data {
            Data::Bool(answer) => return Some(*answer),
            Data::Text(text) if text == "true" => return Some(true),
            Data::Text(text) if text == "false" => return Some(false),
            _ => self.mistyped(entry, "true or false"),
        }
        None
    }

    /// The same as a value.
    pub(super) fn bool(self, entry: &Entry) -> Option<Value> {
        Some(with(&entry.value, Data::Bool(self.truth(entry)?)))
    }

    /// A duration, as the TOML writes it.
    pub(super) fn duration(self, entry: &Entry) -> Option<Value> {
        let written = self.text(entry)?;
        match duration_ms(&written) {
            Ok(ms) => Some(text(&entry.value.span, duration_text(ms))),
            Err(flaw) => {
                self.refuse(&entry.value, flaw);
                None
            }
        }
    }

    /// A size, as a number of bytes.
    pub(super) fn size(self, entry: &Entry) -> Option<Value> {
        let written = self.text(entry)?;
        match bytes(&written) {
            Ok(bytes) => Some(with(&entry.value, Data::Integer(bytes))),
            Err(flaw) => {
                self.refuse(&entry.value, flaw);
                None
            }
        }
    }

    /// A list of texts; one text alone is a list of it.
    pub(super) fn list(self, entry: &Entry) -> Option<Value> {
        if let Some(one) = as_written(&entry.value, self.report) {
            return Some(texts(&entry.value.span, [one]));
        }
        let Some(items) = entry.value.as_list() else {
            self.mistyped(entry, "a list");
            return None;
        };
        let mut list = Vec::new();
        for item in items {
            match as_written(item, self.report) {
                Some(written) => list.push(text(&item.span, written)),
                None => {
                    let name = shown(&entry.name);
                    let found = item.kind();
                    self.refuse(
                        item,
                        Flaw::new(format!("each item of `{name}` must be a text, not {found}")),
                    );
                }
            }
        }
        Some(with(&entry.value, Data::List(list)))
    }

    /// The entries of a map.
    pub(super) fn map(self, entry: &Entry) -> Option<&[Entry]> {
        match &entry.value.data {
            Data::Map(entries) => Some(entries),
            Data::Null => Some(&[]),
            _ => {
                self.mistyped(entry, "a map");
                None
            }
        }
    }
}

/// `data` in the place of `value`.
pub(super) fn with(value: &Value, data: Data) -> Value {
    Value {
        span: value.span.clone(),
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("0s", 0),
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("1.5s", 1_500),
            ("2h", 7_200_000),
            ("300ms", 300),
            ("1us", 1),
            ("1h30m10s500ms", 5_410_500),
        ] {
            assert_eq!(duration_ms(text), Ok(ms), "{text}");
        }
        for text in [
            "",
            "10",
            "s",
            "1d",
            "-1s",
            "1..5s",
            "1 s",
            "99999999999999h",
            "1ß",
        ] {
            assert!(duration_ms(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("0", 0),
            ("4096", 4_096),
            ("100b", 100),
            ("64m", 64 << 20),
            ("64M", 64 << 20),
            ("64MB", 64 << 20),
            ("64MiB", 64 << 20),
            ("1.5g", 3 << 29),
            ("512 kb", 512 << 10),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "m", "-1m", "1x", "1.2.3m", "99999999999t", "1ß"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[0-9.a-z ßMG-]{0,12}") {
            let _ = duration_ms(&text);
            let _ = bytes(&text);
        }
    }
}
