//! Which trace a request belongs to, and what is told of each request.
//!
//! A `traceparent` that is valid is gone on with; else the request begins a trace. Handlers find it
//! in the request's extensions, and with it goes the change that they make. The answer carries it as
//! `traceresponse`: the name that W3C's Trace Context has for it (level 2), in the same form as the
//! request's, so that whoever reads one reads the other; `x-trace-id` is what each proxy means
//! something else by.
//!
//! A request that only looks (GET, HEAD) and comes without a trace makes no span: dashboards and
//! probes ask all the time, and nobody looks for what they asked.

use crate::{
    controller::Controller,
    model::TraceContext,
    trace::{self, OpenSpan, SpanKind},
};
use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode},
    middleware::Next,
    response::Response,
};
use std::{sync::Arc, time::Instant};
use tracing::debug;

/// The request's.
const TRACEPARENT: &str = "traceparent";
/// The answer's.
const TRACERESPONSE: &str = "traceresponse";

/// The trace of a request, in its extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traced(pub(super) TraceContext);

/// Around every request.
pub(super) async fn layer(
    State(controller): State<Arc<Controller>>,
    mut request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("", MatchedPath::as_str);
    let given = given(request.headers());
    let mut context = given.unwrap_or_else(trace::fresh);
    let mut span = match given {
        Some(parent) => controller.tracer.begin(Some(parent), SpanKind::Server, ""),
        None if [Method::GET, Method::HEAD].contains(&method) => None,
        None => controller.tracer.begin_root(context, SpanKind::Server, ""),
    };
    if let Some(span) = &mut span {
        describe(span, &method, route, request.uri().path());
        context = span.context().unwrap_or(context);
    }
    request.extensions_mut().insert(Traced(context));
    let mut response = next.run(request).await;
    let status = response.status();
    if let Some(span) = &mut span {
        conclude(span, status);
    }
    debug!(
        trace = context.trace_id(),
        %method,
        route,
        status = status.as_u16(),
        duration_ms = begun.elapsed().as_secs_f64() * 1e3,
        "request"
    );
    if let Ok(value) = HeaderValue::from_str(&context.to_string()) {
        response.headers_mut().insert(TRACERESPONSE, value);
    }
    response
}

/// The trace that a request says it belongs to; one that says two says none.
fn given(headers: &HeaderMap) -> Option<TraceContext> {
    let mut all = headers.get_all(TRACEPARENT).iter();
    let (first, more) = (all.next()?, all.next());
    match more {
        None => first.to_str().ok()?.parse().ok(),
        Some(_) => None,
    }
}

fn describe(span: &mut OpenSpan, method: &Method, route: &str, path: &str) {
    // As OpenTelemetry names them; what matched nothing has no name that few others have.
    let name = match route {
        "" => method.to_string(),
        route => format!("{method} {route}"),
    };
    span.rename(name);
    span.set("http.request.method", method.as_str());
    if !route.is_empty() {
        span.set("http.route", route);
    }
    span.set("url.path", path);
}

fn conclude(span: &mut OpenSpan, status: StatusCode) {
    span.set("http.response.status_code", status.as_u16());
    // What the asker did wrong is no failure of the server.
    if status.is_server_error() {
        span.set("error.type", status.as_str());
        span.fail(status.canonical_reason().unwrap_or("a server's error"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_gone_on_with_and_anything_else_is_none() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let mut headers = HeaderMap::new();
        assert_eq!(given(&headers), None);
        headers.insert(TRACEPARENT, HeaderValue::from_static(text));
        assert_eq!(given(&headers), text.parse().ok());
        headers.append(TRACEPARENT, HeaderValue::from_static(text));
        assert_eq!(given(&headers), None, "two");
        headers.insert(TRACEPARENT, HeaderValue::from_static("00-x-y-01"));
        assert_eq!(given(&headers), None);
        headers.insert(TRACEPARENT, HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(given(&headers), None);
    }
}
