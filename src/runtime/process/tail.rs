//! Which records a query wants, and where the last of them begin.

use super::line::{HEADER_MAX, Header};
use crate::model::LogStream;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes per read.
pub(super) const PIECE: usize = 8 << 10;

/// Which lines, beyond the last ones and those since a time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted {
    /// Only earlier ones.
    pub until_ns: Option<u64>,
    /// Only those of one stream.
    pub stream: Option<LogStream>,
}

impl Wanted {
    /// It wants a record of this time and stream.
    pub fn has(self, time_ns: u64, stream: LogStream) -> bool {
        self.until_ns.is_none_or(|until| time_ns < until)
            && self.stream.is_none_or(|wanted| wanted == stream)
    }

    /// Of a record, or the beginning of one.
    fn has_record(self, record: &[u8]) -> bool {
        Header::parse(record).is_some_and(|header| self.has(header.time_ns, header.stream))
    }
}

/// Counts wanted records from the end of the file; where the last `missing` of them begin, if
/// there are as many.
pub(super) fn last_lines(
    file: &File,
    missing: u32,
    wanted: Wanted,
) -> io::Result<(u32, Option<u64>)> {
    let len = file.metadata()?.len();
    if missing == 0 {
        return Ok((0, Some(len)));
    }
    // A piece, and behind it the beginning of the record that starts with the next one.
    let mut buffer = [0_u8; PIECE + HEADER_MAX];
    let mut found = 0;
    let mut end = len;
    // A record is one when its end is written.
    let mut complete = false;
    while end > 0 {
        let start = end.saturating_sub(PIECE as u64);
        let piece = usize::try_from(end - start).unwrap_or(PIECE);
        let behind = usize::try_from(len - end)
            .unwrap_or(HEADER_MAX)
            .min(HEADER_MAX);
        let bytes = &mut buffer[..piece + behind];
        file.read_exact_at(bytes, start)?;
        let bytes = &*bytes;
        let ends = (0..piece).rev().filter(|offset| bytes[*offset] == b'\n');
        // The place where a record begins; the first one of a file has no end before it.
        let begins = ends.map(|offset| (offset + 1, true));
        let begins = begins.chain((start == 0).then_some((0, false)));
        for (offset, ends_one) in begins {
            if complete && wanted.has_record(beginning(&bytes[offset..])) {
                found += 1;
                if found == missing {
                    return Ok((found, Some(start + offset as u64)));
                }
            }
            complete |= ends_one;
        }
        end = start;
    }
    Ok((found, None))
}

/// The header of a record, and a little of its text at most.
fn beginning(bytes: &[u8]) -> &[u8] {
    let bytes = &bytes[..bytes.len().min(HEADER_MAX)];
    bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default()
}
