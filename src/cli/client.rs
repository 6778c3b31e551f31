//! The HTTP client of the operator's commands: HTTP/1.1, plain to loopback, TLS elsewhere, one
//! connection for all requests of a command.
//!
//! A request that changes something names the command's trace. One that only looks does so where
//! somebody follows this command (it sends spans itself, or was given a trace), and only the first
//! of each route: what is asked again and again, as `top` and whoever waits do, would fill a
//! collector with spans that nobody looks for. Without a trace it makes none at the controller.

use super::{Failure, context::Target, output};
use crate::{
    blobs::ContentRange,
    http::{Page, ProblemDocument, UploadView, VersionView},
    identity::{ServerTrust, client_config},
    manifest::Problems,
    model::TraceContext,
    trace,
};
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{net::TcpStream, time};
use tokio_rustls::TlsConnector;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// Routes of which the first request that only looks makes a span, at most; no command asks so many.
const MAX_ROUTES: usize = 64;
/// What an answer may have: a fleet's whole list.
const MAX_ANSWER: usize = 256 << 20;

/// Talks to one controller.
pub(super) struct Client {
    target: Target,
    connection: Option<SendRequest<Full<Bytes>>>,
    /// Of all its requests.
    trace: TraceContext,
    looks: Looks,
}

impl Client {
    pub(super) fn new(target: Target) -> Client {
        Client {
            target,
            connection: None,
            trace: trace::fresh(),
            looks: Looks::default(),
        }
    }

    /// Its requests are a part of this from now on. `followed`: somebody wants to see also those that
    /// only look.
    pub(super) fn belong_to(&mut self, trace: TraceContext, followed: bool) {
        self.trace = trace;
        self.looks = Looks(followed.then(Arc::default));
    }

    /// The trace of its requests, 32 hex digits.
    pub(super) fn trace_id(&self) -> String {
        self.trace.trace_id()
    }

    /// Another one for the same controller, with a connection of its own.
    pub(super) fn another(&self) -> Client {
        Client {
            trace: self.trace,
            looks: self.looks.clone(),
            ..Client::new(self.target.clone())
        }
    }

    /// Address of the controller.
    pub(super) fn url(&self) -> &str {
        &self.target.url
    }

    pub(super) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Failure> {
        self.ask(Method::GET, path, None::<&()>).await
    }

