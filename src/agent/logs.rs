//! Sending log lines to who asked for them: in batches, for as long as the lease lasts.
//!
//! Batches are numbered and the last one is empty, so that a reader knows when one was lost on the
//! way, and asks again from where it stands.

use super::bulk::Bulk;
use crate::{
    contract::{Kind, Logs},
    model::{CommandOutcome, LogLine, LogQuery, Name},
    runtime::Runtime,
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time};

/// Lines of a batch.
const BATCH_LINES: usize = 500;
/// Bytes of a batch, about: less than half of what a message may have.
const BATCH_BYTES: usize = 256 * 1024;
/// How long a line may wait for others.
const GATHER: Duration = Duration::from_millis(20);
/// The longest lease.
const MAX_FOLLOW_MS: u64 = 120_000;
/// How long a batch may wait for the broker: whoever asked has asked again by then.
const STUCK: Duration = Duration::from_secs(60);

/// Sends what `query` asks for; returns when it is all sent or the lease is over.
pub(super) async fn send(
    runtime: Arc<dyn Runtime>,
    handle: String,
    instance: Name,
    command: String,
    mut query: LogQuery,
    bulk: Bulk,
) -> CommandOutcome {
    query.tail = query.tail.map(|n| n.min(10_000));
    query.follow_ms = query.follow_ms.map(|ms| ms.min(MAX_FOLLOW_MS));
    let (lines, queue) = mpsc::channel::<LogLine>(256);
    let reading = runtime.logs(&handle, &query, lines);
    let mut batches = Batches {
        bulk,
        instance,
        command,
        sent: 0,
    };
    let sending = async move {
        // Dropped at the end: when nothing can be sent any more, nothing more is read either.
        let mut queue = queue;
        loop {
            let batch = next_batch(&mut queue).await;
            let over = batch.is_empty();
            if !batches.send(batch).await || over {
                return over;
            }
        }
    };
    let (read, all) = tokio::join!(reading, sending);
    match read {
        Ok(()) if all => CommandOutcome::done(),
        Ok(()) => CommandOutcome::failed("log lines could not be sent on"),
        Err(error) => CommandOutcome::failed(error.to_string()),
    }
}

/// Where batches go.
struct Batches {
    bulk: Bulk,
    instance: Name,
    command: String,
    sent: u64,
}

impl Batches {
    async fn send(&mut self, lines: Vec<LogLine>) -> bool {
        let body = Logs {
            command: self.command.clone(),
            n: self.sent,
            lines,
        };
        self.sent += 1;
        let post = self.bulk.post(Kind::Logs, Some(&self.instance), &body);
        time::timeout(STUCK, post).await.unwrap_or(false)
    }
}

/// What has come until a batch is full or nothing more comes at once; empty at the end.
async fn next_batch(queue: &mut mpsc::Receiver<LogLine>) -> Vec<LogLine> {
    let Some(first) = queue.recv().await else {
        return Vec::new();
    };
    let mut bytes = weight(&first);
    let mut batch = vec![first];
    let gather = async {
        while batch.len() < BATCH_LINES && bytes < BATCH_BYTES {
            let Some(line) = queue.recv().await else {
                return;
            };
            bytes += weight(&line);
            batch.push(line);
        }
    };
    let _ = time::timeout(GATHER, gather).await;
    batch
}

/// What a line takes in a message, at most: JSON writes a control character in six bytes.
fn weight(line: &LogLine) -> usize {
    let escaped = |b: &&u8| **b < 0x20 || **b == b'"' || **b == b'\\' || **b == 0x7f;
    line.text.len() + 5 * line.text.as_bytes().iter().filter(escaped).count() + 96
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LogStream;

    #[tokio::test]
    async fn batches_are_bounded_in_lines_and_bytes_and_the_last_is_empty() {
        for (text, most) in [
            ("x".to_owned(), 500),
            ("x".repeat(16 * 1024), 16),
            ("\u{1}".repeat(16 * 1024), 3),
        ] {
            let (lines, mut queue) = mpsc::channel(2_000);
            for time_ns in 0..1_100 {
                let (stream, text) = (LogStream::Stdout, text.clone());
                let line = LogLine {
                    time_ns,
                    stream,
                    text,
                };
                lines.send(line).await.unwrap();
            }
            drop(lines);
            let mut times = Vec::new();
            loop {
                let batch = next_batch(&mut queue).await;
                assert!(batch.len() <= most, "{}", batch.len());
                if batch.is_empty() {
                    break;
                }
                times.extend(batch.iter().map(|l| l.time_ns));
            }
            assert_eq!(times, (0..1_100).collect::<Vec<_>>());
        }
    }
}
