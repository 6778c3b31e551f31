//! One more program in a container.
//!
//! | file | what |
//! |---|---|
//! | this one | creates it, starts it, feeds it, reads it |
//! | [`frames`] | its output out of the connection's bytes |
//! | [`complaint`] | an engine's words in place of its output |
//! | [`kill`] | its end, when nobody waits for it any more |
//! | [`terminal`] | the size of its terminal |
//!
//! ```text
//! create ─► start, which turns the connection into the program's streams ─► exit code by inspect
//! ```
//!
//! Without a terminal the engine sends frames (a stream's number and a length before each piece),
//! with one it sends what the terminal shows. A connection is spoken to by hand: bollard takes the
//! first byte of a terminal's output for a frame's header and then waits for, and keeps, as many
//! bytes as that says.
//!
//! Neither engine ends a program whose connection is closed, so it is killed by its process id.
//! Podman keeps a small process (`conmon`) for five minutes after each program that it ran;
//! `exec_command_delay` in its containers.conf is shorter.

mod complaint;
mod frames;
mod kill;
mod terminal;

use self::{
    complaint::Complaint,
    frames::{CHUNK, Frames},
    kill::Killer,
    terminal::keep_sized,
};
use super::{
    CALL_LIMIT, START_LIMIT, connect,
    fault::Fault,
    limited,
    sentence::{About, explain},
};
use crate::{
    model::{ExecSpec, RuntimeKind, TerminalSize},
    runtime::{ExecFeed, ExecOutput, RuntimeError},
};
use bollard::models::ExecConfig;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use std::{path::Path, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf},
    net::UnixStream,
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

/// The longest time that a program may be given.
const TIMEOUT_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
/// Between two questions whether something that follows at once has happened.
const ASK_EVERY: Duration = Duration::from_millis(50);

type Streams = TokioIo<hyper::upgrade::Upgraded>;

/// [`crate::runtime::Runtime::exec`] of both engines.
pub(crate) async fn run(
    socket: &Path,
    kind: RuntimeKind,
    container: &str,
    exec: &ExecSpec,
    output: mpsc::Sender<ExecOutput>,
    feed: Option<mpsc::Receiver<ExecFeed>>,
) -> Result<i32, RuntimeError> {
    let program = exec.command.first().map(String::as_str);
    let Some(named) = program.filter(|word| !word.is_empty()) else {
        return Err(RuntimeError::Refused(
            "there is no program to run: its command is empty".to_owned(),
        ));
    };
    let of = |fault: Fault| sentence(&fault, kind, container, named);
    let id = create(socket, container, exec).await.map_err(of)?;
    // From here on the program may run, and ends with this future.
    let killer = Killer::new(socket, &id);
    let running = async {
        let streams = start(socket, &id, exec.terminal).await?;
        let (read, write) = tokio::io::split(streams);
        let feeding = feed_all(socket, &id, exec, write, feed);
        let reading = read_all(read, exec.terminal.is_some(), &output);
        tokio::pin!(feeding, reading);
        let complaint = tokio::select! {
            complaint = &mut reading => complaint?,
            () = &mut feeding => reading.await?,
        };
        Ok((exit_code(socket, &id).await?, complaint))
    };
    let ended = match exec.timeout_ms {
        None => running.await,
        Some(ms) => match timeout(Duration::from_millis(ms).min(TIMEOUT_LIMIT), running).await {
            Ok(ended) => ended,
            Err(_) => {
                killer.kill().await;
                return Err(RuntimeError::Failed(format!(
                    "`{named}` took longer than {ms} ms and was killed"
                )));
            }
        },
    };
    let (code, complaint) = ended.map_err(of)?;
    killer.disarm();
    match complaint {
        // What ends well has run: those were its own words.
        Some(complaint) if code == 0 => {
            for piece in complaint.pieces {
                let _ = output.send(piece).await;
            }
            Ok(code)
        }
        Some(complaint) => Err(of(Fault::said(complaint.sentence()))),
        None => Ok(code),
    }
}