    /// All pages of a list.
    pub(super) async fn list<T: DeserializeOwned>(
        &mut self,
        path: &str,
    ) -> Result<Vec<T>, Failure> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let join = if path.contains('?') { '&' } else { '?' };
            let page: Page<T> = self.get(&format!("{path}{join}after={after}")).await?;
            all.extend(page.items);
            match page.next {
                Some(next) => after = next,
                None => return Ok(all),
            }
        }
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// A request without an answer to read.
    pub(super) async fn order(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<(), Failure> {
        let response = self.send(method, path, body).await?;
        read(response).await.map(drop)
    }

    async fn ask<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, Failure> {
        let response = self.send(method, path, body).await?;
        let bytes = read(response).await?;
        serde_json::from_slice(&bytes).map_err(|e| {
            Failure::new(format!(
                "the controller's answer is not understood ({e}); is it of another version?"
            ))
        })
    }

    /// An answer that comes line by line.
    pub(super) async fn stream(&mut self, path: &str) -> Result<Lines, Failure> {
        let response = self.send(Method::GET, path, None::<&()>).await?;
        if !response.status().is_success() {
            return Err(problem(response).await);
        }
        Ok(Lines {
            body: response.into_body(),
            buffer: Vec::new(),
        })
    }

    /// The same for what is ordered.
    pub(super) async fn stream_post(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Lines, Failure> {
        let response = self.send(Method::POST, path, Some(body)).await?;
        if !response.status().is_success() {
            return Err(problem(response).await);
        }
        Ok(Lines {
            body: response.into_body(),
            buffer: Vec::new(),
        })
    }

    /// A piece of a blob.
    pub(super) async fn put_piece(
        &mut self,
        path: &str,
        range: ContentRange,
        bytes: Vec<u8>,
    ) -> Result<UploadView, Failure> {
        let extra = (header::CONTENT_RANGE, range.to_string());
        let response = self
            .exchange(Method::PUT, path, bytes, Extra::Header(extra))
            .await?;
        let bytes = read(response).await?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// A connection that goes on with another protocol.
    pub(super) async fn upgrade(
        &mut self,
        path: &str,
        protocol: &'static str,
    ) -> Result<hyper::upgrade::Upgraded, Failure> {
        let response = self
            .exchange(Method::GET, path, Vec::new(), Extra::Upgrade(protocol))
            .await?;
        if response.status() != hyper::StatusCode::SWITCHING_PROTOCOLS {
            return Err(problem(response).await);
        }
        self.connection = None;
        hyper::upgrade::on(response)
            .await
            .map_err(|e| lost(&self.target.url, &e))
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Response<Incoming>, Failure> {
        let bytes = match body {
            Some(body) => serde_json::to_vec(body)?,
            None => Vec::new(),
        };
        self.exchange(method, path, bytes, Extra::Nothing).await
    }

    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        bytes: Vec<u8>,
        extra: Extra,
    ) -> Result<Response<Incoming>, Failure> {
        let connection = match self.connection.take().filter(|c| !c.is_closed()) {
            Some(connection) => connection,
            None => connect(&self.target).await?,
        };
        let mut connection = connection;
        connection
            .ready()
            .await
            .map_err(|e| lost(&self.target.url, &e))?;
        let traced = self.looks.names_trace(&method, path);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.target.authority())
            .header(header::CONTENT_TYPE, "application/json");
        if traced {
            request = request.header("traceparent", self.trace.to_string());
        }
        if let Some(token) = &self.target.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        request = match extra {
            Extra::Nothing => request,
            Extra::Header((name, value)) => request.header(name, value),
            Extra::Upgrade(protocol) => request
                .header(header::CONNECTION, "upgrade")
                .header(header::UPGRADE, protocol),
        };
        let request = request.body(Full::new(Bytes::from(bytes))).map_err(|_| {
            Failure::usage("the token or address has characters that cannot be sent")
        })?;
        let response = connection
            .send_request(request)
            .await
            .map_err(|e| lost(&self.target.url, &e))?;
        self.connection = Some(connection);
        Ok(response)
    }

    /// The controller can do its work.
    pub(super) async fn ready(&mut self) -> Result<(), Failure> {
        let response = self.send(Method::GET, "/readyz", None::<&()>).await?;
        if response.status().is_success() {
            return Ok(());
        }
        let why = body(response).await?;
        let why = String::from_utf8_lossy(&why[..why.len().min(200)]).into_owned();
        Err(Failure::new(format!(
            "the controller at {} is not ready: {}",
            self.target.url,
            output::visible(why.trim())
        )))
    }

    pub(super) async fn version(&mut self) -> Result<(), Failure> {
        output::print(&format!(
            "fleetctl   {}\n",
            crate::support::release::version()
        ))?;
        let v: VersionView = self.get("/api/v1/version").await?;
        output::print(&format!(
            "controller {} at {}\n",
            v.version, self.target.url
        ))
    }
}

/// What a request has beside the usual headers.
enum Extra {
    Nothing,
    Header((header::HeaderName, String)),
    /// It goes on with another protocol.
    Upgrade(&'static str),
}

/// Which requests that only look name the trace; of all connections of a command.
#[derive(Debug, Clone, Default)]
struct Looks(Option<Arc<Mutex<BTreeSet<String>>>>);

impl Looks {
    fn names_trace(&self, method: &Method, path: &str) -> bool {
        if *method != Method::GET {
            return true;
        }
        let Some(seen) = &self.0 else {
            return false;
        };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.len() < MAX_ROUTES && seen.insert(route(path))
    }
}

/// What is asked, whichever of its kind and which part of it: `/api/v1/nodes/pi-3/history?x=1` and
/// `/api/v1/nodes/pi-4/history` are one route.
fn route(path: &str) -> String {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let parts = path.split('/').enumerate();
    // "", "api", "v1", "nodes", "pi-3", …
    let parts: Vec<&str> = parts
        .map(|(n, part)| if n == 4 { "*" } else { part })
        .collect();
    parts.join("/")
}

fn lost(url: &str, error: &dyn std::error::Error) -> Failure {
    let mut cause = crate::support::chain(error);
    if cause.contains("invalid HTTP version") && url.starts_with("http:") {
        cause.push_str("; perhaps it speaks TLS: use https://");
    }
    Failure::new(format!(
        "the connection to the controller at {url} broke: {cause}"
    ))
}

async fn connect(target: &Target) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let unreachable = |why: String| {
        Failure::new(format!(
            "the controller at {} cannot be reached: {why}; is it running, and is this its address \
             (--url, FLEETCTL_URL, `fleetctl context ls`)?",
            target.url
        ))
    };
    let connecting = TcpStream::connect((target.host.as_str(), target.port));
    let stream = match time::timeout(CONNECT, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(unreachable(error.to_string())),
        Err(_) => return Err(unreachable("it does not answer".into())),
    };
    let _ = stream.set_nodelay(true);
    if !target.tls {
        return handshake(TokioIo::new(stream)).await;
    }
    let ca = target.ca_pem.clone().ok_or_else(|| {
        Failure::usage(
            "https needs the CA of the fleet: --ca or FLEETCTL_CA; it is identity/ca.crt in the \
             controller's data directory",
        )
    })?;
    let config = client_config(ServerTrust::Pem(ca)).map_err(|e| unreachable(e.to_string()))?;
    let name = ServerName::try_from(target.host.clone())?;
    let secured = TlsConnector::from(config).connect(name, stream);
    match time::timeout(CONNECT, secured).await {
        Ok(Ok(stream)) => handshake(TokioIo::new(stream)).await,
        Ok(Err(error)) => Err(unreachable(error.to_string())),
        Err(_) => Err(unreachable("it does not answer".into())),
    }
}

async fn handshake<I>(io: I) -> Result<SendRequest<Full<Bytes>>, Failure>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io).await?;
    tokio::spawn(async move {
        // Whoever waits for an answer is told.
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

async fn read(response: Response<Incoming>) -> Result<Bytes, Failure> {
    if !response.status().is_success() {
        return Err(problem(response).await);
    }
    body(response).await
}

async fn body(response: Response<Incoming>) -> Result<Bytes, Failure> {
    let limited = http_body_util::Limited::new(response.into_body(), MAX_ANSWER);
    match limited.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(Failure::new(format!(
            "the controller's answer broke off: {error}"
        ))),
    }
}

async fn problem(response: Response<Incoming>) -> Failure {
    let status = response.status();
    // By it the controller's log is found.
    let trace = response.headers().get("traceresponse");
    let trace: Option<TraceContext> = trace.and_then(|t| t.to_str().ok()?.parse().ok());
    let trace = trace.filter(|_| status.is_server_error());
    let bytes = body(response).await.unwrap_or_default();
    let failure = match serde_json::from_slice::<ProblemDocument>(&bytes) {
        Ok(document) if document.problems.is_empty() => Failure::new(document.detail),
        Ok(document) => Failure::new(format!(
            "{}\n{}",
            Problems(document.problems),
            document.detail
        )),
        Err(_) => Failure::new(format!("the controller answered {status}")),
    };
    let shown = trace.map_or_else(String::new, |t| format!("\n(trace {})", t.trace_id()));
    Failure {
        refused: status.is_client_error(),
        conflict: matches!(status.as_u16(), 408 | 409 | 429),
        message: failure.message + &shown,
        ..failure
    }
}

/// Lines of an answer as they come.
pub(super) struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Lines {
    /// The next line without its end; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let text = String::from_utf8_lossy(&line[..end]);
                return Ok(Some(text.trim_end_matches('\r').to_owned()));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => {
                    return Err(Failure::new(format!("the connection broke: {error}")));
                }
                None => return Ok(None),
            }
        }
    }
}

