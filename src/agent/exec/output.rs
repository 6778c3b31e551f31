//! What an exec writes, on its way to the controller: in pieces of some size, and never more ahead
//! of its reader than the window allows.

use super::{super::bulk::Bulk, Control};
use crate::{
    contract::{Kind, Stream},
    model::{LogStream, Name},
    runtime::ExecOutput,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use std::time::Duration;
use tokio::{
    sync::{mpsc, watch},
    time,
};

/// Bytes of one message.
const PIECE: usize = 16 * 1024;
/// How long output may wait for more.
const GATHER: Duration = Duration::from_millis(10);
/// Messages ahead of what the reader has taken.
const WINDOW: u64 = 64;

/// Sends output as [`Stream`] messages.
#[derive(Debug)]
pub(super) struct Output {
    bulk: Bulk,
    command: String,
    workload: Name,
    /// Messages so far.
    sent: u64,
}

impl Output {
    pub(super) fn new(bulk: Bulk, command: String, workload: Name) -> Output {
        Output {
            bulk,
            command,
            workload,
            sent: 0,
        }
    }

    /// Until the program has closed its output and all of it is on its way.
    pub(super) async fn pass_on(
        &mut self,
        mut output: mpsc::Receiver<ExecOutput>,
        mut control: watch::Receiver<Control>,
    ) {
        let mut held = None;
        while let Some(piece) = next_piece(&mut output, &mut held).await {
            // A window full of what nobody has taken: the program waits, as with any slow reader.
            let room = |c: &Control| self.sent < c.taken.saturating_add(WINDOW);
            if control.wait_for(room).await.is_err() {
                return;
            }
            if !self.send(piece.stream, &piece.data).await {
                return;
            }
        }
    }

    /// Says that there will be no more.
    pub(super) async fn end(&mut self) {
        self.send(LogStream::Stdout, &Bytes::new()).await;
    }

    async fn send(&mut self, stream: LogStream, data: &Bytes) -> bool {
        let body = Stream {
            command: self.command.clone(),
            n: self.sent,
            stream,
            data: STANDARD.encode(data),
        };
        let posted = self.bulk.post(Kind::Stream, Some(&self.workload), &body);
        let posted = posted.await;
        self.sent += u64::from(posted);
        posted
    }
}

/// Up to [`PIECE`] bytes of one stream; what does not belong to it stays in `held`.
async fn next_piece(
    output: &mut mpsc::Receiver<ExecOutput>,
    held: &mut Option<ExecOutput>,
) -> Option<ExecOutput> {
    let first = loop {
        let next = match held.take() {
            Some(held) => held,
            None => output.recv().await?,
        };
        // An empty one would mean the end.
        if !next.data.is_empty() {
            break next;
        }
    };
    let stream = first.stream;
    let mut data = BytesMut::from(first.data);
    let gather = async {
        while data.len() < PIECE {
            match output.recv().await {
                Some(more) if more.stream == stream => data.extend_from_slice(&more.data),
                Some(other) => {
                    *held = Some(other);
                    return;
                }
                None => return,
            }
        }
    };
    let _ = time::timeout(GATHER, gather).await;
    if data.len() > PIECE {
        // Only without another stream's output behind it: gathering ends there.
        let rest = data.split_off(PIECE).freeze();
        *held = Some(ExecOutput { stream, data: rest });
    }
    let data = data.freeze();
    Some(ExecOutput { stream, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(stream: LogStream, data: Vec<u8>) -> ExecOutput {
        let data = data.into();
        ExecOutput { stream, data }
    }

    async fn pieces(all: Vec<ExecOutput>) -> Vec<ExecOutput> {
        let (send, mut output) = mpsc::channel(64);
        for one in all {
            send.send(one).await.unwrap();
        }
        drop(send);
        let (mut held, mut out) = (None, Vec::new());
        while let Some(next) = next_piece(&mut output, &mut held).await {
            out.push(next);
        }
        out
    }

    #[tokio::test]
    async fn small_output_of_one_stream_is_gathered_and_streams_keep_their_order() {
        use LogStream::{Stderr, Stdout};
        let got = pieces(vec![
            piece(Stdout, b"a".to_vec()),
            piece(Stdout, Vec::new()),
            piece(Stdout, b"b".to_vec()),
            piece(Stderr, b"!".to_vec()),
            piece(Stdout, b"c".to_vec()),
        ])
        .await;
        let expected = [(Stdout, "ab"), (Stderr, "!"), (Stdout, "c")];
        let expected = expected.map(|(s, d)| piece(s, d.into()));
        assert_eq!(got, expected);
    }

    #[tokio::test]
    async fn no_piece_is_too_large_and_nothing_is_lost() {
        let all: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
        let parts = all.chunks(7_777).map(<[u8]>::to_vec);
        let mut sent: Vec<ExecOutput> = parts.map(|d| piece(LogStream::Stdout, d)).collect();
        sent.push(piece(LogStream::Stderr, vec![1; 40_000]));
        let got = pieces(sent).await;
        assert!(got.iter().all(|p| (1..=PIECE).contains(&p.data.len())));
        let of = |stream| {
            let own = got.iter().filter(|p| p.stream == stream);
            own.flat_map(|p| p.data.to_vec()).collect::<Vec<u8>>()
        };
        assert_eq!(of(LogStream::Stdout), all);
        assert_eq!(of(LogStream::Stderr), vec![1; 40_000]);
    }
}
