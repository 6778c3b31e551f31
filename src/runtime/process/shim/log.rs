//! Writes the log: bounded in size, and never a reason for the program to stop.
//!
//! Records are gathered per wake-up and written at once. When the current file is full it
//! becomes `log.1`, and the oldest is deleted. What cannot be written (a full disk) is dropped
//! and counted, and the next thing that can be written says how much is missing.

use super::super::directory::{InstanceDir, LOGS_KEPT};
use super::super::line::{TEXT_MAX, letter};
use crate::model::LogStream;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Size at which a log is rotated, bytes.
const FILE_MAX: u64 = 1 << 20;
/// Gathered bytes at which they are written without waiting for the end of the wake-up.
const BUFFER_FULL: usize = 16 << 10;

/// The current log.
#[derive(Debug)]
pub(super) struct LogWriter {
    dir: InstanceDir,
    file: Option<File>,
    /// Bytes in the file.
    len: u64,
    buffer: Vec<u8>,
    /// Records in the buffer.
    gathered: u64,
    /// Records that could not be written.
    lost: u64,
    why_lost: Option<io::Error>,
    last_ns: u64,
}

impl LogWriter {
    /// Goes on with the log that is there. A log that cannot be opened is tried again later.
    pub fn open(dir: &InstanceDir) -> LogWriter {
        LogWriter {
            dir: dir.clone(),
            file: None,
            len: 0,
            buffer: Vec::new(),
            gathered: 0,
            lost: 0,
            why_lost: None,
            last_ns: 0,
        }
    }

    /// One line, without its end.
    pub fn record(&mut self, stream: LogStream, text: &[u8]) {
        let header = self.header(stream);
        self.buffer.extend_from_slice(header.as_bytes());
        self.buffer
            .extend_from_slice(&text[..text.len().min(TEXT_MAX)]);
        self.buffer.push(b'\n');
        self.gathered += 1;
        if self.buffer.len() >= BUFFER_FULL {
            self.flush();
        }
    }

    /// Writes what was gathered.
    pub fn flush(&mut self) {
        if self.lost > 0 {
            let notice = self.notice();
            if self.append(notice.as_bytes()).is_ok() {
                self.lost = 0;
                self.why_lost = None;
            }
        }
        if self.buffer.is_empty() {
            return;
        }
        let buffer = std::mem::take(&mut self.buffer);
        if let Err(error) = self.append(&buffer) {
            self.lost += self.gathered;
            self.why_lost = Some(error);
        }
        self.gathered = 0;
        self.buffer = buffer;
        self.buffer.clear();
    }

    fn header(&mut self, stream: LogStream) -> String {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let now = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        self.last_ns = now.max(self.last_ns.saturating_add(1));
        format!("{} {} ", self.last_ns, letter(stream))
    }

    fn notice(&mut self) -> String {
        let header = self.header(LogStream::Stderr);
        let why = self
            .why_lost
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        format!(
            "{header}fleetctl: {} lines are missing here: {why}\n",
            self.lost
        )
    }

    /// All of `bytes` or nothing of them.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(self.dir.log(0))?;
            self.len = file.metadata()?.len();
            self.file = Some(file);
        }
        if self.len > 0 && self.len + bytes.len() as u64 > FILE_MAX {
            self.rotate()?;
        }
        let Some(file) = &mut self.file else {
            return Err(io::ErrorKind::NotFound.into());
        };
        match file.write_all(bytes) {
            Ok(()) => {
                self.len += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Half a record would be read as the beginning of the next one.
                let _ = file.set_len(self.len);
                Err(error)
            }
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        for age in (0..LOGS_KEPT).rev() {
            match fs::rename(self.dir.log(age), self.dir.log(age + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(self.dir.log(0))?;
        self.len = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::line;
    use super::*;

    #[test]
    fn logs_are_rotated_and_the_oldest_goes() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let dir = InstanceDir::new(root.path().to_owned());
        let mut log = LogWriter::open(&dir);
        for _ in 0..(6 * FILE_MAX / 1024) {
            log.record(LogStream::Stdout, &[b'x'; 1024]);
        }
        log.flush();
        for age in 0..=LOGS_KEPT {
            let len = fs::metadata(dir.log(age)).expect("a log").len();
            assert!(len > 0 && len <= FILE_MAX, "log {age} has {len} bytes");
        }
        assert!(!dir.log(LOGS_KEPT + 1).exists());
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_noted() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let dir = InstanceDir::new(root.path().join("not-yet"));
        let mut log = LogWriter::open(&dir);
        log.record(LogStream::Stdout, b"one");
        log.record(LogStream::Stdout, b"two");
        log.flush();
        dir.create().expect("a directory");
        log.record(LogStream::Stdout, b"three");
        log.flush();
        let text = fs::read(dir.log(0)).expect("a log");
        let lines: Vec<_> = text
            .split(|b| *b == b'\n')
            .filter_map(line::parse)
            .map(|l| l.text)
            .collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].starts_with("fleetctl: 2 lines are missing here: "),
            "{lines:?}"
        );
        assert_eq!(lines[1], "three");
    }

    #[test]
    fn times_grow_from_record_to_record() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let dir = InstanceDir::new(root.path().to_owned());
        let mut log = LogWriter::open(&dir);
        for _ in 0..100 {
            log.record(LogStream::Stderr, b"");
        }
        log.flush();
        let text = fs::read(dir.log(0)).expect("a log");
        let times: Vec<_> = text
            .split(|b| *b == b'\n')
            .filter_map(line::parse)
            .map(|l| l.time_ns)
            .collect();
        assert_eq!(times.len(), 100);
        assert!(times.is_sorted_by(|a, b| a < b));
    }
}
