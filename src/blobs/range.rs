//! Parts of a blob, as HTTP names them (RFC 9110, 14): pure.

use std::str::FromStr;

/// What of a blob is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// From the first byte to before the last.
    Some {
        /// First byte.
        from: u64,
        /// Behind the last byte.
        end: u64,
    },
    /// Nothing that there is.
    Beyond,
}

/// What `Range` asks of `size` bytes. What is not understood, and several parts at once, is as if
/// it were not there, as the RFC allows; numbers beyond all files are the largest one.
pub(super) fn part(header: Option<&str>, size: u64) -> Part {
    let Some((first, last)) = header
        .and_then(|text| text.strip_prefix("bytes="))
        .and_then(|text| text.trim().split_once('-'))
    else {
        return Part::Whole;
    };
    match (clamped(first), clamped(last)) {
        (Some(from), _) if last.is_empty() => bounded(from, size, size),
        (Some(from), Some(last)) if from <= last => bounded(from, last.saturating_add(1), size),
        (None, Some(count)) if first.is_empty() => bounded(
            size.saturating_sub(count),
            size,
            size * u64::from(count > 0),
        ),
        _ => Part::Whole,
    }
}

fn bounded(from: u64, end: u64, size: u64) -> Part {
    match from < size {
        true => Part::Some {
            from,
            end: end.min(size),
        },
        false => Part::Beyond,
    }
}

/// Digits only: `+5` is none.
fn number(text: &str) -> Option<u64> {
    is_number(text).then(|| text.parse().ok()).flatten()
}

fn clamped(text: &str) -> Option<u64> {
    is_number(text).then(|| text.parse().unwrap_or(u64::MAX))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Which piece of a blob a request or an answer holds: `bytes 0-99/300`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// First byte.
    pub from: u64,
    /// Behind the last byte.
    pub end: u64,
    /// Bytes of the whole.
    pub total: u64,
}

/// That is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "`Content-Range` must be as in `bytes 0-1048575/5000000`: first byte, last byte, all bytes"
)]
pub struct NotAContentRange;

impl FromStr for ContentRange {
    type Err = NotAContentRange;
    fn from_str(text: &str) -> Result<ContentRange, NotAContentRange> {
        let read = || {
            let (part, total) = text.strip_prefix("bytes ")?.split_once('/')?;
            let (first, last) = part.split_once('-')?;
            let range = ContentRange {
                from: number(first)?,
                end: number(last)?.checked_add(1)?,
                total: number(total)?,
            };
            (range.from < range.end && range.end <= range.total).then_some(range)
        };
        read().ok_or(NotAContentRange)
    }
}

impl std::fmt::Display for ContentRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let last = self.end.saturating_sub(1);
        write!(f, "bytes {}-{last}/{}", self.from, self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(from: u64, end: u64) -> Part {
        Part::Some { from, end }
    }

    #[test]
    fn a_range_is_what_the_rfc_says() {
        for (header, expected) in [
            ("bytes=0-", some(0, 100)),
            ("bytes=5-", some(5, 100)),
            ("bytes=5-5", some(5, 6)),
            ("bytes=5-99", some(5, 100)),
            ("bytes=5-5000", some(5, 100)),
            ("bytes=-10", some(90, 100)),
            ("bytes=-1000", some(0, 100)),
            ("bytes=5-18446744073709551615", some(5, 100)),
            ("bytes=100-", Part::Beyond),
            ("bytes=-0", Part::Beyond),
            ("bytes=7-5", Part::Whole),
            ("bytes=0-1,5-6", Part::Whole),
            ("bytes=+1-5", Part::Whole),
            ("bytes=99999999999999999999-", Part::Beyond),
            (
                "bytes=18446744073709551615-18446744073709551615",
                Part::Beyond,
            ),
            ("bytes=5-99999999999999999999", some(5, 100)),
            ("bytes=-99999999999999999999", some(0, 100)),
            ("bytes=99999999999999999999-5", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=--5", Part::Whole),
            ("lines=0-", Part::Whole),
            ("", Part::Whole),
        ] {
            assert_eq!(part(Some(header), 100), expected, "{header}");
        }
        assert_eq!(part(None, 100), Part::Whole);
        assert_eq!(part(Some("bytes=0-"), 0), Part::Beyond);
    }

    #[test]
    fn a_content_range_is_read_as_it_is_written() {
        let range = ContentRange {
            from: 5,
            end: 10,
            total: 11,
        };
        assert_eq!(range.to_string(), "bytes 5-9/11");
        assert_eq!(range.to_string().parse(), Ok(range));
        for wrong in [
            "",
            "bytes 5-4/10",
            "bytes 5-10/10",
            "bytes 5-9/*",
            "bytes */10",
            "bytes=5-9/10",
            "bytes 0-18446744073709551615/18446744073709551615",
            "bytes 0-9/99999999999999999999",
            "bytes 99999999999999999999-0/10",
            "bytes -1-9/10",
        ] {
            assert!(wrong.parse::<ContentRange>().is_err(), "{wrong}");
        }
    }
}
