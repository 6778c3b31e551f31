//! The log file that conmon writes beside a container: `time stream tag text`.
//!
//! ```text
//! 2026-01-31T12:00:00.123456789+00:00 stdout P a part of a li
//! 2026-01-31T12:00:00.123459000+00:00 stdout F ne
//! ```
//!
//! `P` is a part, without a line end; the next record of that stream goes on with it. The two
//! streams' parts may lie between each other. Lines that conmon has read at once have one time.

use crate::{
    model::{LogLine, LogStream},
    runtime::container::line::{LINE_LIMIT, Times, rfc3339_ns, text_of},
};

/// Puts lines together out of records.
#[derive(Debug, Default)]
pub(super) struct Records {
    times: Times,
    stdout: Option<Part>,
    stderr: Option<Part>,
}

#[derive(Debug)]
struct Part {
    time_ns: u64,
    bytes: Vec<u8>,
}

impl Records {
    /// One record, without its line end. A line that is complete, or as long as lines may be.
    pub(super) fn record(&mut self, record: &[u8]) -> Option<LogLine> {
        let mut fields = record.splitn(4, |b| *b == b' ');
        let time_ns = rfc3339_ns(std::str::from_utf8(fields.next()?).ok()?)?;
        let stream = match fields.next()? {
            b"stdout" => LogStream::Stdout,
            b"stderr" => LogStream::Stderr,
            _ => return None,
        };
        let whole = match fields.next()? {
            b"F" => true,
            b"P" => false,
            _ => return None,
        };
        let text = fields.next().unwrap_or_default();
        let waiting = match stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        };
        let mut part = waiting.take().unwrap_or(Part {
            time_ns,
            bytes: Vec::new(),
        });
        part.bytes.extend_from_slice(text);
        // The cursor must grow: a line is as old as its last part.
        part.time_ns = part.time_ns.max(time_ns);
        if whole || part.bytes.len() >= LINE_LIMIT {
            return Some(self.times.apart(LogLine {
                time_ns: part.time_ns,
                stream,
                text: text_of(&part.bytes),
            }));
        }
        *waiting = Some(part);
        None
    }

    /// What is left when nothing more comes: the last words of a program, without a line end.
    pub(super) fn rest(&mut self) -> Vec<LogLine> {
        let both = [
            (LogStream::Stdout, self.stdout.take()),
            (LogStream::Stderr, self.stderr.take()),
        ];
        let mut rest: Vec<LogLine> = both
            .into_iter()
            .filter_map(|(stream, part)| {
                let part = part?;
                Some(LogLine {
                    time_ns: part.time_ns,
                    stream,
                    text: text_of(&part.bytes),
                })
            })
            .collect();
        rest.sort_by_key(|line| line.time_ns);
        rest.into_iter()
            .map(|line| self.times.apart(line))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_become_lines() {
        let mut records = Records::default();
        assert_eq!(
            records.record(b"2024-02-29T23:59:59.000000001+00:00 stdout P one, "),
            None
        );
        let err = records
            .record(b"2024-02-29T23:59:59.000000002+00:00 stderr F oops")
            .unwrap();
        assert_eq!((err.stream, err.text.as_str()), (LogStream::Stderr, "oops"));
        let out = records
            .record(b"2024-02-29T23:59:59.000000003+00:00 stdout F two")
            .unwrap();
        assert_eq!(
            (out.stream, out.text.as_str()),
            (LogStream::Stdout, "one, two")
        );
        assert_eq!(out.time_ns % 10, 3);
        assert_eq!(
            records.record(b"2024-02-29T23:59:59.000000004+00:00 stdout P tail"),
            None
        );
        assert_eq!(records.rest().len(), 1);
        assert!(records.rest().is_empty());
    }

    #[test]
    fn lines_that_were_read_at_once_are_told_apart() {
        let mut records = Records::default();
        let mut time = |record: &[u8]| records.record(record).unwrap().time_ns % 1_000;
        assert_eq!(time(b"2024-02-29T23:59:59.000000007Z stdout F a"), 7);
        assert_eq!(time(b"2024-02-29T23:59:59.000000007Z stderr F b"), 8);
        assert_eq!(time(b"2024-02-29T23:59:59.000000009Z stdout F c"), 9);
    }

    #[test]
    fn empty_lines_stay_and_nonsense_goes() {
        let mut records = Records::default();
        let empty = records.record(b"2024-02-29T23:59:59Z stdout F ").unwrap();
        assert_eq!(empty.text, "");
        for nonsense in [
            &b""[..],
            b"x",
            b"2024-02-29T23:59:59Z stdwhat F a",
            b"\xff\xfe F",
        ] {
            assert_eq!(records.record(nonsense), None);
        }
    }

    #[test]
    fn a_line_without_an_end_is_given_out_in_pieces() {
        let mut records = Records::default();
        let mut record = b"2024-02-29T23:59:59Z stdout P ".to_vec();
        record.extend(vec![b'x'; LINE_LIMIT]);
        assert_eq!(records.record(&record).unwrap().text.len(), LINE_LIMIT);
        assert!(records.rest().is_empty());
    }
}
