//! A stream that a server cannot make us read for ever.
//!
//! What speaks HTTP or SMTP above it keeps what it has read of a line or an answer that is not
//! whole yet, and looks through it again with each further line. So it is bounded here, where
//! nothing can get around it: so much in a whole attempt, and so much between two writes of ours
//! (one answer). Beyond that, reading fails with a sentence.

use lettre::transport::smtp::client::AsyncTokioStream;
use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much a server may say, bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// In one attempt.
    pub attempt: usize,
    /// Without a word from us between.
    pub answer: usize,
    /// Line ends in that.
    pub lines: usize,
}

/// For HTTP: heads of answers; of a body at most 16 KiB is waited for.
pub(super) const HTTP: Limits = Limits {
    attempt: 256 * 1024,
    answer: 256 * 1024,
    lines: usize::MAX,
};
/// For SMTP: until the mail is accepted, and with what TLS needs, which comes in one piece of
/// 2 to 10 KiB with the certificates. Answers have some hundred bytes for each of at most 50
/// addresses. One answer is bounded more closely, since looking through it again with each of
/// its lines costs the square of their number. What is encrypted looks like a line end in every
/// 256th byte: 64 of them in an answer.
pub(super) const SMTP: Limits = Limits {
    attempt: 64 * 1024,
    answer: 16 * 1024,
    lines: 256,
};

/// A stream with [`Limits`] for what is read.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    inner: S,
    peer: SocketAddr,
    limits: Limits,
    /// Bytes read so far.
    all: usize,
    /// Bytes read since the last write, and line ends in them.
    answer: usize,
    lines: usize,
}

impl<S> Bounded<S> {
    pub(super) fn new(inner: S, peer: SocketAddr, limits: Limits) -> Bounded<S> {
        Bounded {
            inner,
            peer,
            limits,
            all: 0,
            answer: 0,
            lines: 0,
        }
    }

    fn spent(&self) -> Option<io::Error> {
        let limits = self.limits;
        let limit = if self.all > limits.attempt {
            format!("{} KiB", limits.attempt / 1024)
        } else if self.answer > limits.answer {
            format!("{} KiB", limits.answer / 1024)
        } else if self.lines > limits.lines {
            format!("{} lines", limits.lines)
        } else {
            return None;
        };
        Some(io::Error::other(format!(
            "the server says more than {limit} where a few lines are expected; that is no answer"
        )))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = self.spent() {
            return Poll::Ready(Err(error));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let read = buf.filled().len().saturating_sub(before);
        self.all = self.all.saturating_add(read);
        self.answer = self.answer.saturating_add(read);
        let new = &buf.filled()[before..];
        self.lines += new.iter().filter(|byte| **byte == b'\n').count();
        match self.spent() {
            Some(error) => {
                // Who fails has read nothing.
                buf.set_filled(before);
                Poll::Ready(Err(error))
            }
            None => polled,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        // A stream that is spent stays so.
        if matches!(polled, Poll::Ready(Ok(_))) && self.spent().is_none() {
            self.answer = 0;
            self.lines = 0;
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S> AsyncTokioStream for Bounded<S>
where
    S: AsyncRead + AsyncWrite + Send + Sync + Unpin + fmt::Debug,
{
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

#[cfg(test)]
#[path = "bounded_tests.rs"]
mod tests;
