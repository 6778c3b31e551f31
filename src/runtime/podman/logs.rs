//! Log lines of Podman's containers.
//!
//! The API gives whole seconds, polls, and cuts lines into parts; the file beside the container
//! has nanoseconds. So the file is read where this process may read it (as root it may), and the
//! API is asked elsewhere.
//!
//! Over the API, a line's nanoseconds are its number within its second: they order lines, and as
//! a cursor they say how many lines of that second were seen.

use super::k8s_file::Records;
use crate::{
    model::{LogLine, LogQuery, LogStream},
    runtime::container::{
        CALL_LIMIT,
        fault::Fault,
        limited,
        line::{LINE_LIMIT, follow_of, stamped, tail_of},
    },
};
use futures_util::StreamExt;
use podman_api::{Podman as Libpod, api::Container, conn::TtyChunk, opts::ContainerLogsOpts};
use std::{
    collections::VecDeque,
    io::SeekFrom,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

const SECOND_NS: u64 = 1_000_000_000;
/// How often the end of the file is looked at while somebody follows.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The most of the file that is read; the engine keeps half of it.
const FILE_LIMIT: u64 = 2 * 1024 * 1024;
/// Bytes that are read at a time.
const CHUNK: usize = 16 * 1024;

/// Sends what `query` asks for, until the end, the deadline, or the receiver's end.
pub(super) async fn send(
    libpod: &Libpod,
    handle: &str,
    query: &LogQuery,
    lines: mpsc::Sender<LogLine>,
) -> Result<(), Fault> {
    let container = libpod.containers().get(handle);
    let inspected = limited(CALL_LIMIT, container.inspect()).await?;
    let config = inspected.host_config.and_then(|host| host.log_config);
    let path = config
        .filter(|config| matches!(config.type_.as_deref(), Some("k8s-file" | "json-file")))
        .and_then(|config| config.path)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    if let Some(path) = path
        && let Ok(file) = Tail::open(&path).await
    {
        return from_file(file, &path, query, &lines).await;
    }
    from_api(&container, query, &lines).await
}

/// A file that grows, and is replaced when it gets too large.
struct Tail {
    file: File,
    inode: u64,
    position: u64,
    pending: Vec<u8>,
}

impl Tail {
    async fn open(path: &Path) -> std::io::Result<Tail> {
        let mut file = File::open(path).await?;
        let metadata = file.metadata().await?;
        let position = metadata.len().saturating_sub(FILE_LIMIT);
        if position > 0 {
            file.seek(SeekFrom::Start(position)).await?;
        }
        Ok(Tail {
            file,
            inode: metadata.ino(),
            position,
            pending: Vec::new(),
        })
    }

    /// Feeds what there is into `records`, and each line into `each`.
    async fn read(
        &mut self,
        records: &mut Records,
        mut each: impl FnMut(LogLine),
    ) -> std::io::Result<()> {
        let mut chunk = vec![0; CHUNK];
        // Bounded, so that a program that writes faster than it is read does not hold us here.
        let mut left = FILE_LIMIT;
        while left > 0 {
            let count = self.file.read(&mut chunk).await?;
            if count == 0 {
                return Ok(());
            }
            self.position += count as u64;
            left = left.saturating_sub(count as u64);
            for piece in chunk[..count].split_inclusive(|b| *b == b'\n') {
                self.pending.extend_from_slice(piece);
                if self.pending.last() == Some(&b'\n') {
                    self.pending.pop();
                    if let Some(line) = records.record(&self.pending) {
                        each(line);
                    }
                    self.pending.clear();
                } else if self.pending.len() > 2 * LINE_LIMIT {
                    // No record is so long.
                    self.pending.clear();
                }
            }
        }
        Ok(())
    }

    /// The file was truncated, or another one is in its place.
    async fn was_replaced(&self, path: &Path) -> std::io::Result<bool> {
        let metadata = tokio::fs::metadata(path).await?;
        Ok(metadata.ino() != self.inode || metadata.len() < self.position)
    }
}

async fn from_file(
    mut tail: Tail,
    path: &Path,
    query: &LogQuery,
    lines: &mpsc::Sender<LogLine>,
) -> Result<(), Fault> {
    let unreadable = |error: std::io::Error| {
        Fault::said(format!(
            "its log file {} cannot be read: {error}",
            path.display()
        ))
    };
    let is_new = |line: &LogLine| {
        query
            .since_ns
            .is_none_or(|since_ns| line.time_ns > since_ns)
    };
    let mut records = Records::default();
    let mut kept = VecDeque::new();
    let limit = tail_of(query) as usize;
    let mut keep = |line: LogLine| {
        if !is_new(&line) || limit == 0 {
            return;
        }
        if kept.len() == limit {
            kept.pop_front();
        }
        kept.push_back(line);
    };
    tail.read(&mut records, &mut keep)
        .await
        .map_err(unreadable)?;
    let follow = follow_of(query);
    if follow.is_none() {
        records.rest().into_iter().for_each(&mut keep);
    }
    for line in kept {
        if lines.send(line).await.is_err() {
            return Ok(());
        }
    }
    let Some(follow) = follow else { return Ok(()) };
    let deadline = Instant::now() + follow;
    loop {
        tokio::select! {
            () = lines.closed() => return Ok(()),
            () = sleep_until(deadline) => {
                for line in records.rest().into_iter().filter(is_new) {
                    if lines.send(line).await.is_err() {
                        break;
                    }
                }
                return Ok(());
            }
            () = sleep(LOOK_EVERY) => {}
        }
        let mut fresh = Vec::new();
        tail.read(&mut records, |line| fresh.push(line))
            .await
            .map_err(unreadable)?;
        for line in fresh.into_iter().filter(is_new) {
            if lines.send(line).await.is_err() {
                return Ok(());
            }
        }
        match tail.was_replaced(path).await {
            Ok(false) => {}
            Ok(true) => tail = Tail::open(path).await.map_err(unreadable)?,
            // The container was removed.
            Err(_) => return Ok(()),
        }
    }
}

async fn from_api(
    container: &Container,
    query: &LogQuery,
    lines: &mpsc::Sender<LogLine>,
) -> Result<(), Fault> {
    let follow = follow_of(query);
    let deadline = Instant::now() + follow.unwrap_or_default();
    let mut options = ContainerLogsOpts::builder()
        .stdout(true)
        .stderr(true)
        .timestamps(true)
        .follow(follow.is_some())
        .tail(tail_of(query).to_string());
    if let Some(since_ns) = query.since_ns {
        options = options.since((since_ns / SECOND_NS).to_string());
    }
    let options = options.build();
    let mut stream = Box::pin(container.logs(&options));
    let mut numbered = Numbered::default();
    loop {
        let item = if follow.is_some() {
            tokio::select! {
                item = stream.next() => item,
                () = sleep_until(deadline) => return Ok(()),
                () = lines.closed() => return Ok(()),
            }
        } else {
            match tokio::time::timeout(CALL_LIMIT, stream.next()).await {
                Ok(item) => item,
                Err(_) => {
                    return Err(Fault::Unreachable(
                        "it stopped sending log lines".to_owned(),
                    ));
                }
            }
        };
        let (from, bytes) = match item {
            None => return Ok(()),
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(TtyChunk::StdOut(bytes))) => (LogStream::Stdout, bytes),
            Some(Ok(TtyChunk::StdErr(bytes))) => (LogStream::Stderr, bytes),
            Some(Ok(TtyChunk::StdIn(_))) => continue,
        };
        let Some(line) = stamped(from, &bytes) else {
            continue;
        };
        let line = numbered.number(line);
        if query
            .since_ns
            .is_some_and(|since_ns| line.time_ns <= since_ns)
        {
            continue;
        }
        if lines.send(line).await.is_err() {
            return Ok(());
        }
    }
}

