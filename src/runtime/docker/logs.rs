//! Log lines out of Docker Engine.
//!
//! Docker's `since` knows whole seconds only, so it is asked for the second and what was seen
//! already is dropped by its nanoseconds. A line longer than 16 KiB comes in pieces of that size
//! and is passed on so.

use crate::{
    model::{LogLine, LogQuery, LogStream},
    runtime::container::{
        CALL_LIMIT, connect,
        fault::Fault,
        line::{LastLines, Times, asked_for, follow_of, is_wanted, stamped},
    },
};
use bollard::{container::LogOutput, query_parameters::LogsOptionsBuilder};
use futures_util::StreamExt;
use std::path::Path;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// Sends what `query` asks for, until the end, the deadline, or the receiver's end.
pub(super) async fn send(
    socket: &Path,
    handle: &str,
    query: &LogQuery,
    lines: mpsc::Sender<LogLine>,
) -> Result<(), Fault> {
    let docker = connect(socket)?;
    let follow = follow_of(query);
    let deadline = Instant::now() + follow.unwrap_or_default();
    let mut options = LogsOptionsBuilder::new()
        .stdout(true)
        .stderr(true)
        .timestamps(true)
        .follow(follow.is_some())
        .tail(&asked_for(query));
    if let Some(since_ns) = query.since_ns {
        options = options.since(i32::try_from(since_ns / 1_000_000_000).unwrap_or(i32::MAX));
    }
    let mut last = LastLines::of(query);
    let mut times = Times::default();
    let mut stream = docker.logs(handle, Some(options.build()));
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
            Some(Ok(LogOutput::StdErr { message })) => (LogStream::Stderr, message),
            Some(Ok(LogOutput::StdOut { message } | LogOutput::Console { message })) => {
                (LogStream::Stdout, message)
            }
            Some(Ok(LogOutput::StdIn { .. })) => continue,
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
