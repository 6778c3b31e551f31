//! The requests of the local socket, each turned into a [`LocalRequest`]. What instances wrote is
//! read here, past the agent's loop.

use super::{LocalLine, LocalRequest, LocalStatus, Located};
use crate::{
    http::ProblemDocument,
    model::{LogLine, LogQuery, LogStream, Name},
    supervisor::LocalOrder,
};
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::stream;
use serde::Deserialize;
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time,
};

/// For an answer that the loop has at hand.
const AT_ONCE: Duration = Duration::from_secs(10);
/// For an order: a stop may take its time.
const ORDER: Duration = Duration::from_secs(600);
/// Readers of logs at the same time.
const MAX_READERS: usize = 16;
/// The most lines that `tail` gives.
const MAX_TAIL: u32 = 10_000;
/// Lines that follow are asked for anew so often.
const FOLLOW_MS: u64 = 3_600_000;
/// Between two looks for an instance that is not there at the moment.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Bytes that are passed on at once.
const BATCH_BYTES: usize = 64 * 1024;

/// All routes.
pub(super) fn router(requests: mpsc::Sender<LocalRequest>) -> Router {
    let ask = Ask {
        requests,
        readers: Arc::new(Semaphore::new(MAX_READERS)),
    };
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/reload", post(reload))
        .route("/v1/down", post(down))
        .route("/v1/workloads/{name}/start", post(start))
        .route("/v1/workloads/{name}/stop", post(stop))
        .route("/v1/workloads/{name}/restart", post(restart))
        .route("/v1/workloads/{name}/logs", get(logs))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .with_state(ask)
}

/// Asks the agent's loop.
#[derive(Clone)]
struct Ask {
    requests: mpsc::Sender<LocalRequest>,
    readers: Arc<Semaphore>,
}

impl Ask {
    async fn ask<T>(
        &self,
        limit: Duration,
        request: impl FnOnce(oneshot::Sender<T>) -> LocalRequest,
    ) -> Result<T, Refused> {
        let (reply, answer) = oneshot::channel();
        let sent = time::timeout(AT_ONCE, self.requests.send(request(reply))).await;
        if !matches!(sent, Ok(Ok(()))) {
            return Err(Refused(
                StatusCode::SERVICE_UNAVAILABLE,
                "the agent is busy or is about to end; try again".to_owned(),
            ));
        }
        match time::timeout(limit, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Refused(
                StatusCode::SERVICE_UNAVAILABLE,
                "the agent gave no answer: it ends, or it was told something else meanwhile"
                    .to_owned(),
            )),
            Err(_) => Err(Refused(
                StatusCode::GATEWAY_TIMEOUT,
                format!("it is not done after {} s, and goes on", limit.as_secs()),
            )),
        }
    }

    async fn done(
        &self,
        request: impl FnOnce(super::Reply) -> LocalRequest,
    ) -> Result<StatusCode, Refused> {
        match self.ask(ORDER, request).await? {
            Ok(()) => Ok(StatusCode::NO_CONTENT),
            Err(message) => Err(Refused(StatusCode::CONFLICT, message)),
        }
    }

    async fn locate(&self, workload: &Name) -> Result<Located, Refused> {
        let found = self
            .ask(AT_ONCE, |reply| {
                LocalRequest::Locate(workload.clone(), reply)
            })
            .await?;
        found.map_err(|message| Refused(StatusCode::NOT_FOUND, message))
    }
}

/// Why not: a status and one sentence.
struct Refused(StatusCode, String);

impl From<QueryRejection> for Refused {
    fn from(rejection: QueryRejection) -> Refused {
        Refused(rejection.status(), rejection.body_text())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Refused(status, detail) = self;
        let document = ProblemDocument {
            kind: "about:blank".into(),
            title: status.canonical_reason().unwrap_or("Error").into(),
            status: status.as_u16(),
            detail,
            problems: Vec::new(),
        };
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        (status, kind, Json(document)).into_response()
    }
}

async fn nothing(uri: Uri) -> Refused {
    Refused(
        StatusCode::NOT_FOUND,
        format!("an agent does not answer this at {}", uri.path()),
    )
}

async fn status(State(ask): State<Ask>) -> Result<Json<LocalStatus>, Refused> {
    ask.ask(AT_ONCE, LocalRequest::Status).await.map(Json)
}

async fn reload(State(ask): State<Ask>) -> Result<StatusCode, Refused> {
    ask.done(LocalRequest::Reload).await
}

async fn down(State(ask): State<Ask>) -> Result<StatusCode, Refused> {
    ask.done(LocalRequest::Down).await
}

async fn start(State(ask): State<Ask>, name: Path<String>) -> Result<StatusCode, Refused> {
    order(ask, name, LocalOrder::Start).await
}

async fn stop(State(ask): State<Ask>, name: Path<String>) -> Result<StatusCode, Refused> {
    order(ask, name, LocalOrder::Stop).await
}

async fn restart(State(ask): State<Ask>, name: Path<String>) -> Result<StatusCode, Refused> {
    order(ask, name, LocalOrder::Restart).await
}

async fn order(
    ask: Ask,
    Path(name): Path<String>,
    order: LocalOrder,
) -> Result<StatusCode, Refused> {
    let workload = named(&name)?;
    ask.done(|reply| LocalRequest::Order(workload, order, reply))
        .await
}

fn named(name: &str) -> Result<Name, Refused> {
    name.parse()
        .map_err(|error: crate::model::NameError| Refused(StatusCode::NOT_FOUND, error.to_string()))
}

/// Which lines.
#[derive(Debug, Clone, Default, Deserialize)]
struct Part {
    tail: Option<u32>,
    since: Option<u64>,
    until: Option<u64>,
    stream: Option<LogStream>,
    #[serde(default)]
    follow: bool,
}

