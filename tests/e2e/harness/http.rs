//! One HTTP request per connection, over any stream: the API of a controller, or of an engine.

use serde_json::Value;
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// For one read; an answer that takes longer is a failure.
const LIMIT: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Lower case.
    pub headers: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("not JSON ({e}), status {}: {}", self.status, self.text()))
    }
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub token: Option<&'a str>,
    pub body: Option<&'a str>,
}

impl Ask<'_> {
    /// Over TCP, as in `127.0.0.1:7070`.
    pub fn tcp(&self, address: &str) -> io::Result<Answer> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(LIMIT))?;
        self.over(stream)
    }

    /// Over a Unix socket.
    pub fn unix(&self, socket: &Path) -> io::Result<Answer> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(LIMIT))?;
        self.over(stream)
    }

    /// Over a Unix socket, with an archive as its body.
    pub fn unix_archive(&self, socket: &Path) -> io::Result<Answer> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(LIMIT))?;
        self.over_as(stream, "application/x-tar")
    }

    fn over(&self, stream: impl Read + Write) -> io::Result<Answer> {
        self.over_as(stream, "application/json")
    }

    fn over_as(&self, mut stream: impl Read + Write, content: &str) -> io::Result<Answer> {
        let body = self.body.unwrap_or_default();
        let authorization = match self.token {
            Some(token) => format!("Authorization: Bearer {token}\r\n"),
            None => String::new(),
        };
        let request = format!(
            "{} {} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{authorization}\
             Content-Type: {content}\r\nContent-Length: {}\r\n\r\n{body}",
            self.method,
            self.path,
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all)?;
        parse(&all).ok_or_else(|| io::Error::other("the answer is not HTTP"))
    }
}

pub fn parse(all: &[u8]) -> Option<Answer> {
    let end = all.windows(4).position(|w| w == b"\r\n\r\n")?;
    let headers = String::from_utf8_lossy(&all[..end]).to_lowercase();
    let status = headers.split(' ').nth(1)?.parse().ok()?;
    let body = &all[end + 4..];
    let body = if headers.contains("transfer-encoding: chunked") {
        unchunk(body)
    } else {
        body.to_vec()
    };
    Some(Answer {
        status,
        headers,
        body,
    })
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = std::str::from_utf8(&rest[..line]).unwrap_or_default();
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        let start = line + 2;
        if size == 0 || rest.len() < start + size {
            break;
        }
        body.extend_from_slice(&rest[start..start + size]);
        rest = rest.get(start + size + 2..).unwrap_or_default();
    }
    body
}
