//! Writes the log: bounded in size, and never a reason for the program to stop.
//!
//! Records are gathered per wake-up and written at once, and nothing is forced to the disk. When
//! the current file is full it becomes `log.1`, and the oldest is deleted. What cannot be written
//! (a full disk) is dropped and counted, and the next thing that can be written says how much is
//! missing.
//!
//! Times only grow, over rotations, restarts of the program and clocks that are set back: a time
//! is a reader's cursor.

use super::super::directory::{InstanceDir, LOG_FILES_MAX};
use super::super::line::{self, HEADER_MAX, TEXT_MAX, letter};
use crate::model::{LogLimits, LogStream};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::{SystemTime, UNIX_EPOCH};

/// Gathered bytes at which they are written without waiting for the end of the wake-up.
const BUFFER_FULL: usize = 16 << 10;
/// The smallest log: a record must fit.
const FILE_MIN: u64 = 32 << 10;

/// The current log.
#[derive(Debug)]
pub(super) struct LogWriter {
    dir: InstanceDir,
    /// Of one file.
    max_size: u64,
    /// With the current one.
    max_files: u32,
    file: Option<File>,
    /// Bytes in the file.
    len: u64,
    buffer: Vec<u8>,
    /// Records in the buffer.
    gathered: u64,
    /// Records that could not be written.
    lost: u64,
    why_lost: Option<io::Error>,
    /// The clock, as it was asked last.
    now_ns: u64,
    last_ns: u64,
}

impl LogWriter {
    /// Goes on with the log that is there. A log that cannot be opened is tried again later.
    pub fn open(dir: &InstanceDir, limits: &LogLimits) -> LogWriter {
        let mut log = LogWriter {
            dir: dir.clone(),
            max_size: limits.max_size.max(FILE_MIN),
            max_files: limits.max_files.clamp(1, LOG_FILES_MAX),
            file: None,
            len: 0,
            buffer: Vec::new(),
            gathered: 0,
            lost: 0,
            why_lost: None,
            now_ns: 0,
            last_ns: 0,
        };
        log.go_on();
        // The limits may have been larger.
        for age in log.max_files..LOG_FILES_MAX {
            if fs::remove_file(dir.log(age)).is_err() {
                break;
            }
        }
        log.look_at_clock();
        log
    }

    /// Asks the clock: once per wake-up is enough, for the lines of one are told apart anyway.
    pub fn look_at_clock(&mut self) {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.now_ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    }

    /// One line, without its end.
    pub fn record(&mut self, stream: LogStream, text: &[u8]) {
        let text = &text[..text.len().min(TEXT_MAX)];
        let length = text.len() + HEADER_MAX;
        if self.buffer.len() + length > BUFFER_FULL
            || self.len + (self.buffer.len() + length) as u64 > self.max_size
        {
            self.flush();
        }
        self.header(stream);
        self.buffer.extend_from_slice(text);
        self.buffer.push(b'\n');
        self.gathered += 1;
    }

