//! Reads an instance's logs: the last lines, those since a time, and those to come.
//!
//! Files are read in small pieces and never held whole. A log may be rotated while it is read;
//! files are therefore told apart by inode, and an open one is read to its end before the next.

use super::directory::{InstanceDir, LOG_FILES_MAX};
use super::line::{self, TEXT_MAX};
use super::tail::{PIECE, Wanted, last_lines};
use crate::model::{LogLine, LogQuery};
use rustix::fs::inotify;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::Sender;

/// Most lines that a query gets from the past.
const TAIL_MAX: u32 = 10_000;
/// Longest record with its header; what is longer is not ours.
const RECORD_MAX: usize = TEXT_MAX + 64;

/// Sends what `query` asks for. Ends early without an error when nobody listens any more.
pub(super) async fn send(
    dir: &InstanceDir,
    query: &LogQuery,
    lines: Sender<LogLine>,
) -> io::Result<()> {
    // Before the first look, so that nothing is written unnoticed in between.
    let changes = query.follow_ms.map(|_| Changes::of(dir)).transpose()?;
    let tail = query.tail.map(|tail| tail.min(TAIL_MAX));
    let wanted = Wanted {
        until_ns: query.until_ns,
        stream: query.stream,
    };
    let place = dir.clone();
    // Looking for the last lines may read megabytes from a slow card.
    let files = tokio::task::spawn_blocking(move || open_from(&place, tail, wanted))
        .await
        .map_err(io::Error::other)??;

    let mut out = Out {
        rest: Vec::new(),
        skipping: false,
        since_ns: query.since_ns,
        wanted,
        lines,
    };
    let mut current = None;
    for mut log in files {
        // Half a record at the end of a file stays half.
        out.rest.clear();
        let limit = log.file.metadata()?.len();
        if !out.drain(&mut log.file, limit).await? {
            return Ok(());
        }
        current = Some(log);
    }
    if let (Some(changes), Some(ms)) = (changes, query.follow_ms) {
        // What is written after `until` is not wanted.
        let left = query
            .until_ns
            .map(|until| until.saturating_sub(now_ns()) / 1_000_000);
        let ms = left.map_or(ms, |left| ms.min(left));
        let follow = follow(dir, &changes, current, &mut out);
        if let Ok(result) = tokio::time::timeout(Duration::from_millis(ms), follow).await {
            result?;
        }
    }
    Ok(())
}

/// Sends new lines until the instance or the listener is gone.
async fn follow(
    dir: &InstanceDir,
    changes: &Changes,
    mut current: Option<Log>,
    out: &mut Out,
) -> io::Result<()> {
    loop {
        // Looked for before the current one is read to its end: once there is a newer one, the
        // current one grows no more.
        let newer = newer_than(dir, current.as_ref())?;
        if let Some(log) = &mut current
            && !out.drain(&mut log.file, u64::MAX).await?
        {
            return Ok(());
        }
        if newer.is_some() {
            out.rest.clear();
            current = newer;
            continue;
        }
        tokio::select! {
            () = out.lines.closed() => return Ok(()),
            changed = changes.wait() => changed?,
        }
        if !dir.path().exists() {
            return Ok(());
        }
    }
}

/// An open log.
#[derive(Debug)]
struct Log {
    file: File,
    inode: u64,
}