async fn logs(
    State(ask): State<Ask>,
    Path(name): Path<String>,
    part: Result<Query<Part>, QueryRejection>,
) -> Result<Response, Refused> {
    let part = part?.0;
    let workload = named(&name)?;
    let place = ask.readers.clone().try_acquire_owned().map_err(|_| {
        let message = format!("{MAX_READERS} readers of logs are open already");
        Refused(StatusCode::SERVICE_UNAVAILABLE, message)
    })?;
    let located = ask.locate(&workload).await?;
    let (out, queue) = mpsc::channel::<Bytes>(16);
    let query = LogQuery {
        tail: part.tail.map(|n| n.min(MAX_TAIL)),
        since_ns: part.since,
        until_ns: part.until,
        stream: part.stream,
        follow_ms: part.follow.then_some(FOLLOW_MS),
    };
    let reader = Reader {
        ask,
        workload,
        query,
        out,
    };
    tokio::spawn(reader.run(located));
    let body = stream::unfold((queue, place), |(mut queue, place)| async move {
        let bytes = queue.recv().await?;
        Some((Ok::<_, Infallible>(bytes), (queue, place)))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(body)).into_response())
}

/// Reads what one instance wrote, and its successors with `follow`.
struct Reader {
    ask: Ask,
    workload: Name,
    query: LogQuery,
    out: mpsc::Sender<Bytes>,
}

impl Reader {
    async fn run(mut self, mut located: Located) {
        loop {
            let read = self.pass(&located).await;
            if self.query.follow_ms.is_none() {
                if let Err(error) = read {
                    self.end(error).await;
                }
                return;
            }
            // Replaced by another one, or its engine is in trouble: go on where this ended.
            self.query.tail = None;
            located = loop {
                tokio::select! {
                    () = self.out.closed() => return,
                    () = time::sleep(LOOK_AGAIN) => {}
                }
                match self.ask.locate(&self.workload).await {
                    Ok(located) => break located,
                    Err(Refused(status, _)) if status == StatusCode::NOT_FOUND => {}
                    // The agent ends.
                    Err(Refused(_, message)) => return self.end(message).await,
                }
            };
        }
    }

    /// All lines of one instance, or those until it is gone.
    async fn pass(&mut self, located: &Located) -> Result<(), String> {
        let (lines, mut queue) = mpsc::channel::<LogLine>(256);
        let (query, out) = (self.query.clone(), self.out.clone());
        let reading = located.runtime.logs(&located.handle, &query, lines);
        let cursor = &mut self.query.since_ns;
        // Owns the queue: when nobody reads any more, the runtime is not to go on either.
        let passing = async move {
            while let Some(line) = queue.recv().await {
                let mut bytes = Vec::new();
                let mut next = Some(line);
                while let Some(line) = next {
                    *cursor = Some(cursor.unwrap_or(0).max(line.time_ns));
                    encode(&mut bytes, Some(line), None);
                    next = match bytes.len() < BATCH_BYTES {
                        true => queue.try_recv().ok(),
                        false => None,
                    };
                }
                if out.send(bytes.into()).await.is_err() {
                    return;
                }
            }
        };
        let (read, ()) = tokio::join!(reading, passing);
        read.map_err(|error| error.to_string())
    }

    async fn end(&self, error: String) {
        let mut bytes = Vec::new();
        encode(&mut bytes, None, Some(error));
        let _ = self.out.send(bytes.into()).await;
    }
}

fn encode(bytes: &mut Vec<u8>, line: Option<LogLine>, error: Option<String>) {
    let line = LocalLine { line, error };
    // Writing plain data into memory does not fail.
    let _ = serde_json::to_writer(&mut *bytes, &line);
    bytes.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;
    use tower_service::Service;

    /// Answers each request with what `answer` does to it.
    fn app(mut answer: impl FnMut(LocalRequest) + Send + 'static) -> Router {
        let (requests, mut queue) = mpsc::channel(4);
        tokio::spawn(async move {
            while let Some(request) = queue.recv().await {
                answer(request);
            }
        });
        router(requests)
    }

    async fn ask(app: &mut Router, method: &str, path: &str) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::empty()).unwrap();
        let Ok(response) = app.call(request).await;
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await;
        (status, String::from_utf8(body.unwrap().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn orders_reach_the_loop_and_its_refusals_come_back_in_words() {
        let mut app = app(|request| match request {
            LocalRequest::Order(name, LocalOrder::Stop, reply) if name.as_str() == "web" => {
                let _ = reply.send(Ok(()));
            }
            LocalRequest::Order(name, _, reply) => {
                let _ = reply.send(Err(format!("{name} is not here")));
            }
            LocalRequest::Locate(_, reply) => {
                let _ = reply.send(Err("nothing has been started".into()));
            }
            // Dropped: as when the agent ends.
            _ => {}
        });
        for (method, path, status, words) in [
            ("POST", "/v1/workloads/web/stop", 204, ""),
            ("POST", "/v1/workloads/db/restart", 409, "db is not here"),
            (
                "POST",
                "/v1/workloads/Web/start",
                404,
                "`Web` is not a name",
            ),
            (
                "GET",
                "/v1/workloads/web/logs",
                404,
                "nothing has been started",
            ),
            ("GET", "/v1/workloads/web/logs?tail=x", 400, "tail"),
            ("POST", "/v1/down", 503, "no answer"),
            ("DELETE", "/v1/status", 404, "/v1/status"),
            ("GET", "/elsewhere", 404, "/elsewhere"),
        ] {
            let (got, body) = ask(&mut app, method, path).await;
            assert_eq!(got.as_u16(), status, "{method} {path}: {body}");
            assert!(body.contains(words), "{method} {path}: {body}");
        }
    }
}
