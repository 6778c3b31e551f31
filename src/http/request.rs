//! What holds of every request, seen before its handler: only the query keys that are described
//! are taken, and with values of their kind, a path is text, a POST without a body is one with
//! nothing in it, and a body is an object: a list would be read as one by the order of its fields.
//! Whoever shows two tokens is asked which. A client that still writes when its request has turned
//! out too large is read from for a little, so that it gets to see the answer.
//!
//! The description is the one that [`super::openapi`] gives away, so that the two cannot differ.

use super::{
    MAX_BODY,
    cluster::{containers::MAX_REGISTRATION, heartbeat::MAX_HEARTBEAT},
    openapi::{self, QueryKey, QueryKind},
    problem::{ApiError, NotAnObject},
    serve::MAX_HEAD,
    session::MAX_SIGN_IN,
    workloads::MAX_PAGE,
};
use crate::{manifest::nearest::nearest, model::shown};
use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
    extract::{MatchedPath, Query, Request},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};
use futures_util::StreamExt;
use hyper::body::{Frame, SizeHint};
use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time;

/// Where the body is a piece of a blob.
const UPLOAD: &str = "/api/v1/blobs/{digest}/upload";

/// The query keys of each operation, by method and path.
type Keys = BTreeMap<(&'static str, String), Vec<QueryKey>>;

static KEYS: LazyLock<Keys> = LazyLock::new(openapi::query_keys);

/// Goes on with what is in order.
pub(super) async fn check(mut request: Request, next: Next) -> Result<Response, ApiError> {
    if head(&request) > MAX_HEAD {
        let detail = "the request's line and headers are larger than 64 KiB; send less";
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(ApiError::new(status, detail));
    }
    if !is_text(request.uri().path()) {
        let detail = format!(
            "the path {} is not UTF-8 where it is written with percent signs",
            shown(request.uri().path())
        );
        return Err(ApiError::new(StatusCode::BAD_REQUEST, detail));
    }
    if request
        .headers()
        .get_all(header::AUTHORIZATION)
        .iter()
        .count()
        > 1
    {
        let detail = "the header `Authorization` stands twice; send one";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, detail));
    }
    let mut largest = MAX_BODY;
    // What is no JSON, and bounded by its handler.
    let mut bytes = false;
    if let Some(path) = request.extensions().get::<MatchedPath>() {
        largest = limit(path.as_str());
        bytes = path.as_str() == UPLOAD;
        let query = Query::<Vec<(String, String)>>::try_from_uri(request.uri())?;
        check_query(request.method(), path.as_str(), &query.0)?;
    }
    if request.method() == Method::POST && request.body().is_end_stream() {
        // Whatever needs something says what is missing.
        *request.body_mut() = Body::from("{}");
        let headers = request.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
    }
    let left = Left::default();
    if !request.body().is_end_stream() && !bytes {
        let left = left.clone();
        let begun = false;
        request = request.map(|body| Body::new(ObjectOnly { body, begun, left }));
    }
    let answer = next.run(request).await;
    if answer.status() != StatusCode::PAYLOAD_TOO_LARGE || bytes {
        return Ok(answer);
    }
    let rest = left.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(rest) = rest {
        read_away(rest).await;
    }
    let detail = format!(
        "the request is larger than {}; send less at once",
        size(largest)
    );
    Err(ApiError::new(answer.status(), detail))
}

/// Bytes of the line and the headers, as they are written.
fn head(request: &Request) -> usize {
    let uri = request.uri();
    let line = uri.path().len() + uri.query().map_or(0, str::len);
    let headers = request.headers().iter();
    line + headers
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum::<usize>()
}

/// The most bytes of a body; as the routes are given them.
fn limit(path: &str) -> usize {
    match path {
        "/api/v1/session" => MAX_SIGN_IN,
        "/api/v1/cluster/containers" => MAX_REGISTRATION,
        "/api/v1/cluster/containers/{name}/heartbeat" => MAX_HEARTBEAT,
        _ => MAX_BODY,
    }
}

