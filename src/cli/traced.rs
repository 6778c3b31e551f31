//! One invocation is one trace: every request that changes something names it, in the header
//! `traceparent` (of those that only look see [`super::client`]).
//!
//! Whoever calls us within a trace of theirs says so by `TRACEPARENT`, and ours is then a part of it.
//! A span of the invocation itself is sent where `FLEETCTL_OTLP_ENDPOINT` (or
//! `OTEL_EXPORTER_OTLP_ENDPOINT`) says where to; nobody waits longer than a second for that.

use super::{Failure, args::Verb};
use crate::{
    config::{Otlp, Surroundings},
    model::TraceContext,
    trace::{self, Exporter, OpenSpan, OtlpEndpoint, SpanKind, TRACEPARENT},
};
use serde::Serialize;
use std::{env, path::PathBuf, process::ExitCode, time::Duration};

/// How long the end of a command waits for its span to be taken.
const FLUSH: Duration = Duration::from_secs(1);

/// A command that asks the controller.
pub(super) struct Invocation {
    context: TraceContext,
    /// It was given a trace, or sends a span.
    followed: bool,
    span: Option<OpenSpan>,
    exporter: Option<Exporter>,
}

impl Invocation {
    /// Begins one, within a tokio runtime.
    pub(super) fn begin(verb: &Verb) -> Invocation {
        let given: Option<TraceContext> = env::var(TRACEPARENT).ok().and_then(|t| t.parse().ok());
        let fresh = || given.unwrap_or_else(trace::fresh);
        let started = start();
        let (tracer, exporter) = started.unwrap_or_else(|why| {
            eprintln!("note: no spans are sent: {why}");
            Default::default()
        });
        // The verb without what follows it, where a secret may be.
        let name = format!("fleetctl {}", trace::variant(verb).replace('_', "-"));
        let mut span = match given {
            Some(_) => tracer.begin(given, SpanKind::Client, name),
            None => tracer.begin_root(fresh(), SpanKind::Client, name),
        };
        if let Some(span) = &mut span {
            span.set("process.executable.name", "fleetctl");
            span.set("process.pid", u64::from(std::process::id()));
        }
        let own = span.as_ref().and_then(OpenSpan::context);
        Invocation {
            context: own.unwrap_or_else(fresh),
            followed: given.is_some() || own.is_some(),
            span,
            exporter,
        }
    }

    /// What its requests name.
    pub(super) fn context(&self) -> TraceContext {
        self.context
    }

    /// Somebody wants to see also what only looks.
    pub(super) fn is_followed(&self) -> bool {
        self.followed
    }

    /// It has ended. Why it failed is not sent: the sentence may quote a manifest.
    pub(super) async fn end(mut self, outcome: &Result<ExitCode, Failure>) {
        if let Some(mut span) = self.span.take() {
            let code = outcome.as_ref().err().map(|failure| failure.code);
            if let Some(code) = code {
                span.set("process.exit.code", u64::from(code));
                span.fail("the command failed");
            }
        }
        if let Some(exporter) = self.exporter.take() {
            exporter.stop_within(FLUSH).await;
        }
    }
}

fn start() -> Result<(trace::Tracer, Option<Exporter>), String> {
    let var = |name| env::var(name).ok().filter(|text| !text.is_empty());
    let own = match var("FLEETCTL_OTLP_ENDPOINT") {
        Some(text) => {
            let read = OtlpEndpoint::parse(&text);
            Some(read.map_err(|flaw| format!("FLEETCTL_OTLP_ENDPOINT: {}", flaw.message))?)
        }
        None => None,
    };
    let headers_file = var("FLEETCTL_OTLP_HEADERS_FILE").map(PathBuf::from);
    let around = Surroundings::of_this_process();
    let otlp = Otlp::fall_back(own, headers_file, &around);
    let resource = trace::Resource {
        service: "fleetctl-cli",
        host: around.host_name,
    };
    let started = trace::start(
        otlp.endpoint.as_ref(),
        otlp.headers_file.as_deref(),
        resource,
    );
    started.map_err(|error| crate::support::chain(&error))
}

/// A result for programs, with the trace that it came by.
#[derive(Serialize)]
pub(super) struct Traced<'a, T> {
    #[serde(flatten)]
    pub(super) result: &'a T,
    /// 32 hex digits.
    pub(super) trace: String,
}