    /// Writes what was gathered, and before it how much is missing: both or neither, since on a
    /// full disk there is often room for a short word and no more.
    pub fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let written = if self.lost > 0 {
            let first = line::time_ns(&buffer).unwrap_or(self.last_ns);
            let notice = self.notice(first.saturating_sub(1));
            self.append(&[notice.as_bytes(), &buffer].concat())
        } else {
            self.append(&buffer)
        };
        match written {
            Ok(()) => self.lost = 0,
            Err(error) => {
                self.lost += self.gathered;
                self.why_lost = Some(error);
            }
        }
        self.gathered = 0;
        buffer.clear();
        self.buffer = buffer;
    }

    fn notice(&self, time_ns: u64) -> String {
        let why = self
            .why_lost
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        format!(
            "{time_ns} {} fleetctl: {} lines are missing here: {why}\n",
            letter(LogStream::Stderr),
            self.lost
        )
    }

    /// Gives back what a burst of output has taken.
    pub fn rest(&mut self) {
        if self.buffer.is_empty() && self.buffer.capacity() > 4096 {
            self.buffer = Vec::new();
        }
    }

    /// Writes what is left, also that something is missing.
    pub fn finish(&mut self) {
        self.flush();
        if self.lost > 0 {
            self.step();
            let notice = self.notice(self.last_ns);
            if self.append(notice.as_bytes()).is_ok() {
                self.lost = 0;
            }
        }
    }

    fn header(&mut self, stream: LogStream) {
        self.step();
        // Writing to memory does not fail.
        let _ = write!(self.buffer, "{} {} ", self.last_ns, letter(stream));
    }

    /// Two apart, so that there is room between any two lines for one that says what is missing.
    fn step(&mut self) {
        self.last_ns = self.now_ns.max(self.last_ns.saturating_add(2));
    }

    /// All of `bytes` or nothing of them.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            self.open_file()?;
        }
        if self.len > 0 && self.len + bytes.len() as u64 > self.max_size {
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

    fn open_file(&mut self) -> io::Result<()> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(self.dir.log(0))?;
        self.len = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    /// Finds the time of the last record that is there, and ends one that a power cut left half.
    fn go_on(&mut self) {
        for age in 0..self.max_files {
            let Ok(file) = File::open(self.dir.log(age)) else {
                continue;
            };
            let tail = tail(&file).unwrap_or_default();
            if age == 0 && tail.last().is_some_and(|byte| *byte != b'\n') {
                let _ = self.append(b"\n");
            }
            let records = tail.rsplit(|byte| *byte == b'\n');
            if let Some(time_ns) = records.filter_map(line::time_ns).next() {
                self.last_ns = time_ns;
                return;
            }
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        for age in (0..self.max_files.saturating_sub(1)).rev() {
            match fs::rename(self.dir.log(age), self.dir.log(age + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.max_files == 1 {
            fs::remove_file(self.dir.log(0))?;
        }
        self.file = None;
        self.len = 0;
        self.open_file()
    }
}

/// The end of a file, long enough for a whole record.
fn tail(file: &File) -> io::Result<Vec<u8>> {
    let len = file.metadata()?.len();
    let from = len.saturating_sub((TEXT_MAX + 2 * HEADER_MAX) as u64);
    let mut bytes = vec![0; usize::try_from(len - from).unwrap_or(0)];
    file.read_exact_at(&mut bytes, from)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LogLine;

    fn lines(dir: &InstanceDir, age: u32) -> Vec<LogLine> {
        let text = fs::read(dir.log(age)).expect("a log");
        text.split(|b| *b == b'\n')
            .filter_map(line::parse)
            .collect()
    }

    fn open(dir: &InstanceDir) -> LogWriter {
        LogWriter::open(dir, &LogLimits::default())
    }

    #[test]
    fn logs_are_rotated_and_the_oldest_goes() {
        for (max_size, max_files) in [(1 << 20, 4), (64 << 10, 2), (64 << 10, 1)] {
            let root = tempfile::tempdir().expect("a temporary directory");
            let dir = InstanceDir::new(root.path().to_owned());
            let limits = LogLimits {
                max_size,
                max_files,
            };
            let mut log = LogWriter::open(&dir, &limits);
            for _ in 0..(6 * max_size / 1024) {
                log.record(LogStream::Stdout, &[b'x'; 1024]);
            }
            log.flush();
            for age in 0..max_files {
                let len = fs::metadata(dir.log(age)).expect("a log").len();
                assert!(len > 0 && len <= max_size, "log {age} has {len} bytes");
            }
            assert!(!dir.log(max_files).exists());
        }
    }

    #[test]
    fn lower_limits_delete_what_is_too_much() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let dir = InstanceDir::new(root.path().to_owned());
        for age in 0..4 {
            fs::write(dir.log(age), "1 O a\n").expect("written");
        }
        let limits = LogLimits {
            max_files: 2,
            ..LogLimits::default()
        };
        LogWriter::open(&dir, &limits);
        let left: Vec<bool> = (0..4).map(|age| dir.log(age).exists()).collect();
        assert_eq!(left, [true, true, false, false]);
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_noted() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let dir = InstanceDir::new(root.path().join("not-yet"));
        let mut log = open(&dir);
        log.record(LogStream::Stdout, b"one");
        log.record(LogStream::Stdout, b"two");
        log.flush();
        dir.create().expect("a directory");
        log.record(LogStream::Stdout, b"three");
        log.record(LogStream::Stdout, b"four");
        log.flush();
        let lines = lines(&dir, 0);
        assert_eq!(lines.len(), 3, "{lines:?}");
        let first = &lines[0].text;
        assert!(
            first.starts_with("fleetctl: 2 lines are missing here: "),
            "{first}"
        );
        assert_eq!(
            (lines[1].text.as_str(), lines[2].text.as_str()),
            ("three", "four")
        );
        assert!(
            lines.is_sorted_by(|a, b| a.time_ns < b.time_ns),
            "{lines:?}"
        );
    }

    #[test]
    fn the_last_lines_lost_are_noted_too() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let dir = InstanceDir::new(root.path().join("not-yet"));
        let mut log = open(&dir);
        log.record(LogStream::Stdout, b"one");
        log.flush();
        dir.create().expect("a directory");
        log.finish();
        let lines = lines(&dir, 0);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].text.contains("1 lines are missing"), "{lines:?}");
    }

    #[test]
    fn times_grow_from_record_to_record_and_from_run_to_run() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let dir = InstanceDir::new(root.path().to_owned());
        let later = "9000000000000000000";
        fs::write(dir.log(1), format!("{later} O from the future\n")).expect("written");
        for _ in 0..2 {
            let mut log = open(&dir);
            for _ in 0..50 {
                log.record(LogStream::Stderr, b"");
            }
            log.flush();
        }
        let times: Vec<_> = lines(&dir, 0).iter().map(|l| l.time_ns).collect();
        assert_eq!(times.len(), 100);
        assert!(times[0] > 9_000_000_000_000_000_000);
        assert!(times.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn a_half_record_is_ended() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let dir = InstanceDir::new(root.path().to_owned());
        fs::write(dir.log(0), "5 O whole\n7 O hal").expect("written");
        let mut log = open(&dir);
        log.record(LogStream::Stdout, b"next");
        log.flush();
        let texts: Vec<_> = lines(&dir, 0).into_iter().map(|l| l.text).collect();
        assert_eq!(texts, ["whole", "hal", "next"]);
    }
}