/// A fault of running something in a container, which is seldom one of the container itself.
fn sentence(fault: &Fault, kind: RuntimeKind, container: &str, program: &str) -> RuntimeError {
    if fault.cannot_run_more() {
        return RuntimeError::Refused(format!(
            "`{program}` cannot be run in container {}: it is not running",
            short(container)
        ));
    }
    let words = fault.words();
    let has = |needle: &str| words.contains(needle);
    if has("executable file not found")
        || has("command that was not found")
        || has("no such file or directory")
        || (has("executable file `") && has("not found"))
    {
        return RuntimeError::Refused(format!(
            "`{program}` was not found in container {}",
            short(container)
        ));
    }
    if has("permission denied") && has("exec") {
        return RuntimeError::Refused(format!(
            "`{program}` in container {} is not a program that may be executed",
            short(container)
        ));
    }
    let about = About {
        kind,
        handle: container,
        image: "of the container",
        program: Some(program),
    };
    match explain(fault, &about) {
        RuntimeError::Failed(text) if has("oci ") => RuntimeError::Refused(text),
        other => other,
    }
}

/// As engines show ids.
fn short(container: &str) -> &str {
    container.get(..12).unwrap_or(container)
}

async fn create(socket: &Path, container: &str, exec: &ExecSpec) -> Result<String, Fault> {
    let config = ExecConfig {
        attach_stdin: Some(exec.stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(exec.terminal.is_some()),
        cmd: Some(exec.command.clone()),
        ..ExecConfig::default()
    };
    let engine = connect(socket)?;
    Ok(limited(CALL_LIMIT, engine.create_exec(container, config))
        .await?
        .id)
}

/// Starts it; what is left of the connection are its streams.
async fn start(socket: &Path, id: &str, terminal: Option<TerminalSize>) -> Result<Streams, Fault> {
    let lost = |error: hyper::Error| Fault::Unreachable(error.to_string());
    let starting = async {
        let stream = UnixStream::connect(socket)
            .await
            .map_err(|error| Fault::Unreachable(error.to_string()))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(lost)?;
        // Ends with the connection, which ends with the streams.
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection of a program ended");
            }
        });
        let mut body = serde_json::json!({ "Detach": false, "Tty": terminal.is_some() });
        // From the beginning, where the engine can: Podman, and Docker since 23.0. The others
        // are told in a moment.
        if let Some(size) = terminal {
            body["h"] = size.rows.into();
            body["w"] = size.columns.into();
            body["ConsoleSize"] = serde_json::json!([size.rows, size.columns]);
        }
        let request = hyper::Request::post(format!("/exec/{id}/start"))
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("connection", "Upgrade")
            .header("upgrade", "tcp")
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|error| Fault::said(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(lost)?;
        if response.status() == hyper::StatusCode::SWITCHING_PROTOCOLS {
            return Ok(TokioIo::new(
                hyper::upgrade::on(response).await.map_err(lost)?,
            ));
        }
        let status = response.status().as_u16();
        let body = http_body_util::Limited::new(response.into_body(), CHUNK)
            .collect()
            .await;
        let bytes = body.map(|body| body.to_bytes()).unwrap_or_default();
        Err(Fault::Said {
            status,
            text: message_of(&bytes),
        })
    };
    limited(START_LIMIT, starting).await
}

/// `{"message": "…"}`, or the bytes themselves.
fn message_of(bytes: &[u8]) -> String {
    let json: Option<serde_json::Value> = serde_json::from_slice(bytes).ok();
    let message = json.as_ref().and_then(|json| json.get("message")?.as_str());
    message.map_or_else(
        || String::from_utf8_lossy(bytes).into_owned(),
        str::to_owned,
    )
}

/// Gives the program what it is sent, until that ends.
async fn feed_all(
    socket: &Path,
    id: &str,
    exec: &ExecSpec,
    write: impl AsyncWrite + Unpin,
    feed: Option<mpsc::Receiver<ExecFeed>>,
) {
    let (size, sizes) = watch::channel(exec.terminal);
    let sizing = keep_sized(socket, id, sizes);
    let feeding = feed_each(exec, write, feed, size);
    tokio::join!(sizing, feeding);
}