/// All logs, oldest first.
fn open_all(dir: &InstanceDir) -> io::Result<Vec<Log>> {
    let mut logs: Vec<Log> = Vec::new();
    let mut absent = 0;
    // Newest first: a rotation meanwhile moves files towards those not yet opened, so that one
    // is met twice at worst, and none is missed. There is one gap while it renames.
    for age in 0..=LOG_FILES_MAX {
        match File::open(dir.log(age)) {
            Ok(file) => {
                absent = 0;
                let inode = file.metadata()?.ino();
                if logs.iter().all(|log| log.inode != inode) {
                    logs.push(Log { file, inode });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => absent += 1,
            Err(error) => return Err(error),
        }
        if absent > 1 {
            break;
        }
    }
    logs.reverse();
    Ok(logs)
}

/// The log after `current`; the oldest when that was deleted meanwhile; `None` when it is the
/// newest.
fn newer_than(dir: &InstanceDir, current: Option<&Log>) -> io::Result<Option<Log>> {
    let logs = open_all(dir)?;
    let place = current.and_then(|log| logs.iter().position(|other| other.inode == log.inode));
    Ok(logs.into_iter().nth(place.map_or(0, |place| place + 1)))
}

/// Opens the logs that hold the last `tail` wanted lines (all without), each at the place to read
/// from.
fn open_from(dir: &InstanceDir, tail: Option<u32>, wanted: Wanted) -> io::Result<Vec<Log>> {
    let mut logs = open_all(dir)?;
    let Some(mut missing) = tail else {
        return Ok(logs);
    };
    for index in (0..logs.len()).rev() {
        let (found, start) = last_lines(&logs[index].file, missing, wanted)?;
        if let Some(start) = start {
            logs[index].file.seek(SeekFrom::Start(start))?;
            logs.drain(..index);
            break;
        }
        missing -= found;
    }
    Ok(logs)
}

fn now_ns() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Where lines go.
struct Out {
    /// A record whose end has not been read yet.
    rest: Vec<u8>,
    /// Within a record that is longer than any of ours.
    skipping: bool,
    /// Only later ones are sent. Gone after the first: the order in the file counts, since the
    /// node's clock may have been set back between two runs.
    since_ns: Option<u64>,
    wanted: Wanted,
    lines: Sender<LogLine>,
}

impl Out {
    /// Reads at most `limit` bytes into lines. `false` when nobody listens any more.
    async fn drain(&mut self, file: &mut File, limit: u64) -> io::Result<bool> {
        let mut buffer = vec![0_u8; PIECE];
        let mut left = limit;
        while left > 0 {
            let size = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let count = file.read(&mut buffer[..size])?;
            if count == 0 {
                break;
            }
            left -= count as u64;
            let mut bytes = &buffer[..count];
            while let Some(end) = memchr::memchr(b'\n', bytes) {
                self.keep(&bytes[..end]);
                bytes = &bytes[end + 1..];
                if !self.send_record().await {
                    return Ok(false);
                }
            }
            self.keep(bytes);
        }
        Ok(true)
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.rest.len() + bytes.len() > RECORD_MAX {
            self.skipping = true;
            self.rest.clear();
        }
        if !self.skipping {
            self.rest.extend_from_slice(bytes);
        }
    }

    async fn send_record(&mut self) -> bool {
        let line = if self.skipping {
            None
        } else {
            line::parse(&self.rest)
        };
        self.rest.clear();
        self.skipping = false;
        let Some(line) = line else { return true };
        if self.since_ns.is_some_and(|since| line.time_ns <= since) {
            return true;
        }
        self.since_ns = None;
        if !self.wanted.has(line.time_ns, line.stream) {
            return true;
        }
        self.lines.send(line).await.is_ok()
    }
}

/// Word from the kernel that something was written or renamed in the directory.
struct Changes(AsyncFd<OwnedFd>);

impl Changes {
    fn of(dir: &InstanceDir) -> io::Result<Changes> {
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let what = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::MOVE_SELF
            | inotify::WatchFlags::DELETE_SELF;
        inotify::add_watch(&fd, dir.path(), what)?;
        Ok(Changes(super::readable::readable(fd)?))
    }

    /// Until there is some. What it was does not matter.
    async fn wait(&self) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        let mut events = [0_u8; 2048];
        loop {
            match rustix::io::read(self.0.get_ref(), &mut events) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => break,
                Err(error) => return Err(error.into()),
            }
        }
        ready.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LogStream;

    /// Two rotated logs and a current one with the lines 1 to 6, two each.
    fn logs() -> (tempfile::TempDir, InstanceDir) {
        let root = tempfile::tempdir().expect("a temporary directory");
        let dir = InstanceDir::new(root.path().to_owned());
        for (age, first) in [(2, 1), (1, 3), (0, 5)] {
            let text = format!("{first}0 O {first}\n{0}0 E {0}\n", first + 1);
            std::fs::write(dir.log(age), text).expect("a log");
        }
        (root, dir)
    }

    async fn read(dir: &InstanceDir, tail: Option<u32>, since_ns: Option<u64>) -> Vec<String> {
        let query = LogQuery {
            tail,
            since_ns,
            ..LogQuery::default()
        };
        ask(dir, query).await
    }

    async fn ask(dir: &InstanceDir, query: LogQuery) -> Vec<String> {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(100);
        send(dir, &query, sender).await.expect("logs");
        let mut texts = Vec::new();
        while let Some(line) = receiver.recv().await {
            texts.push(line.text);
        }
        texts
    }

    #[tokio::test]
    async fn the_last_lines_may_span_files() {
        let (_root, dir) = logs();
        assert_eq!(read(&dir, None, None).await, ["1", "2", "3", "4", "5", "6"]);
        assert_eq!(read(&dir, Some(1), None).await, ["6"]);
        assert_eq!(read(&dir, Some(2), None).await, ["5", "6"]);
        assert_eq!(read(&dir, Some(3), None).await, ["4", "5", "6"]);
        assert_eq!(read(&dir, Some(100), None).await.len(), 6);
        assert_eq!(read(&dir, Some(0), None).await, [""; 0]);
    }

    #[tokio::test]
    async fn only_later_lines_come() {
        let (_root, dir) = logs();
        assert_eq!(read(&dir, None, Some(40)).await, ["5", "6"]);
        assert_eq!(read(&dir, Some(1), Some(10)).await, ["6"]);
        assert_eq!(read(&dir, None, Some(60)).await, [""; 0]);
    }

    #[tokio::test]
    async fn one_stream_and_an_end_may_be_asked_for() {
        let (_root, dir) = logs();
        let ask = |tail, until_ns, stream| {
            let query = LogQuery {
                tail,
                until_ns,
                stream,
                ..LogQuery::default()
            };
            ask(&dir, query)
        };
        let (out, err) = (Some(LogStream::Stdout), Some(LogStream::Stderr));
        assert_eq!(ask(None, None, out).await, ["1", "3", "5"]);
        assert_eq!(ask(Some(2), None, err).await, ["4", "6"]);
        assert_eq!(ask(Some(9), None, err).await, ["2", "4", "6"]);
        assert_eq!(ask(None, Some(40), None).await, ["1", "2", "3"]);
        assert_eq!(ask(Some(1), Some(40), out).await, ["3"]);
        assert_eq!(ask(Some(1), Some(30), err).await, ["2"]);
        assert_eq!(ask(Some(1), Some(5), None).await, [""; 0]);
    }

    #[tokio::test]
    async fn the_last_lines_are_found_wherever_a_piece_begins() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let dir = InstanceDir::new(root.path().to_owned());
        // Lengths around a piece, so that headers lie across its border.
        for length in (PIECE - 60)..(PIECE + 60) {
            let filler = "x".repeat(length);
            let text = format!("10 O a\n20 E b\n30 O {filler}\n40 E c\n50 O half");
            std::fs::write(dir.log(0), text).expect("a log");
            let query = LogQuery {
                tail: Some(2),
                stream: Some(LogStream::Stderr),
                ..LogQuery::default()
            };
            assert_eq!(ask(&dir, query).await, ["b", "c"], "{length}");
            assert_eq!(read(&dir, Some(2), None).await, [filler.as_str(), "c"]);
            assert_eq!(read(&dir, Some(4), None).await.len(), 4);
        }
    }

    #[tokio::test]
    async fn a_record_that_is_not_ours_is_left_out() {
        let (_root, dir) = logs();
        let mut text = vec![b'x'; RECORD_MAX * 3];
        text.extend_from_slice(b"\nnonsense\n70 O 7\n");
        std::fs::write(dir.log(0), text).expect("a log");
        assert_eq!(read(&dir, None, None).await, ["1", "2", "3", "4", "7"]);
    }
}