fn size(bytes: usize) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes >> 10),
        mib => format!("{mib} MiB"),
    }
}

/// The most that is read of a request that is refused already, and for how long.
const MAX_AWAY: usize = 64 << 20;
const LONGEST_AWAY: Duration = Duration::from_secs(2);

/// Reads and drops what is left: where a connection is closed with something unread, the other
/// side may never see the answer.
async fn read_away(rest: Body) {
    let mut rest = rest.into_data_stream();
    let all = async {
        let mut read = 0;
        while let Some(Ok(part)) = rest.next().await {
            read += part.len();
            if read > MAX_AWAY {
                break;
            }
        }
    };
    let _ = time::timeout(LONGEST_AWAY, all).await;
}

/// A body that its handler has given up.
type Left = Arc<Mutex<Option<Body>>>;

/// What is written with percent signs in a path is UTF-8.
fn is_text(path: &str) -> bool {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match after.get(..2).and_then(hex).filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    std::str::from_utf8(&bytes).is_ok()
}

/// A body that breaks off where it does not begin as an object. Nothing is read ahead of whoever
/// takes it, so that its handler's bounds hold, and whether one may ask at all comes first.
struct ObjectOnly {
    body: Body,
    /// Its first character was seen.
    begun: bool,
    /// Where it goes when nobody reads it any more.
    left: Left,
}

impl Drop for ObjectOnly {
    fn drop(&mut self) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = Some(std::mem::take(&mut self.body));
    }
}

