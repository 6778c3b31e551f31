//! Bytes from and to a program that is run beside an instance.

use super::terminal::Terminal;
use crate::model::LogStream;
use crate::runtime::{ExecFeed, ExecOutput};
use bytes::Bytes;
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};

/// Largest piece of output.
const PIECE: usize = 16 << 10;
/// Most that is read after the program has ended: a pipe holds less, and somebody else may go on
/// writing to it.
const REST_MAX: usize = 1 << 20;
/// What ends the input of a terminal.
const END_OF_INPUT: &[u8] = &[4];

/// Becomes true when the program has ended.
#[derive(Debug, Clone)]
pub(super) struct Ended(pub watch::Receiver<bool>);

/// Reads until everybody has closed the other end, or the program has ended and there is no more.
/// What nobody takes is dropped, so that the program is not held up by it.
pub(super) async fn pump(
    source: &AsyncFd<OwnedFd>,
    stream: LogStream,
    output: &mpsc::Sender<ExecOutput>,
    mut ended: Ended,
) {
    let mut buffer = vec![0_u8; PIECE];
    let mut rest = REST_MAX;
    loop {
        let mut ready = tokio::select! {
            biased;
            ready = source.readable() => match ready {
                Ok(ready) => Some(ready),
                Err(_) => return,
            },
            _ = ended.0.wait_for(|ended| *ended) => None,
        };
        loop {
            match rustix::io::read(source.get_ref(), &mut buffer) {
                // A terminal says EIO when nobody has its other end any more.
                Ok(0) | Err(Errno::IO) => return,
                Ok(count) => {
                    let data = Bytes::copy_from_slice(&buffer[..count]);
                    let _ = output.send(ExecOutput { stream, data }).await;
                    if *ended.0.borrow() {
                        rest = rest.saturating_sub(count);
                    }
                    if rest == 0 {
                        return;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => match &mut ready {
                    Some(ready) => {
                        ready.clear_ready();
                        break;
                    }
                    None => return,
                },
                Err(_) => return,
            }
        }
    }
}

/// Where input goes.
pub(super) enum Sink<'a> {
    /// Ends when it is dropped.
    Pipe(AsyncFd<OwnedFd>),
    /// Our end of it.
    Terminal {
        terminal: &'a Terminal,
        /// Its input is empty.
        silent: bool,
    },
}

/// Hands on what comes, until the sender is gone. Without a sink only takes it.
pub(super) async fn feed(mut sink: Option<Sink<'_>>, feed: Option<mpsc::Receiver<ExecFeed>>) {
    if let Some(Sink::Terminal { terminal, silent }) = &sink
        && (*silent || feed.is_none())
    {
        write(terminal.fd(), END_OF_INPUT).await;
    }
    let Some(mut feed) = feed else { return };
    loop {
        let piece = feed.recv().await;
        let last = piece.is_none();
        let bytes = match (piece, &sink) {
            (Some(ExecFeed::Resize(size)), Some(Sink::Terminal { terminal, .. })) => {
                terminal.resize(size);
                continue;
            }
            (Some(ExecFeed::Resize(_)), _) => continue,
            (Some(ExecFeed::Data(bytes)), _) => Some(bytes),
            (Some(ExecFeed::End) | None, _) => None,
        };
        let over = match (&mut sink, bytes) {
            (Some(Sink::Pipe(pipe)), Some(bytes)) => !write(pipe, &bytes).await,
            (Some(Sink::Pipe(_)), None) => true,
            (Some(Sink::Terminal { terminal, silent }), bytes) if !*silent => {
                *silent = bytes.is_none();
                let bytes = bytes.as_deref().unwrap_or(END_OF_INPUT);
                write(terminal.fd(), bytes).await;
                false
            }
            _ => false,
        };
        if over {
            sink = None;
        }
        if last {
            return;
        }
    }
}

/// `false` when nobody reads it any more.
async fn write(sink: &AsyncFd<OwnedFd>, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let Ok(mut ready) = sink.writable().await else {
            return false;
        };
        match rustix::io::write(sink.get_ref(), bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => ready.clear_ready(),
            Err(_) => return false,
        }
    }
    true
}
