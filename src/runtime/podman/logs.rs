//! Log lines of Podman's containers.
//!
//! The API gives whole seconds, polls, and cuts lines into parts; the file beside the container
//! has nanoseconds. So the file is read where this process may read it (as root it may), and the
//! API is asked elsewhere.
//!
//! Lines of one time, which over the API is a second, are told apart by nanoseconds that we count
//! ([`Times`]): they order lines, and as a cursor they say how many of them were seen.

use super::k8s_file::Records;
use crate::{
    model::{LogLine, LogQuery, LogStream},
    runtime::container::{
        CALL_LIMIT,
        fault::Fault,
        limited,
        line::{
            LINE_LIMIT, LastLines, Times, asked_for, follow_of, is_narrowed, is_wanted, stamped,
        },
    },
};
use futures_util::StreamExt;
use podman_api::{Podman as Libpod, api::Container, conn::TtyChunk, opts::ContainerLogsOpts};
use std::{
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
/// The most of the file that is read where only the last lines are wanted.
const END_LIMIT: u64 = 4 << 20;
/// Bytes that are read at a time.
const CHUNK: usize = 16 * 1024;
/// The most chunks that are read at a time while somebody follows: a program that writes faster
/// than it is read must not hide that the reader has gone.
const CHUNKS_LIMIT: u32 = 256;

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
        && let Ok(file) = Tail::open(&path, from_end(query)).await
    {
        return from_file(file, &path, query, &lines).await;
    }
    from_api(&container, query, &lines).await
}

/// How much of the file's end is enough.
fn from_end(query: &LogQuery) -> u64 {
    if query.tail.is_some() && !is_narrowed(query) {
        END_LIMIT
    } else {
        u64::MAX
    }
}

/// A file that grows, and is replaced when it gets too large.
struct Tail {
    file: File,
    inode: u64,
    /// When it was opened.
    length: u64,
    position: u64,
    pending: Vec<u8>,
}

impl Tail {
    /// At most so many bytes before its end.
    async fn open(path: &Path, from_end: u64) -> std::io::Result<Tail> {
        let mut file = File::open(path).await?;
        let metadata = file.metadata().await?;
        let position = metadata.len().saturating_sub(from_end);
        if position > 0 {
            file.seek(SeekFrom::Start(position)).await?;
        }
        Ok(Tail {
            file,
            inode: metadata.ino(),
            length: metadata.len(),
            position,
            pending: Vec::new(),
        })
    }

    /// The lines of the next bytes, which may be none. `None`: there are no more bytes for now.
    async fn lines(&mut self, records: &mut Records) -> std::io::Result<Option<Vec<LogLine>>> {
        let mut chunk = vec![0; CHUNK];
        let count = self.file.read(&mut chunk).await?;
        if count == 0 {
            return Ok(None);
        }
        self.position += count as u64;
        let mut lines = Vec::new();
        for piece in chunk[..count].split_inclusive(|b| *b == b'\n') {
            self.pending.extend_from_slice(piece);
            if self.pending.last() == Some(&b'\n') {
                self.pending.pop();
                lines.extend(records.record(&self.pending));
                self.pending.clear();
            } else if self.pending.len() > 2 * LINE_LIMIT {
                // No record is so long.
                self.pending.clear();
            }
        }
        Ok(Some(lines))
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
    let mut records = Records::default();
    let mut out = Out {
        query,
        last: query.tail.map(LastLines::new),
        lines,
    };
    while tail.position < tail.length {
        let Some(kept) = tail.lines(&mut records).await.map_err(unreadable)? else {
            break;
        };
        if !out.send(kept).await {
            return Ok(());
        }
    }
    let follow = follow_of(query);
    if follow.is_none() && !out.send(records.rest()).await {
        return Ok(());
    }
    if !out.end_of_the_past().await {
        return Ok(());
    }
    let Some(follow) = follow else { return Ok(()) };
    let deadline = Instant::now() + follow;
    loop {
        tokio::select! {
            () = lines.closed() => return Ok(()),
            () = sleep_until(deadline) => {
                out.send(records.rest()).await;
                return Ok(());
            }
            () = sleep(LOOK_EVERY) => {}
        }
        // Asked before the last bytes are read: once another file is in its place, it grows no
        // more.
        let replaced = tail.was_replaced(path).await;
        let grows_no_more = matches!(replaced, Ok(true));
        let mut chunks = 0;
        while grows_no_more || chunks < CHUNKS_LIMIT {
            let Some(fresh) = tail.lines(&mut records).await.map_err(unreadable)? else {
                break;
            };
            if !out.send(fresh).await {
                return Ok(());
            }
            chunks += 1;
        }
        match replaced {
            Ok(false) => {}
            Ok(true) => tail = Tail::open(path, u64::MAX).await.map_err(unreadable)?,
            // The container was removed.
            Err(_) => return Ok(()),
        }
    }
}

/// Where lines go.
struct Out<'a> {
    query: &'a LogQuery,
    /// Of what is kept, where they are counted.
    last: Option<LastLines>,
    lines: &'a mpsc::Sender<LogLine>,
}