impl HttpBody for ObjectOnly {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            None => return Poll::Ready(None),
        };
        if !self.begun
            && let Some(data) = frame.data_ref()
            && let Some(first) = data.iter().find(|b| !b" \t\r\n".contains(b))
        {
            self.begun = true;
            // What is no JSON at all hears that from its reader.
            if *first == b'[' {
                return Poll::Ready(Some(Err(NotAnObject.into())));
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn check_query(method: &Method, path: &str, query: &[(String, String)]) -> Result<(), ApiError> {
    let Some((method, known)) = known(method, path) else {
        return Ok(());
    };
    for (key, value) in query {
        let Some(known) = known.iter().find(|k| k.name == *key) else {
            return Err(unknown(method, path, key, known));
        };
        let kind = match key.as_str() {
            "limit" => QueryKind::Whole(Some(1), Some(MAX_PAGE as u64)),
            _ => known.kind,
        };
        if let Some(allowed) = unfit(kind, value) {
            let detail = format!("`{key}` must be {allowed}, not `{}`", shown(value));
            return Err(ApiError::new(StatusCode::BAD_REQUEST, detail));
        }
    }
    Ok(())
}

/// What is allowed, where this is not.
fn unfit(kind: QueryKind, value: &str) -> Option<String> {
    match kind {
        QueryKind::Text => None,
        QueryKind::Flag => {
            (!matches!(value, "true" | "false")).then(|| "`true` or `false`".to_owned())
        }
        QueryKind::Whole(least, most) => {
            let least = least.unwrap_or(0);
            let within = |n: u64| n >= least && most.is_none_or(|most| n <= most);
            let allowed = match most {
                Some(most) => format!("a whole number from {least} to {most}"),
                None => format!("a whole number, {least} or more"),
            };
            (!value.parse().is_ok_and(within)).then_some(allowed)
        }
    }
}

/// The keys of an operation; `None` where it is not described, as the front page.
fn known(method: &Method, path: &str) -> Option<(&'static str, &'static [QueryKey])> {
    // As its GET, without the answer.
    let method = if method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    let entry = KEYS.get_key_value(&(openapi::verb(method)?, path.to_owned()))?;
    Some((entry.0.0, entry.1))
}

fn unknown(method: &str, path: &str, key: &str, known: &[QueryKey]) -> ApiError {
    let method = method.to_uppercase();
    let key_shown = shown(key);
    let detail = if known.is_empty() {
        format!("`{key_shown}` is unknown: {method} {path} takes nothing behind a `?`")
    } else {
        let words: Vec<&str> = known.iter().map(|k| k.name.as_str()).collect();
        let meant = nearest(key, &words);
        let meant = meant.map_or_else(String::new, |word| format!("; did you mean `{word}`?"));
        let known = words.join("`, `");
        format!("`{key_shown}` is unknown: {method} {path} takes `{known}`{meant}")
    };
    ApiError::new(StatusCode::BAD_REQUEST, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Json, Router, extract::rejection::JsonRejection, routing::post};
    use serde::Deserialize;
    use tower_service::Service;

    fn checked(method: Method, path: &str, query: &[(&str, &str)]) -> Result<(), String> {
        let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        let query: Vec<_> = query.iter().map(own).collect();
        check_query(&method, path, &query).map_err(|error| error.detail().to_owned())
    }

    #[test]
    fn a_query_key_that_does_not_exist_is_refused_with_those_that_do() {
        let nodes = |query: &[(&str, &str)]| checked(Method::GET, "/api/v1/nodes", query);
        assert_eq!(
            nodes(&[("label", "zone=a"), ("after", "pi"), ("limit", "5")]),
            Ok(())
        );
        let wrong = nodes(&[("limt", "5")]).unwrap_err();
        assert!(
            wrong.contains("`limt`") && wrong.contains("`limit`?"),
            "{wrong}"
        );
        let long = "x".repeat(1 << 20);
        assert!(nodes(&[(&long, "5")]).unwrap_err().len() < 300);
        for path in [
            "/api/v1/rollouts",
            "/api/v1/rebalance",
            "/api/v1/workloads/{workload}/logs",
            "/api/v1/cluster/topology",
            "/api/v1/instances",
        ] {
            assert!(
                checked(Method::GET, path, &[("colour", "red")]).is_err(),
                "{path}"
            );
        }
        assert_eq!(checked(Method::GET, "/", &[("colour", "red")]), Ok(()));
    }

    #[test]
    fn a_limit_is_one() {
        for path in [
            "/api/v1/nodes",
            "/api/v1/rollouts",
            "/api/v1/audit",
            "/api/v1/versions",
        ] {
            for fits in ["1", "1000"] {
                assert_eq!(checked(Method::GET, path, &[("limit", fits)]), Ok(()));
            }
            for wrong in ["0", "1001", "-1", "", "many"] {
                let found = checked(Method::GET, path, &[("limit", wrong)]);
                assert!(
                    found.unwrap_err().contains("from 1 to 1000"),
                    "{path} {wrong}"
                );
            }
        }
    }

    #[test]
    fn a_value_of_another_kind_is_refused_with_the_key_and_what_is_allowed() {
        for (path, key, wrong, allowed) in [
            (
                "/api/v1/rebalance",
                "threshold",
                "256",
                "a whole number from 1 to 100",
            ),
            (
                "/api/v1/rebalance",
                "max_per_workload",
                "-1",
                "a whole number, 1 or more",
            ),
            ("/api/v1/rollouts", "active", "maybe", "`true` or `false`"),
        ] {
            let said = checked(Method::GET, path, &[(key, wrong)]).unwrap_err();
            assert_eq!(said, format!("`{key}` must be {allowed}, not `{wrong}`"));
        }
        let rollouts = |value| checked(Method::GET, "/api/v1/rollouts", &[("active", value)]);
        assert!(rollouts("true").is_ok() && rollouts("false").is_ok());
    }

    #[test]
    fn a_path_is_text() {
        for fine in [
            "/",
            "/api/v1/nodes/pi-1",
            "/a%2Fb",
            "/%C3%BC",
            "/100%",
            "/%zz",
        ] {
            assert!(is_text(fine), "{fine}");
        }
        assert!(!is_text("/api/v1/workloads/%ff%fe/why"));
    }

    #[tokio::test]
    async fn a_list_is_no_body() {
        let json = Some("application/json");
        let slow = [" \n", " [", "true]"].map(|part| Ok::<_, std::io::Error>(Bytes::from(part)));
        for body in [
            Body::from("[]"),
            Body::from("[true]"),
            Body::from("\n\t [true]"),
            Body::from_stream(futures_util::stream::iter(slow)),
        ] {
            let (status, text) = ask(body, json).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{text}");
            assert!(text.contains("an object is expected"), "{text}");
        }
        let (status, _) = ask(Body::from(" {\"force\":true}"), json).await;
        assert_eq!(status, StatusCode::OK);
    }

    #[derive(Default, Deserialize)]
    struct Asked {
        #[serde(default)]
        force: bool,
    }

    async fn ask(body: Body, kind: Option<&str>) -> (StatusCode, String) {
        async fn handler(body: Result<Json<Asked>, JsonRejection>) -> Result<String, ApiError> {
            Ok(body?.0.force.to_string())
        }
        let mut app = Router::new()
            .route("/drain", post(handler))
            .layer(axum::middleware::from_fn(check))
            .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY));
        let mut request = Request::post("/drain");
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let answer = app.call(request.body(body).unwrap()).await.unwrap();
        let status = answer.status();
        let text = axum::body::to_bytes(answer.into_body(), 1 << 16)
            .await
            .unwrap();
        (status, String::from_utf8_lossy(&text).into_owned())
    }

    #[tokio::test]
    async fn a_request_that_is_too_large_hears_how_large_one_may_be_and_is_read_to_its_end() {
        let sent = Arc::new(Mutex::new(0));
        let counted = sent.clone();
        let parts = (0..96).map(move |n| {
            *counted.lock().unwrap() += 1;
            let text = if n == 0 { "{\"force\":" } else { "" };
            Ok::<_, std::io::Error>(Bytes::from(format!("{text}{}", " ".repeat(64 << 10))))
        });
        let body = Body::from_stream(futures_util::stream::iter(parts));
        let (status, text) = ask(body, Some("application/json")).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{text}");
        assert!(text.contains("larger than 4 MiB; send less"), "{text}");
        assert_eq!(*sent.lock().unwrap(), 96, "6 MiB");
        // Who never ends is not read for ever.
        let endless = futures_util::stream::repeat_with(|| {
            Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1 << 20]))
        });
        let (status, _) = ask(Body::from_stream(endless), Some("application/json")).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(size(limit("/api/v1/session")), "8 KiB");
    }

    #[tokio::test]
    async fn two_tokens_are_one_too_many() {
        let mut app = Router::new()
            .route("/", axum::routing::get(|| async { "fine" }))
            .layer(axum::middleware::from_fn(check));
        for (count, expected) in [(1, StatusCode::OK), (2, StatusCode::BAD_REQUEST)] {
            let mut request = Request::get("/");
            for n in 0..count {
                request = request.header(header::AUTHORIZATION, format!("Bearer {n}"));
            }
            let answer = app
                .call(request.body(Body::empty()).unwrap())
                .await
                .unwrap();
            assert_eq!(answer.status(), expected, "{count}");
        }
    }

    #[tokio::test]
    async fn a_post_without_a_body_asks_for_the_defaults() {
        let json = Some("application/json");
        for (body, kind, expected) in [
            (Body::empty(), None, "false"),
            (Body::empty(), json, "false"),
            (Body::from("{\"force\":true}"), json, "true"),
        ] {
            assert_eq!(ask(body, kind).await, (StatusCode::OK, expected.to_owned()));
        }
        let (status, text) = ask(Body::from("{\"force\":1}"), json).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{text}");
    }
}