async fn feed_each(
    exec: &ExecSpec,
    mut write: impl AsyncWrite + Unpin,
    feed: Option<mpsc::Receiver<ExecFeed>>,
    newest: watch::Sender<Option<TerminalSize>>,
) {
    let mut open = exec.stdin;
    if let Some(mut feed) = feed {
        while let Some(next) = feed.recv().await {
            match next {
                // A program that does not read any more is no reason to stop it.
                ExecFeed::Data(bytes) if open => open = write.write_all(&bytes).await.is_ok(),
                ExecFeed::End if open => {
                    let _ = write.shutdown().await;
                    open = false;
                }
                ExecFeed::Resize(size) if exec.terminal.is_some() => {
                    newest.send_replace(Some(size));
                }
                _ => {}
            }
        }
    }
    if open {
        let _ = write.shutdown().await;
    }
    // Its half stays: for Podman the program is over when that goes.
    std::future::pending().await
}

/// Passes on what it writes, until it closes its streams. `Some`: it wrote nothing but what may
/// be an engine's complaint.
async fn read_all(
    mut read: ReadHalf<Streams>,
    tty: bool,
    output: &mpsc::Sender<ExecOutput>,
) -> Result<Option<Complaint>, Fault> {
    let mut frames = Frames::new(tty);
    let mut buffer = BytesMut::with_capacity(CHUNK);
    let mut complaint = Some(Complaint::default());
    loop {
        buffer.reserve(CHUNK);
        // An end of the connection by an error is its end, too: how the program ended is asked.
        let count = read.read_buf(&mut buffer).await.unwrap_or(0);
        if count == 0 {
            break;
        }
        while let Some(piece) = frames.next(&mut buffer) {
            if let Some(held) = &mut complaint {
                if held.goes_on_with(&piece.data) {
                    held.pieces.push(piece);
                    continue;
                }
                // Those were a program's own words.
                let before = complaint.take().unwrap_or_default();
                for piece in before.pieces {
                    let _ = output.send(piece).await;
                }
            }
            if output.send(piece).await.is_err() {
                // Nobody reads; it goes on to its end all the same.
                tracing::trace!("output of a program that nobody reads");
            }
        }
    }
    Ok(complaint.filter(|held| !held.pieces.is_empty()))
}

/// Known a moment after the streams are closed; a program that closes its streams and goes on is
/// waited for.
async fn exit_code(socket: &Path, id: &str) -> Result<i32, Fault> {
    let mut wait = ASK_EVERY / 10;
    loop {
        let engine = connect(socket)?;
        let inspected = limited(CALL_LIMIT, engine.inspect_exec(id)).await?;
        if inspected.running != Some(true) {
            let code = inspected.exit_code.unwrap_or(0);
            return Ok(i32::try_from(code).unwrap_or(1));
        }
        sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_run_is_refused_with_a_sentence() {
        let cases = [
            (
                "OCI runtime exec failed: exec failed: unable to start container process: exec: \
                 \"nope\": executable file not found in $PATH: unknown",
                "`nope` was not found in container 0123456789ab",
            ),
            (
                "runc: exec failed: unable to start container process: exec: \"nope\": \
                 executable file not found in $PATH: OCI runtime attempted to invoke a command \
                 that was not found",
                "`nope` was not found in container 0123456789ab",
            ),
            (
                "OCI runtime exec failed: exec failed: unable to start container process: exec: \
                 \"/etc/passwd\": permission denied: unknown",
                "`nope` in container 0123456789ab is not a program that may be executed",
            ),
            (
                "Container 0123456789abcdef is not running",
                "`nope` cannot be run in container 0123456789ab: it is not running",
            ),
            (
                "can only create exec sessions on running containers: container state improper",
                "`nope` cannot be run in container 0123456789ab: it is not running",
            ),
        ];
        for (text, expected) in cases {
            let error = sentence(
                &Fault::said(text),
                RuntimeKind::Docker,
                "0123456789abcdef",
                "nope",
            );
            assert_eq!(error, RuntimeError::Refused(expected.to_owned()));
        }
    }

    #[test]
    fn an_engines_answer_is_read_with_or_without_json() {
        assert_eq!(message_of(br#"{"message":"no"}"#), "no");
        assert_eq!(message_of(b"plain"), "plain");
    }
}