impl Out<'_> {
    /// Those of them that are wanted. `false`: nobody listens any more.
    async fn send(&mut self, all: Vec<LogLine>) -> bool {
        for line in all {
            if !is_wanted(self.query, &line) {
                continue;
            }
            match &mut self.last {
                Some(last) => last.push(line),
                None if self.lines.send(line).await.is_err() => return false,
                None => {}
            }
        }
        true
    }

    /// Everything that is kept was sent: what comes now is not counted.
    async fn end_of_the_past(&mut self) -> bool {
        for line in self.last.take().into_iter().flat_map(LastLines::into_lines) {
            if self.lines.send(line).await.is_err() {
                return false;
            }
        }
        true
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
        .tail(asked_for(query));
    if let Some(since_ns) = query.since_ns {
        options = options.since((since_ns / SECOND_NS).to_string());
    }
    let options = options.build();
    let mut last = LastLines::of(query);
    let mut stream = Box::pin(container.logs(&options));
    let mut times = Times::default();
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
            None => break,
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(TtyChunk::StdOut(bytes))) => (LogStream::Stdout, bytes),
            Some(Ok(TtyChunk::StdErr(bytes))) => (LogStream::Stderr, bytes),
            Some(Ok(TtyChunk::StdIn(_))) => continue,
        };
        let Some(line) = stamped(from, &bytes) else {
            continue;
        };
        let line = times.apart(line);
        if !is_wanted(query, &line) {
            continue;
        }
        if let Some(last) = &mut last {
            last.push(line);
        } else if lines.send(line).await.is_err() {
            return Ok(());
        }
    }
    for line in last.into_iter().flat_map(LastLines::into_lines) {
        if lines.send(line).await.is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::container::line::rfc3339_ns;

    #[tokio::test]
    async fn a_file_is_read_from_its_cursor_on_and_over_its_replacement() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ctr.log");
        let record = |n: u32| format!("2024-02-29T23:59:59.00000000{n}+00:00 stdout F line {n}\n");
        std::fs::write(&path, record(1) + &record(2) + &record(3)).unwrap();

        let ask = async |query: LogQuery| {
            let (sender, mut receiver) = mpsc::channel(16);
            let tail = Tail::open(&path, u64::MAX).await.unwrap();
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
        let before = LogQuery {
            tail: Some(1),
            until_ns: Some(all[2].time_ns),
            ..LogQuery::default()
        };
        assert_eq!(ask(before).await, [all[1].clone()]);

        let (sender, mut receiver) = mpsc::channel(16);
        let follow = LogQuery {
            tail: Some(0),
            follow_ms: Some(60_000),
            ..LogQuery::default()
        };
        let tail = Tail::open(&path, u64::MAX).await.unwrap();
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

    #[tokio::test]
    async fn who_does_not_count_gets_all_that_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ctr.log");
        let text = "x".repeat(1000);
        let records = (0..12_000).map(|n| format!("2024-02-29T23:59:59.{n:09}Z stdout F {text}\n"));
        std::fs::write(&path, records.collect::<String>()).unwrap();
        let count = async |query: LogQuery| {
            let (sender, mut receiver) = mpsc::channel::<LogLine>(16);
            let tail = Tail::open(&path, from_end(&query)).await.unwrap();
            let counting = async {
                let mut lines: Vec<u64> = Vec::new();
                while let Some(line) = receiver.recv().await {
                    lines.push(line.time_ns % 1_000_000_000);
                }
                assert!(lines.is_sorted());
                (lines.first().copied(), lines.len())
            };
            let reading = async {
                // The sender ends with it.
                let sender = sender;
                from_file(tail, &path, &query, &sender).await.unwrap();
            };
            tokio::join!(reading, counting).1
        };
        let second_ns = rfc3339_ns("2024-02-29T23:59:59Z").unwrap();
        let since = LogQuery {
            since_ns: Some(second_ns),
            ..LogQuery::default()
        };
        assert_eq!(count(LogQuery::default()).await, (Some(0), 12_000));
        assert_eq!(count(since).await, (Some(1), 11_999));
        let early = LogQuery {
            tail: Some(2),
            until_ns: Some(second_ns + 10),
            ..LogQuery::default()
        };
        assert_eq!(count(early).await, (Some(8), 2));
        let end = LogQuery {
            tail: Some(3),
            ..LogQuery::default()
        };
        assert_eq!(count(end).await, (Some(11_997), 3));
    }
}
