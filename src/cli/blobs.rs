//! Bringing blobs to the controller: by hash, in pieces, gone on with where a line broke.
//!
//! The size of a piece follows the line: a piece should take some seconds, so that one that is
//! lost costs little, and a fast line is not slowed down by asking.

use super::{Failure, client::Client};
use crate::{
    blobs::{ContentRange, MAX_PIECE},
    http::UploadView,
    model::Digest,
};
use std::{
    io::{self, Read},
    time::{Duration, Instant},
};
use tokio::time;

/// The first piece.
const FIRST_PIECE: u64 = 1 << 20;
/// The smallest one, for the slowest line.
const LEAST_PIECE: u64 = 64 << 10;
/// What a piece should take.
const PER_PIECE: Duration = Duration::from_secs(4);
/// Tries one after the other with which nothing gets on.
const MAX_TRIES: u32 = 6;
/// Between two of them, at first; twice as long each time.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// The controller had it.
    AlreadyThere,
    /// So many bytes were sent; fewer than it has where an earlier push was gone on with.
    Sent(u64),
}

/// Brings a blob of `size` bytes to the controller. `open` gives its bytes from an offset on,
/// `progress` hears how many of them the controller has.
///
/// # Errors
/// The controller refuses it, or nothing gets on any more; the bytes cannot be read, or are others
/// than `digest` says.
pub(super) async fn push(
    client: &Client,
    digest: Digest,
    size: u64,
    open: &mut dyn FnMut(u64) -> io::Result<Box<dyn Read + Send>>,
    progress: &mut dyn FnMut(u64),
) -> Result<Pushed, Failure> {
    let path = format!("/api/v1/blobs/{digest}/upload");
    let mut client = client.another();
    let mut sent = 0;
    let mut piece = FIRST_PIECE;
    let mut patience = Patience::default();
    let mut there: Option<UploadView> = None;
    let mut source: Option<(u64, Box<dyn Read + Send>)> = None;
    loop {
        let view = match there.take() {
            Some(view) => view,
            None => match client.get::<UploadView>(&path).await {
                Ok(view) => view,
                Err(failure) => {
                    patience.wait(failure).await?;
                    continue;
                }
            },
        };
        progress(view.received);
        if view.complete {
            return Ok(match sent {
                0 => Pushed::AlreadyThere,
                sent => Pushed::Sent(sent),
            });
        }
        let from = view.received;
        let end = size.min(from.saturating_add(piece));
        if end <= from {
            return Err(Failure::new(format!(
                "{digest} has {size} bytes here, and the controller holds {from} of an unfinished \
                 upload of it; that is forgotten after a day"
            )));
        }
        let bytes = next_piece(&mut source, open, from, end)?;
        let begun = Instant::now();
        let range = ContentRange {
            from,
            end,
            total: size,
        };
        match client.put_piece(&path, range, bytes).await {
            Ok(view) => {
                sent += end - from;
                piece = next_size(end - from, begun.elapsed());
                patience = Patience::default();
                there = Some(view);
            }
            Err(failure) => {
                // How far it came is asked for anew; what is left over is sent in smaller pieces.
                piece = (piece / 2).max(LEAST_PIECE);
                patience.wait(failure).await?;
            }
        }
    }
}

/// As large as it would have been right for this line; pieces that took no time say little.
fn next_size(bytes: u64, took: Duration) -> u64 {
    let took = took.max(Duration::from_millis(1)).as_secs_f64();
    let right = bytes as f64 / took * PER_PIECE.as_secs_f64();
    // At most four times as much at once: the line's buffers take the first of it.
    (right as u64)
        .min(bytes.saturating_mul(4))
        .clamp(LEAST_PIECE, MAX_PIECE)
}

/// The bytes from `from` to before `end`; opened anew only where it does not go on.
fn next_piece(
    source: &mut Option<(u64, Box<dyn Read + Send>)>,
    open: &mut dyn FnMut(u64) -> io::Result<Box<dyn Read + Send>>,
    from: u64,
    end: u64,
) -> Result<Vec<u8>, Failure> {
    let mut reader = match source.take() {
        Some((at, reader)) if at == from => reader,
        _ => open(from)?,
    };
    let mut bytes = vec![0; usize::try_from(end - from).unwrap_or(0)];
    reader.read_exact(&mut bytes).map_err(|e| {
        Failure::new(format!(
            "what is to be pushed cannot be read: {e}; has it changed?"
        ))
    })?;
    *source = Some((end, reader));
    Ok(bytes)
}

#[derive(Debug, Default)]
struct Patience {
    tries: u32,
}

impl Patience {
    /// Waits before the next try, if there is to be one. What was refused is not asked again, but
    /// that somebody else uploads the same, or that the offset is another one, passes.
    async fn wait(&mut self, failure: Failure) -> Result<(), Failure> {
        self.tries += 1;
        let passes = !failure.is_final() || failure.is_conflict();
        if self.tries >= MAX_TRIES || !passes {
            return Err(failure);
        }
        time::sleep(FIRST_WAIT * 2_u32.saturating_pow(self.tries - 1)).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_the_line() {
        // 50 KiB/s.
        let slow = next_size(1 << 20, Duration::from_secs(20));
        assert!((200 << 10..220 << 10).contains(&slow), "{slow}");
        assert_eq!(next_size(1 << 20, Duration::from_millis(1)), 4 << 20);
        assert_eq!(next_size(4 << 20, Duration::ZERO), MAX_PIECE);
        assert_eq!(next_size(64 << 10, Duration::from_secs(600)), LEAST_PIECE);
    }

    #[test]
    fn what_is_read_on_is_not_opened_again() {
        let mut opened = Vec::new();
        let mut open = |from: u64| -> io::Result<Box<dyn Read + Send>> {
            opened.push(from);
            let all: Vec<u8> = (0..100).collect();
            Ok(Box::new(io::Cursor::new(all[from as usize..].to_vec())))
        };
        let mut source = None;
        let mut read = |from, end| next_piece(&mut source, &mut open, from, end).unwrap();
        assert_eq!(read(0, 10), (0..10).collect::<Vec<u8>>());
        assert_eq!(read(10, 30), (10..30).collect::<Vec<u8>>());
        assert_eq!(read(5, 7), [5, 6]);
        assert_eq!(opened, [0, 5]);
    }
}
