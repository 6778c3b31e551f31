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
        line::{follow_of, stamped, tail_of},
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
        .tail(&tail_of(query).to_string());
    if let Some(since_ns) = query.since_ns {
        options = options.since(i32::try_from(since_ns / 1_000_000_000).unwrap_or(i32::MAX));
    }
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
            None => return Ok(()),
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
