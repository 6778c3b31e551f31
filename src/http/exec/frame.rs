//! The frames of an interactive exec, the same both ways: one byte of type, four bytes of length
//! (big-endian, at most 64 KiB), and the payload.

use bytes::Bytes;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of a payload.
pub(crate) const MAX_FRAME: usize = 64 * 1024;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// To the program: standard input. From it: standard output.
    Data,
    /// From the program: standard error.
    Stderr,
    /// To the program: the terminal's size, as JSON.
    Resize,
    /// To the program: its standard input ends.
    End,
    /// From the program, the last: how it ended, as JSON.
    Exit,
    /// Somebody is there; without a payload.
    Ping,
}

impl FrameKind {
    const ALL: [FrameKind; 6] = [
        FrameKind::Data,
        FrameKind::Stderr,
        FrameKind::Resize,
        FrameKind::End,
        FrameKind::Exit,
        FrameKind::Ping,
    ];
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: FrameKind,
    pub(crate) payload: Bytes,
}

impl Frame {
    pub(crate) fn new(kind: FrameKind, payload: impl Into<Bytes>) -> Frame {
        let payload = payload.into();
        Frame { kind, payload }
    }

    /// The next frame; `None` at the end, also when that is within a frame. It must not be broken
    /// off: what was read of a frame would be lost.
    pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
        let mut head = [0; 5];
        match from.read_exact(&mut head).await {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let [kind, length @ ..] = head;
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let kind = FrameKind::ALL.get(usize::from(kind));
        let kind = *kind.ok_or_else(|| wrong("a frame of an unknown type came"))?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_FRAME {
            return Err(wrong("a frame came that is too large"));
        }
        let mut payload = vec![0; length];
        match from.read_exact(&mut payload).await {
            Ok(_) => Ok(Some(Frame::new(kind, payload))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it, in parts where it is larger than a frame may be.
    pub(crate) async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let mut rest = &self.payload[..];
        loop {
            let (part, after) = rest.split_at(rest.len().min(MAX_FRAME));
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            let mut bytes = Vec::with_capacity(5 + part.len());
            bytes.push(self.kind as u8);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(part);
            to.write_all(&bytes).await?;
            rest = after;
            if rest.is_empty() {
                return to.flush().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_read_as_they_are_written() {
        let mut bytes = Vec::new();
        let frames = FrameKind::ALL.map(|kind| Frame::new(kind, vec![kind as u8; 3]));
        for frame in &frames {
            frame.write(&mut bytes).await.unwrap();
        }
        assert_eq!(bytes[..8], [0, 0, 0, 0, 3, 0, 0, 0]);
        let mut from = &bytes[..];
        for frame in frames {
            assert_eq!(Frame::read(&mut from).await.unwrap(), Some(frame));
        }
        assert_eq!(Frame::read(&mut from).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_too_large_is_written_in_parts_and_not_read() {
        let mut bytes = Vec::new();
        let all = vec![7; MAX_FRAME + 1];
        let frame = Frame::new(FrameKind::Data, all.clone());
        frame.write(&mut bytes).await.unwrap();
        let mut from = &bytes[..];
        let mut back = Vec::new();
        while let Some(part) = Frame::read(&mut from).await.unwrap() {
            back.extend_from_slice(&part.payload);
        }
        assert_eq!(back, all);
        for wrong in [[0, 0, 1, 0, 1], [6, 0, 0, 0, 0], [255, 255, 255, 255, 255]] {
            let read = Frame::read(&mut &wrong[..]).await;
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        for short in [&[][..], &[0, 0], &[0, 0, 0, 0, 9, 1]] {
            assert_eq!(Frame::read(&mut &short[..]).await.unwrap(), None);
        }
    }
}
