//! Running one more program beside an instance: `…/nodes/{node}/workloads/{workload}/exec`.
//!
//! **`POST`** with an [`ExecSpec`] runs it, at most 60 s unless `timeout_ms` says otherwise, and
//! answers with its exit code and up to 1 MiB of each of its outputs.
//!
//! **`GET`** with `Upgrade: fleetctl-exec` and the same in the query (`command` once for each word,
//! `stdin`, `columns` and `rows` for a terminal, `timeout_ms`) answers `101` and goes on with
//! frames both ways: one byte of type, four bytes of length (big-endian, at most 64 KiB), payload.
//!
//! | type | to the program | from the program |
//! |---|---|---|
//! | 0 | standard input | standard output (with a terminal, all output) |
//! | 1 | | standard error |
//! | 2 | the terminal's size, `{"columns":80,"rows":24}` | |
//! | 3 | end of the standard input | |
//! | 4 | | the end, `{"exit_code":0}`; without an exit code a `message` says why |
//! | 5 | the client is there: at least every 60 s | |
//!
//! Whoever closes the connection kills the program. A client that does not read slows the program
//! down, and nothing is lost.

pub(crate) mod frame;
mod session;

use super::{auth::Caller, problem::ApiError, workloads::named};
use crate::{
    controller::Controller,
    identity::Role,
    model::{CommandOutcome, ExecSpec, LogStream, TerminalSize, shown},
};
use axum::{
    Json,
    body::Body,
    extract::{
        Path, Query, Request, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use frame::{Frame, FrameKind};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use session::{Piece, Session, Up};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    time,
};
use utoipa::ToSchema;

/// The protocol of interactive sessions.
pub(crate) const PROTOCOL: &str = "fleetctl-exec";
/// Bytes of each output in a plain answer.
const MAX_OUTPUT: usize = 1 << 20;
/// How long a program may run for a plain answer, unless asked otherwise.
const PLAIN_MS: u64 = 60_000;
/// How long an answer may take beside that.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a client may take for the last of the output, which is a few frames.
const TAIL: Duration = Duration::from_secs(90);
/// How long the last frame may take.
const LAST: Duration = Duration::from_secs(10);

/// How a program ended, and what it wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExecResponse {
    /// Its exit code, 128 + n for signal n; null when it could not be run, or not to its end.
    pub exit_code: Option<i32>,
    /// One sentence where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What it wrote; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
    /// It wrote more than 1 MiB to one of the two.
    pub truncated: bool,
}

/// The last frame of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExecExit {
    /// Its exit code, 128 + n for signal n; null when it could not be run, or not to its end.
    pub exit_code: Option<i32>,
    /// One sentence where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl From<CommandOutcome> for ExecExit {
    fn from(outcome: CommandOutcome) -> ExecExit {
        ExecExit {
            exit_code: outcome.exit_code,
            message: outcome.message,
        }
    }
}

#[utoipa::path(post, path = "/api/v1/nodes/{node}/workloads/{workload}/exec", tag = "nodes",
    description = "Runs a program beside an instance and answers when it has ended, with up to \
                   1 MiB of each of its outputs; killed after 60 s unless `timeout_ms` says \
                   otherwise. Its standard input is empty.",
    params(("node" = String, Path), ("workload" = String, Path)), request_body = ExecSpec,
    responses((status = 200, body = ExecResponse), (status = 404, body = super::ProblemDocument),
              (status = 409, body = super::ProblemDocument)))]