/// A word that may stand in a path as it is.
pub(super) fn path_word(word: &str) -> Result<&str, Failure> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if !word.is_empty() && word.bytes().all(fine) {
        return Ok(word);
    }
    Err(Failure::usage(format!(
        "`{}` is not an id",
        word.escape_debug()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_looks_names_no_trace_unless_somebody_follows_and_then_once_a_route() {
        let (get, post) = (Method::GET, Method::POST);
        let nobody = Looks::default();
        assert!(!nobody.names_trace(&get, "/api/v1/nodes?after="));
        assert!(nobody.names_trace(&post, "/api/v1/apply"));
        assert!(nobody.names_trace(&Method::DELETE, "/api/v1/workloads/web"));
        let somebody = Looks(Some(Arc::default()));
        let another = somebody.clone();
        for (path, expected) in [
            ("/api/v1/nodes?after=", true),
            ("/api/v1/nodes?after=pi-9", false),
            ("/api/v1/nodes", false),
            ("/api/v1/nodes/pi-3", true),
            ("/api/v1/nodes/pi-4", false),
            ("/api/v1/nodes/pi-4/history?points=1", true),
            ("/api/v1/nodes/pi-5/history", false),
            ("/metrics", true),
        ] {
            assert_eq!(another.names_trace(&get, path), expected, "{path}");
            assert!(!somebody.names_trace(&get, path), "{path} over another one");
        }
        assert!(somebody.names_trace(&post, "/api/v1/apply"));
        assert!(
            somebody.names_trace(&post, "/api/v1/apply"),
            "as often as it changes"
        );
        let more = (0..1_000).filter(|n| somebody.names_trace(&get, &format!("/{n}")));
        assert_eq!(more.count(), MAX_ROUTES - 4, "and no more than that");
    }
}
