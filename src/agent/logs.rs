//! Sending log lines to who asked for them: in batches, for as long as the lease lasts.

use super::sender::Sender;
use crate::{
    contract::{Kind, Logs},
    model::{CommandOutcome, LogLine, LogQuery, Name},
    mqtt::Publisher,
    runtime::Runtime,
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time};

/// Lines of a batch.
const BATCH_LINES: usize = 500;
/// Bytes of text in a batch.
const BATCH_BYTES: usize = 256 * 1024;
/// How long a line may wait for others.
const GATHER: Duration = Duration::from_millis(20);
/// The longest lease.
const MAX_FOLLOW_MS: u64 = 120_000;

/// Sends what `query` asks for; returns when it is all sent or the lease is over.
pub(super) async fn send(
    runtime: Arc<dyn Runtime>,
    handle: String,
    instance: Name,
    command: String,
    mut query: LogQuery,
    sender: Arc<Sender>,
    publisher: Publisher,
) -> CommandOutcome {
    query.tail = query.tail.map(|n| n.min(10_000));
    query.follow_ms = query.follow_ms.map(|ms| ms.min(MAX_FOLLOW_MS));
    let (lines, mut queue) = mpsc::channel::<LogLine>(256);
    let reading = runtime.logs(&handle, &query, lines);
    let sending = async {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(line) = queue.recv().await {
            bytes += line.text.len() + 64;
            batch.push(line);
            let gather = async {
                while batch.len() < BATCH_LINES && bytes < BATCH_BYTES {
                    let Some(line) = queue.recv().await else {
                        break;
                    };
                    bytes += line.text.len() + 64;
                    batch.push(line);
                }
            };
            let _ = time::timeout(GATHER, gather).await;
            let body = Logs {
                command: command.clone(),
                lines: std::mem::take(&mut batch),
            };
            bytes = 0;
            while !sender.post(&publisher, Kind::Logs, Some(&instance), &body) {
                if publisher.is_closed() {
                    return;
                }
                // Slower than it writes: its own rotation bounds what is lost.
                time::sleep(GATHER).await;
            }
        }
    };
    let (read, ()) = tokio::join!(reading, sending);
    match read {
        Ok(()) => CommandOutcome::done(),
        Err(error) => CommandOutcome::failed(error.to_string()),
    }
}
