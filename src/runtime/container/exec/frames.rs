//! Output of a program out of the bytes of its connection.
//!
//! ```text
//! stream (1: output, 2: errors), 0, 0, 0, length (4 bytes, big-endian), that many bytes
//! ```

use crate::{model::LogStream, runtime::ExecOutput};
use bytes::BytesMut;

/// The most bytes of one piece of output.
pub(super) const CHUNK: usize = 16 * 1024;

/// Takes pieces out of the bytes of a connection; each is at most [`CHUNK`] long, so nothing has
/// to be kept but a header.
#[derive(Debug)]
pub(super) struct Frames {
    tty: bool,
    stream: LogStream,
    /// Bytes of the frame that are still to come.
    left: usize,
}

impl Frames {
    /// `tty`: there are no frames, all of it is output.
    pub(super) fn new(tty: bool) -> Frames {
        Frames {
            tty,
            stream: LogStream::Stdout,
            left: 0,
        }
    }

    /// The next piece, out of what was read so far.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Option<ExecOutput> {
        while !self.tty && self.left == 0 {
            if buffer.len() < 8 {
                return None;
            }
            let header = buffer.split_to(8);
            self.stream = match header[0] {
                2 => LogStream::Stderr,
                _ => LogStream::Stdout,
            };
            self.left = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        }
        let wanted = if self.tty {
            CHUNK
        } else {
            self.left.min(CHUNK)
        };
        let count = buffer.len().min(wanted);
        if count == 0 {
            return None;
        }
        self.left = self.left.saturating_sub(count);
        Some(ExecOutput {
            stream: self.stream,
            data: buffer.split_to(count).freeze(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, text: &[u8]) -> Vec<u8> {
        let mut bytes = vec![stream, 0, 0, 0];
        bytes.extend((text.len() as u32).to_be_bytes());
        bytes.extend(text);
        bytes
    }

    fn all(tty: bool, bytes: &[u8], step: usize) -> Vec<(LogStream, Vec<u8>)> {
        let mut frames = Frames::new(tty);
        let mut buffer = BytesMut::new();
        let mut seen: Vec<(LogStream, Vec<u8>)> = Vec::new();
        for part in bytes.chunks(step) {
            buffer.extend_from_slice(part);
            while let Some(piece) = frames.next(&mut buffer) {
                assert!(!piece.data.is_empty() && piece.data.len() <= CHUNK);
                match seen.last_mut() {
                    Some((stream, bytes)) if *stream == piece.stream => bytes.extend(&piece.data),
                    _ => seen.push((piece.stream, piece.data.to_vec())),
                }
            }
            assert!(buffer.len() < 8, "only part of a header is kept");
        }
        seen
    }

    #[test]
    fn frames_come_out_however_they_are_cut() {
        let long = vec![b'x'; 3 * CHUNK + 5];
        let mut bytes = frame(1, b"out");
        bytes.extend(frame(2, b""));
        bytes.extend(frame(2, b"err"));
        bytes.extend(frame(1, &long));
        for step in [1, 7, 8, 9, 4096, bytes.len()] {
            let seen = all(false, &bytes, step);
            let expected = [
                (LogStream::Stdout, b"out".to_vec()),
                (LogStream::Stderr, b"err".to_vec()),
                (LogStream::Stdout, long.clone()),
            ];
            assert_eq!(seen, expected, "in steps of {step}");
        }
    }

    #[test]
    fn a_terminals_bytes_are_no_frames() {
        let bytes = [1, 0, 0, 0, 255, 255, 255, 255, 2, 3];
        assert_eq!(all(true, &bytes, 3), [(LogStream::Stdout, bytes.to_vec())]);
    }
}