pub(super) async fn run(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path((node, workload)): Path<(String, String)>,
    body: Result<Json<ExecSpec>, JsonRejection>,
) -> Result<Json<ExecResponse>, ApiError> {
    let by = caller.need(Role::Operator)?;
    let mut spec = body?.0;
    spec.stdin = false;
    let limit_ms = *spec.timeout_ms.get_or_insert(PLAIN_MS);
    let (node, workload) = (named("node", &node)?, named("workload", &workload)?);
    let session = Session::open(c, by, node.clone(), workload, spec).await?;
    let (out, mut pieces) = mpsc::channel::<Piece>(16);
    let mut written = [Written::default(), Written::default()];
    let collecting = async {
        while let Some(piece) = pieces.recv().await {
            let error = piece.stream == LogStream::Stderr;
            written[usize::from(error)].add(&piece.data);
        }
    };
    let limit = PATIENCE.saturating_add(Duration::from_millis(limit_ms));
    let running = async { tokio::join!(session.run(None, out), collecting).0 };
    let outcome = time::timeout(limit, running).await;
    let outcome = outcome
        .unwrap_or_else(|_| CommandOutcome::failed(format!("{node} did not answer in time")));
    let [stdout, stderr] = written;
    Ok(Json(ExecResponse {
        exit_code: outcome.exit_code,
        message: outcome.message,
        truncated: stdout.more || stderr.more,
        stdout: String::from_utf8_lossy(&stdout.bytes).into_owned(),
        stderr: String::from_utf8_lossy(&stderr.bytes).into_owned(),
    }))
}

/// One output, as far as it is kept.
#[derive(Debug, Default)]
struct Written {
    bytes: Vec<u8>,
    more: bool,
}

impl Written {
    fn add(&mut self, data: &[u8]) {
        let fits = data.len().min(MAX_OUTPUT - self.bytes.len());
        self.bytes.extend_from_slice(&data[..fits]);
        self.more |= fits < data.len();
    }
}

#[utoipa::path(get, path = "/api/v1/nodes/{node}/workloads/{workload}/exec", tag = "nodes",
    description = "Runs a program beside an instance, interactively: needs `Connection: upgrade` \
                   and `Upgrade: fleetctl-exec`, and goes on with frames both ways: one byte of \
                   type, four bytes of length (big-endian, at most 64 KiB), payload. Types: 0 \
                   standard input and output, 1 standard error, 2 the terminal's size as JSON, 3 \
                   end of the standard input, 4 the end as JSON (ExecExit), 5 ping, from the \
                   client at least every 60 s.",
    params(("node" = String, Path), ("workload" = String, Path),
           ("command" = Vec<String>, Query, description = "Program and arguments, once for each word"),
           ("stdin" = Option<bool>, Query, description = "It reads what is sent to it"),
           ("columns" = Option<u16>, Query, description = "With a terminal of this width"),
           ("rows" = Option<u16>, Query, description = "With a terminal of this height"),
           ("timeout_ms" = Option<u64>, Query, description = "Killed after so many milliseconds; a day at most")),
    responses((status = 101, description = "Frames follow"),
              (status = 404, body = super::ProblemDocument),
              (status = 409, body = super::ProblemDocument),
              (status = 426, body = super::ProblemDocument)))]
pub(super) async fn open(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path((node, workload)): Path<(String, String)>,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let by = caller.need(Role::Operator)?;
    let bad = |detail: String| ApiError::new(StatusCode::BAD_REQUEST, detail);
    let spec = spec_of(query?.0).map_err(bad)?;
    let (node, workload) = (named("node", &node)?, named("workload", &workload)?);
    let asked = request.headers().get(header::UPGRADE);
    if asked.is_none_or(|p| !p.as_bytes().eq_ignore_ascii_case(PROTOCOL.as_bytes())) {
        let detail = format!("this goes on with frames: ask with `Upgrade: {PROTOCOL}`, or POST");
        return Err(ApiError::new(StatusCode::UPGRADE_REQUIRED, detail));
    }
    let session = Session::open(c, by, node, workload, spec).await?;
    let upgrading = hyper::upgrade::on(request);
    tokio::spawn(converse(upgrading, session));
    let switching = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, PROTOCOL)
        .body(Body::empty());
    Ok(switching.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()))
}

/// An order out of a query. `Err` is a sentence.
fn spec_of(query: Vec<(String, String)>) -> Result<ExecSpec, String> {
    let mut spec = ExecSpec::default();
    let (mut columns, mut rows) = (None, None);
    for (key, value) in query {
        let wrong = || format!("`{}` is not a value of `{key}`", shown(&value));
        match key.as_str() {
            "command" => spec.command.push(value),
            "stdin" => spec.stdin = value.parse().map_err(|_| wrong())?,
            "columns" => columns = Some(value.parse::<u16>().map_err(|_| wrong())?),
            "rows" => rows = Some(value.parse::<u16>().map_err(|_| wrong())?),
            "timeout_ms" => spec.timeout_ms = Some(value.parse().map_err(|_| wrong())?),
            other => return Err(format!("`{}` is not known here", shown(other))),
        }
    }
    spec.terminal = match (columns, rows) {
        (None, None) => None,
        (Some(columns), Some(rows)) => Some(TerminalSize { columns, rows }),
        _ => return Err("a terminal needs both `columns` and `rows`".into()),
    };
    Ok(spec)
}

