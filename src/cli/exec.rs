//! `exec`: one more program beside an instance, with its output, its input and its exit code.
//!
//! Bytes go both ways as they are ([`crate::http::exec`] says in which frames). Reading standard
//! input and writing the outputs block, so each has a thread; what waits between is bounded.

use super::{Failure, args::ExecArgs, client::Client, terminal};
use crate::{
    fleet::InstanceView,
    http::{
        ExecExit,
        exec::{
            PROTOCOL,
            frame::{Frame, FrameKind},
        },
    },
    model::Name,
};
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use std::{
    io::{self, Read, Write},
    process::ExitCode,
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
    time,
};

/// How often the controller is told that somebody is there.
const PING: Duration = Duration::from_secs(20);
/// Bytes that are read at a time.
const PIECE: usize = 16 * 1024;

pub(super) async fn run(client: &mut Client, args: ExecArgs) -> Result<ExitCode, Failure> {
    let node = match &args.node {
        Some(node) => node.clone(),
        None => only_node(client, &args.workload).await?,
    };
    let mut path = format!(
        "/api/v1/nodes/{node}/workloads/{}/exec?stdin={}",
        args.workload, args.interactive
    );
    for word in &args.command {
        path.push_str(&format!("&command={}", encoded(word)));
    }
    if let Some(ms) = args.timeout {
        path.push_str(&format!("&timeout_ms={ms}"));
    }
    if args.terminal {
        let size = terminal::size();
        path.push_str(&format!("&columns={}&rows={}", size.columns, size.rows));
    }
    // Given back before anything is said about how it ended. Without input, Ctrl-C stays ours.
    let raw = match args.terminal && args.interactive {
        true => Some(terminal::Raw::begin()?),
        false => None,
    };
    let upgraded = client.upgrade(&path, PROTOCOL).await?;
    let ended = converse(TokioIo::new(upgraded), &args).await;
    drop(raw);
    let exit = ended?;
    match exit.exit_code {
        Some(code) => {
            if let Some(message) = exit.message {
                eprintln!("{message}");
            }
            // The program's own, as a shell has it.
            Ok(ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1)))
        }
        None => Err(Failure::new(
            exit.message.unwrap_or_else(|| "it did not run".into()),
        )),
    }
}

/// The node of the only instance.
async fn only_node(client: &mut Client, workload: &Name) -> Result<Name, Failure> {
    let all: Vec<InstanceView> = client.get("/api/v1/instances").await?;
    let own = all.into_iter().filter(|i| i.workload == *workload);
    let nodes: Vec<Name> = own.filter_map(|i| i.node).collect();
    match nodes.as_slice() {
        [node] => Ok(node.clone()),
        [] => Err(Failure::new(format!(
            "{workload} has no instance on any node"
        ))),
        several => {
            let names: Vec<&str> = several.iter().map(Name::as_str).collect();
            Err(Failure::usage(format!(
                "{workload} runs on {} nodes; choose one with --node: {}",
                names.len(),
                names.join(", ")
            )))
        }
    }
}

/// Until the program has ended and everything that it wrote is written.
async fn converse<S>(stream: S, args: &ExecArgs) -> Result<ExecExit, Failure>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + 'static,
{
    let (mut from, mut to) = tokio::io::split(stream);
    let (ups, mut to_send) = mpsc::channel::<Frame>(8);
    let sending = tokio::spawn(async move {
        while let Some(frame) = to_send.recv().await {
            if frame.write(&mut to).await.is_err() {
                return;
            }
        }
    });
    if args.interactive {
        let ups = ups.clone();
        // Not joined: it may be in the middle of a read when the program ends.
        std::thread::spawn(move || read_input(&ups));
    }
    let telling = tokio::spawn(tell(ups, args.terminal));
    let (outs, done) = writer();
    let mut terminated = signal(SignalKind::terminate())?;
    let mut hung_up = signal(SignalKind::hangup())?;
    let receiving = async {
        loop {
            let frame = match Frame::read(&mut from).await {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    return Err(Failure::new(
                        "the connection to the controller ended; the program is killed",
                    ));
                }
                Err(error) => return Err(error.into()),
            };
            match frame.kind {
                FrameKind::Exit => return Ok(serde_json::from_slice(&frame.payload)?),
                FrameKind::Data | FrameKind::Stderr => {
                    let error = frame.kind == FrameKind::Stderr;
                    if outs.send((error, frame.payload)).await.is_err() {
                        // As with a pipe that nobody reads any more.
                        return Ok(ExecExit {
                            exit_code: Some(0),
                            message: None,
                        });
                    }
                }
                _ => {}
            }
        }
    };
    let ended = tokio::select! {
        ended = receiving => ended,
        _ = terminated.recv() => Err(Failure::new("ended by a signal; the program is killed")),
        _ = hung_up.recv() => Err(Failure::new("ended by a signal; the program is killed")),
    };
    telling.abort();
    sending.abort();
    drop(outs);
    let _ = done.await;
    ended
}

/// Standard input, until its end.
fn read_input(ups: &mpsc::Sender<Frame>) {
    let mut input = io::stdin().lock();
    let mut buffer = vec![0; PIECE];
    loop {
        let frame = match input.read(&mut buffer) {
            Ok(0) => Frame::new(FrameKind::End, Bytes::new()),
            Ok(count) => Frame::new(FrameKind::Data, buffer[..count].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => Frame::new(FrameKind::End, Bytes::new()),
        };
        let end = frame.kind == FrameKind::End;
        if ups.blocking_send(frame).is_err() || end {
            return;
        }
    }
}

/// Says that somebody is there, and how large his terminal is.
async fn tell(ups: mpsc::Sender<Frame>, with_terminal: bool) {
    let mut pings = time::interval(PING);
    let mut resized = signal(SignalKind::window_change()).ok();
    let mut known = terminal::size();
    loop {
        let frame = tokio::select! {
            _ = pings.tick() => Frame::new(FrameKind::Ping, Bytes::new()),
            () = changed(&mut resized), if with_terminal => {
                let size = terminal::size();
                if size == known {
                    continue;
                }
                known = size;
                let size = serde_json::to_vec(&size).unwrap_or_default();
                Frame::new(FrameKind::Resize, size)
            }
        };
        if ups.send(frame).await.is_err() {
            return;
        }
    }
}

async fn changed(resized: &mut Option<tokio::signal::unix::Signal>) {
    match resized {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

type Outs = mpsc::Sender<(bool, Bytes)>;

/// A thread that writes to standard output and (`true`) standard error, and says when it is done.
fn writer() -> (Outs, oneshot::Receiver<()>) {
    let (outs, mut to_write) = mpsc::channel::<(bool, Bytes)>(16);
    let (written, done) = oneshot::channel();
    std::thread::spawn(move || {
        while let Some((error, data)) = to_write.blocking_recv() {
            let wrote = if error {
                put(&mut io::stderr().lock(), &data)
            } else {
                put(&mut io::stdout().lock(), &data)
            };
            if wrote.is_err() {
                break;
            }
        }
        let _ = written.send(());
    });
    (outs, done)
}

fn put(to: &mut impl Write, data: &[u8]) -> io::Result<()> {
    to.write_all(data)?;
    to.flush()
}

/// As a value in a query.
fn encoded(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    word.bytes()
        .map(|b| match plain(b) {
            true => char::from(b).to_string(),
            false => format!("%{b:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_in_a_query_as_they_are() {
        assert_eq!(encoded("sh"), "sh");
        assert_eq!(encoded("a b&c=%\n+é"), "a%20b%26c%3D%25%0A%2B%C3%A9");
    }
}
