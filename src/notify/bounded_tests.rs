//! Servers that never stop talking, on real sockets.

use super::*;
use crate::notify::{Kind, MailTls, Receiver, Secret, Smtp, deliver, queue::Outcome, text};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Says `first` (to HTTP when it was asked), and then `again` for ever. Returns where, and how many bytes it got rid of.
async fn talker(
    asked: bool,
    first: &'static str,
    again: &'static str,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let said = Arc::new(AtomicUsize::new(0));
    let counted = said.clone();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        if asked {
            let _ = stream.read(&mut [0; 4_096]).await;
        }
        let many = again.repeat(1_000);
        let _ = stream.write_all(first.as_bytes()).await;
        while let Ok(count) = stream.write(many.as_bytes()).await {
            counted.fetch_add(count, Ordering::Relaxed);
        }
    });
    (address, said)
}

/// One attempt that must end long before its timeout, with a sentence.
async fn attempt(kind: Kind) -> String {
    let receiver = Receiver {
        kind,
        timeout_ms: 60_000,
        ca: None,
    };
    let started = Instant::now();
    let outcome = deliver::attempt(&receiver, &[text::trial(1)], 1).await;
    let took = started.elapsed();
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    match outcome {
        Outcome::Retry { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

fn mail(server: SocketAddr) -> Kind {
    Kind::Smtp(Smtp {
        host: server.ip().to_string(),
        port: server.port(),
        tls: MailTls::None,
        login: None,
        from: "a@b.c".to_owned(),
        to: vec!["a@b.c".to_owned()],
    })
}

/// What the kernel of both sides may hold that nobody has read.
const IN_SOCKETS: usize = 16 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_server_that_never_stops_talking_is_left() {
    for (first, again) in [
        // A line without an end; the shortest lines; and after a greeting as it should be.
        ("220-", "xxxxxxxxxxxxxxxx"),
        ("", "220-\r\n"),
        ("220 mail\r\n", "250-\r\n"),
        ("220 mail\r\n250-x\r\n", "250-SIZE 1\r\n"),
        ("", "\r\n"),
    ] {
        let (server, said) = talker(false, first, again).await;
        let error = attempt(mail(server)).await;
        assert!(error.contains("mail server"), "{error}");
        if !again.starts_with('\r') {
            assert!(error.contains("the server says more than"), "{error}");
        }
        assert!(said.load(Ordering::Relaxed) < IN_SOCKETS, "{first}{again}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_server_that_never_stops_talking_is_left() {
    for (first, again) in [
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("HTTP/1.1 500 x\r\nx: ", "xxxxxxxxxxxxxxxx"),
        ("HTTP/1.1 102 x\r\n", "x: y\r\n"),
    ] {
        let (server, said) = talker(true, first, again).await;
        let url = Secret::Value(format!("http://{server}/"));
        let error = attempt(Kind::Slack { url }).await;
        assert!(!error.contains("no answer within"), "{error}");
        if first.is_empty() {
            assert!(
                error.contains("the server says more than 256 KiB"),
                "{error}"
            );
        }
        assert!(said.load(Ordering::Relaxed) < IN_SOCKETS, "{first}{again}");
    }
}

#[tokio::test]
async fn no_more_than_the_limit_is_ever_handed_on() {
    let limits = Limits {
        attempt: 10_000,
        answer: 4_000,
        lines: 10,
    };
    for speaks in [false, true] {
        let (server, _) = talker(false, "", "0123456789").await;
        let stream = TcpStream::connect(server).await.unwrap();
        let mut bounded = Bounded::new(stream, server, limits);
        let mut got = 0;
        let error = loop {
            let mut buffer = [0; 1_000];
            match bounded.read(&mut buffer).await {
                Ok(count) => got += count,
                Err(error) => break error.to_string(),
            }
            if speaks {
                bounded.write_all(b"x").await.unwrap();
            }
        };
        let most = if speaks {
            limits.attempt
        } else {
            limits.answer
        };
        assert!(got <= most && got > most - 1_000, "{speaks}: {got}");
        assert!(error.contains("the server says more than"), "{error}");
        // Not even after another word.
        let _ = bounded.write_all(b"x").await;
        assert!(bounded.read(&mut [0; 10]).await.is_err());
    }
}