/// Gives lines of one second their number as nanoseconds.
#[derive(Debug, Default)]
struct Numbered {
    second: u64,
    count: u64,
}

impl Numbered {
    fn number(&mut self, mut line: LogLine) -> LogLine {
        let second = line.time_ns / SECOND_NS;
        if !line.time_ns.is_multiple_of(SECOND_NS) {
            // An engine that tells more than seconds.
            return line;
        }
        if second == self.second {
            self.count += 1;
        } else {
            self.second = second;
            self.count = 1;
        }
        line.time_ns = line.time_ns.saturating_add(self.count);
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(time_ns: u64) -> LogLine {
        LogLine {
            time_ns,
            stream: LogStream::Stdout,
            text: String::new(),
        }
    }

    #[test]
    fn lines_of_a_second_are_told_apart() {
        let mut numbered = Numbered::default();
        let times: Vec<u64> = [SECOND_NS, SECOND_NS, 2 * SECOND_NS]
            .map(|time_ns| numbered.number(line(time_ns)).time_ns)
            .to_vec();
        assert_eq!(times, [SECOND_NS + 1, SECOND_NS + 2, 2 * SECOND_NS + 1]);
    }

    #[tokio::test]
    async fn a_file_is_read_from_its_cursor_on_and_over_its_replacement() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ctr.log");
        let record = |n: u32| format!("2024-02-29T23:59:59.00000000{n}+00:00 stdout F line {n}\n");
        std::fs::write(&path, record(1) + &record(2) + &record(3)).unwrap();

        let ask = async |query: LogQuery| {
            let (sender, mut receiver) = mpsc::channel(16);
            let tail = Tail::open(&path).await.unwrap();
            from_file(tail, &path, &query, &sender).await.unwrap();
            drop(sender);
            let mut texts = Vec::new();
            while let Some(line) = receiver.recv().await {
                texts.push(line);
            }
            texts
        };
        let all = ask(LogQuery::default()).await;
        assert_eq!(all.len(), 3);
        let since = LogQuery {
            since_ns: Some(all[1].time_ns),
            ..LogQuery::default()
        };
        assert_eq!(ask(since).await, [all[2].clone()]);
        let last = LogQuery {
            tail: Some(1),
            ..LogQuery::default()
        };
        assert_eq!(ask(last).await, [all[2].clone()]);

        let (sender, mut receiver) = mpsc::channel(16);
        let follow = LogQuery {
            tail: Some(0),
            follow_ms: Some(60_000),
            ..LogQuery::default()
        };
        let tail = Tail::open(&path).await.unwrap();
        let following = from_file(tail, &path, &follow, &sender);
        let writing = async {
            let replacement = dir.path().join("ctr.log.tmp");
            std::fs::write(&replacement, record(4)).unwrap();
            std::fs::rename(&replacement, &path).unwrap();
            let line = receiver.recv().await.unwrap();
            drop(receiver);
            line
        };
        let (outcome, line) = tokio::join!(following, writing);
        outcome.unwrap();
        assert_eq!(line.text, "line 4");
    }
}
