//! An HTTP server that misbehaves on order.

use fleetctl::notify::Secret;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Instant,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};

/// How the sink treats one request.
#[derive(Debug, Clone, Copy)]
pub enum Reply {
    Status(u16, &'static str),
    Hang,
    Close,
}

pub const FINE: Reply = Reply::Status(200, "");

/// Records what it is sent; answers as ordered, then with 200.
#[derive(Debug, Clone)]
pub struct Sink {
    pub address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Debug, Clone)]
pub struct Seen {
    pub head: String,
    pub body: String,
    pub at: Instant,
}

impl Sink {
    pub async fn start(replies: &[Reply]) -> Sink {
        Sink::over(replies, None).await
    }

    pub async fn over(replies: &[Reply], tls: Option<tokio_rustls::TlsAcceptor>) -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sink = Sink {
            address: listener.local_addr().unwrap().to_string(),
            seen: Arc::default(),
        };
        let replies: Arc<Mutex<VecDeque<Reply>>> =
            Arc::new(Mutex::new(replies.iter().copied().collect()));
        let seen = sink.seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (replies, seen, tls) = (replies.clone(), seen.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &replies, &seen).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &replies, &seen).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        sink
    }

    pub fn url(&self) -> Secret {
        Secret::Value(format!("http://{}/hook/verysecret", self.address))
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// One request of a connection.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    replies: &Mutex<VecDeque<Reply>>,
    seen: &Mutex<Vec<Seen>>,
) -> Option<()> {
    let mut bytes = Vec::new();
    let (head, body) = loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("content-length: "));
        if body.len() >= length.and_then(|l| l.parse().ok()).unwrap_or(0) {
            break (head, body.to_owned());
        }
    };
    let reply = replies.lock().unwrap().pop_front().unwrap_or(FINE);
    seen.lock().unwrap().push(Seen {
        head,
        body,
        at: Instant::now(),
    });
    let (status, extra) = match reply {
        Reply::Status(status, extra) => (status, extra),
        Reply::Close => return None,
        Reply::Hang => {
            // Until the other side has had enough.
            let _ = stream.read(&mut [0; 1]).await;
            return None;
        }
    };
    // What a clumsy server says about an address that it does not know.
    let text = "cannot POST /hook/verysecret \u{1b}[31m";
    let answer = format!(
        "HTTP/1.1 {status} Whatever\r\n{extra}content-length: {}\r\n\r\n{text}",
        text.len()
    );
    stream.write_all(answer.as_bytes()).await.ok()?;
    stream.flush().await.ok()
}
