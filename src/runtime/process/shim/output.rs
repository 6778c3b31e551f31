//! One of the program's two streams, cut into lines.

use super::super::line::TEXT_MAX;
use super::log::LogWriter;
use crate::model::LogStream;
use std::os::fd::OwnedFd;

/// Bytes per read, and reads per turn: a program that writes without end must not keep the shim
/// from seeing a signal.
const READ_BYTES: usize = 16 << 10;
const READS: u32 = 4;

/// A pipe's reading end and the line that has begun.
#[derive(Debug)]
pub(super) struct Output {
    pipe: Option<OwnedFd>,
    stream: LogStream,
    partial: Vec<u8>,
}

impl Output {
    /// `pipe` must not block.
    pub fn new(pipe: Option<OwnedFd>, stream: LogStream) -> Output {
        Output {
            pipe,
            stream,
            partial: Vec::new(),
        }
    }

    /// The reading end, until everybody has closed the writing end.
    pub fn pipe(&self) -> Option<&OwnedFd> {
        self.pipe.as_ref()
    }

    /// Reads what there is.
    pub fn pump(&mut self, log: &mut LogWriter) {
        let mut buffer = [0_u8; READ_BYTES];
        for _ in 0..READS {
            let Some(pipe) = &self.pipe else { return };
            match rustix::io::read(pipe, &mut buffer) {
                Ok(0) => {
                    self.pipe = None;
                    self.finish(log);
                }
                Ok(count) => {
                    log.look_at_clock();
                    self.take(&buffer[..count], log);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return,
                Err(_) => self.pipe = None,
            }
        }
    }

    /// Writes the line that has begun, though its end never came.
    pub fn finish(&mut self, log: &mut LogWriter) {
        if !self.partial.is_empty() {
            log.record(self.stream, &self.partial);
            self.partial = Vec::new();
        }
    }

    /// Gives back what a long line has taken.
    pub fn rest(&mut self) {
        if self.partial.is_empty() && self.partial.capacity() > 1024 {
            self.partial = Vec::new();
        }
    }

    fn take(&mut self, mut bytes: &[u8], log: &mut LogWriter) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let rest = self.cut(&bytes[..end], log);
            if self.partial.is_empty() {
                log.record(self.stream, rest);
            } else {
                self.partial.extend_from_slice(rest);
                log.record(self.stream, &self.partial);
                self.partial.clear();
            }
            bytes = &bytes[end + 1..];
        }
        let rest = self.cut(bytes, log);
        self.partial.extend_from_slice(rest);
    }

    /// Writes full pieces; what is left fits behind the line that has begun.
    fn cut<'a>(&mut self, mut bytes: &'a [u8], log: &mut LogWriter) -> &'a [u8] {
        while self.partial.len() + bytes.len() > TEXT_MAX {
            let (piece, rest) = bytes.split_at(TEXT_MAX - self.partial.len());
            self.partial.extend_from_slice(piece);
            log.record(self.stream, &self.partial);
            self.partial.clear();
            bytes = rest;
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{directory::InstanceDir, line};
    use super::*;

    fn lines_of(chunks: &[&[u8]]) -> Vec<usize> {
        let root = tempfile::tempdir().expect("a temporary directory");
        let dir = InstanceDir::new(root.path().to_owned());
        let mut log = LogWriter::open(&dir, &crate::model::LogLimits::default());
        let mut output = Output::new(None, LogStream::Stdout);
        for chunk in chunks {
            output.take(chunk, &mut log);
        }
        output.finish(&mut log);
        log.flush();
        let text = std::fs::read(dir.log(0)).unwrap_or_default();
        let records = text.split_inclusive(|b| *b == b'\n');
        records
            .map(|r| line::parse(&r[..r.len() - 1]).expect("a record").text.len())
            .collect()
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        assert_eq!(lines_of(&[b"ab", b"c\n\nd", b"\n", b"rest"]), [3, 0, 1, 4]);
        assert_eq!(lines_of(&[]), [0_usize; 0]);
    }

    #[test]
    fn long_lines_are_cut_and_none_is_invented() {
        let long = vec![b'x'; TEXT_MAX * 2];
        assert_eq!(lines_of(&[&long, b"\n"]), [TEXT_MAX, TEXT_MAX]);
        assert_eq!(lines_of(&[&long, b"y\nz"]), [TEXT_MAX, TEXT_MAX, 1, 1]);
    }
}