async fn converse(upgrading: OnUpgrade, session: Session) {
    // Dropping the session kills the program.
    if let Ok(Ok(upgraded)) = time::timeout(PATIENCE, upgrading).await {
        serve(TokioIo::new(upgraded), session).await;
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send + 'static, session: Session) {
    let (mut from, mut to) = tokio::io::split(stream);
    let (up, ups) = mpsc::channel(8);
    let reading = tokio::spawn(async move {
        // Something that is not understood ends the session as a closed connection does.
        while let Ok(Some(frame)) = Frame::read(&mut from).await {
            let Some(next) = up_of(frame) else { return };
            if up.send(next).await.is_err() {
                return;
            }
        }
    });
    let (out, mut pieces) = mpsc::channel::<Piece>(4);
    let writing = async {
        while let Some(Piece { stream, data }) = pieces.recv().await {
            let kind = match stream {
                LogStream::Stdout => FrameKind::Data,
                LogStream::Stderr => FrameKind::Stderr,
            };
            if Frame::new(kind, data).write(&mut to).await.is_err() {
                break;
            }
        }
        // Closed, so that the session ends when nobody can be written to.
        drop(pieces);
        to
    };
    let mut writing = std::pin::pin!(writing);
    let mut running = std::pin::pin!(session.run(Some(ups), out));
    let (outcome, to) = tokio::select! {
        outcome = &mut running => (outcome, time::timeout(TAIL, writing).await),
        to = &mut writing => (running.await, Ok(to)),
    };
    let Ok(mut to) = to else {
        return reading.abort();
    };
    let exit = serde_json::to_vec(&ExecExit::from(outcome)).unwrap_or_default();
    let last = async {
        let _ = Frame::new(FrameKind::Exit, exit).write(&mut to).await;
        let _ = tokio::io::AsyncWriteExt::shutdown(&mut to).await;
    };
    let _ = time::timeout(LAST, last).await;
    reading.abort();
}

fn up_of(frame: Frame) -> Option<Up> {
    match frame.kind {
        FrameKind::Data => Some(Up::Data(frame.payload)),
        FrameKind::Resize => serde_json::from_slice(&frame.payload).ok().map(Up::Resize),
        FrameKind::End => Some(Up::End),
        FrameKind::Ping => Some(Up::Ping),
        FrameKind::Stderr | FrameKind::Exit => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &[(&str, &str)]) -> Result<ExecSpec, String> {
        let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        spec_of(text.iter().map(own).collect())
    }

    #[test]
    fn an_order_is_read_from_a_query() {
        let spec = query(&[
            ("command", "sh"),
            ("command", "-c"),
            ("command", "echo a&b"),
            ("stdin", "true"),
            ("columns", "80"),
            ("rows", "24"),
            ("timeout_ms", "5000"),
        ]);
        let expected = ExecSpec {
            command: ["sh", "-c", "echo a&b"].map(str::to_owned).into(),
            terminal: Some(TerminalSize {
                columns: 80,
                rows: 24,
            }),
            stdin: true,
            timeout_ms: Some(5000),
        };
        assert_eq!(spec, Ok(expected));
        for wrong in [
            ("stdin", "yes"),
            ("rows", "24"),
            ("columns", "70000"),
            ("timeout_ms", "-1"),
            ("comand", "sh"),
        ] {
            assert!(query(&[("command", "sh"), wrong]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_plain_answer_is_bounded_and_says_so() {
        let mut written = Written::default();
        for _ in 0..MAX_OUTPUT / 1_000 {
            written.add(&[1; 1_000]);
        }
        assert!(!written.more);
        written.add(&[1; 1_000]);
        written.add(&[1; 1_000]);
        assert!(written.more);
        assert_eq!(written.bytes.len(), MAX_OUTPUT);
    }
}
