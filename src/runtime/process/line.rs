//! The form of a log record: `<unix-ns> <O|E> <text>\n`.
//!
//! Times grow from record to record of one instance, also where two lines were written within the
//! same nanosecond, the program was started again or the clock was set back, so that a time can
//! serve as the reader's cursor.

use crate::model::{LogLine, LogStream};

/// The longest text of a record, bytes; longer lines are cut into several.
pub(super) const TEXT_MAX: usize = 16 << 10;

/// The letter of a stream.
pub(super) fn letter(stream: LogStream) -> char {
    match stream {
        LogStream::Stdout => 'O',
        LogStream::Stderr => 'E',
    }
}

/// The time of a record, or of the beginning of one.
pub(super) fn time_ns(record: &[u8]) -> Option<u64> {
    Header::parse(record).map(|header| header.time_ns)
}

/// What stands before the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Node's clock.
    pub time_ns: u64,
    /// Where the program wrote it.
    pub stream: LogStream,
}

/// Longer than any header.
pub(super) const HEADER_MAX: usize = 32;

impl Header {
    /// From the beginning of a record. `None` when it is not one.
    pub fn parse(record: &[u8]) -> Option<Header> {
        Some(Header::split(record)?.0)
    }

    fn split(record: &[u8]) -> Option<(Header, &[u8])> {
        let mut parts = record.splitn(3, |b| *b == b' ');
        let time_ns = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
        let stream = match parts.next()? {
            b"O" => LogStream::Stdout,
            b"E" => LogStream::Stderr,
            _ => return None,
        };
        Some((Header { time_ns, stream }, parts.next()?))
    }
}

/// Reads one record, without its line end. `None` when it is not one.
pub(super) fn parse(record: &[u8]) -> Option<LogLine> {
    let (Header { time_ns, stream }, text) = Header::split(record)?;
    let mut text = String::from_utf8_lossy(text).into_owned();
    // A replaced byte takes three.
    text.truncate(text.floor_char_boundary(TEXT_MAX));
    Some(LogLine {
        time_ns,
        stream,
        text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back() {
        let line = parse(b"1700000000000000001 E a  b ").expect("a record");
        assert_eq!(line.time_ns, 1_700_000_000_000_000_001);
        assert_eq!(line.stream, LogStream::Stderr);
        assert_eq!(line.text, "a  b ");
        assert_eq!(parse(b"5 O ").expect("an empty line").text, "");
    }

    #[test]
    fn what_is_no_record_is_left_out() {
        for bad in [
            &b""[..],
            b"5",
            b"5 O",
            b"x O a",
            b"5 Q a",
            b"\xff\xfe O a",
            b"-1 O a",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn binary_text_stays_within_the_limit() {
        let mut record = b"5 O ".to_vec();
        record.resize(4 + TEXT_MAX, 0xff);
        let text = parse(&record).expect("a record").text;
        assert!(
            text.len() <= TEXT_MAX && text.len() > TEXT_MAX - 3,
            "{}",
            text.len()
        );
    }
}
