//! Traces: what one request of a person came to, from the command line to the container.
//!
//! ```text
//!  TRACEPARENT ─► fleetctl apply ─► POST /api/v1/apply ─┬► fleet.apply          (queued → durable)
//!  (or a new one)     CLI              controller       ├► send assignment
//!                                                       ├► process assignment   (agent)
//!                                                       ├► launch ─► pull       (agent)
//!                                                       └► become healthy       (agent)
//! ```
//!
//! The id goes along whether or not anybody collects spans: header `traceparent`, the journal's
//! entry ([`crate::fleet::Actor`]), the revision, the assigned instance, the container's label and
//! its variable `TRACEPARENT`, and the lines of the logs. It is 24 bytes, and nothing is decided by
//! it.
//!
//! Spans are sent only where `otlp_endpoint` is set; else a [`Tracer`] is empty, and every call here
//! returns at once. What is sent names the span that sends it as the parent of what follows; a part
//! that sends nothing passes on what it was given, so that the tree has no holes.
//!
//! Requests that only look make no span unless they come with a trace; the command line gives them
//! one only where somebody follows it, and then to the first request of each route: what polls makes
//! one span a route and command, not one a second.
//!
//! Sending is our own, and small: OTLP/HTTP with JSON ([`encode`]) over the hyper and rustls that
//! are here anyway ([`post`]). The crate `opentelemetry-otlp` has the same encoding, but brings
//! prost, `opentelemetry-proto` and the whole of `opentelemetry_sdk` for it (some twenty crates, and
//! a second queue with a thread), to write what is one page here.
//!
//! | module | one idea |
//! |---|---|
//! | [`span`] | what a span is |
//! | [`encode`] | spans as the JSON of OTLP; pure |
//! | [`endpoint`] | where they go, and with which headers |
//! | [`export`] | the queue, batches, tries; never in anybody's way |
//! | [`post`] | one HTTP connection |

mod encode;
mod endpoint;
mod export;
mod post;
mod span;

pub use encode::{Resource, encode};
pub use endpoint::{Headers, HeadersError, OtlpEndpoint};
pub use export::{Exporter, start};
pub use span::{Span, SpanKind, Value};

use crate::{model::TraceContext, support::clock};
use export::Queue;
use std::{
    borrow::Cow,
    fmt::{Debug, Write},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// Bytes of a text in a span.
const MAX_TEXT: usize = 256;

/// The environment variable, and in lower case the header, by which a request goes on.
pub const TRACEPARENT: &str = "TRACEPARENT";

/// A new trace.
pub fn fresh() -> TraceContext {
    let random = crate::identity::random_bytes::<24>().ok();
    // Without randomness (there is always some) the clock will do: ids need not be secret.
    let bytes = random.unwrap_or_else(|| {
        let mut bytes = [1; 24];
        bytes[..8].copy_from_slice(&clock::unix_ms().to_le_bytes());
        bytes[16..].copy_from_slice(&unix_ns().to_le_bytes());
        bytes
    });
    let (mut trace, mut span) = ([0; 16], [0; 8]);
    trace.copy_from_slice(&bytes[..16]);
    span.copy_from_slice(&bytes[16..]);
    // Zeroes stand for none; once in 2^64 that is what comes.
    trace[0] |= u8::from(trace == [0; 16]);
    span[0] |= u8::from(span == [0; 8]);
    TraceContext::new(trace, span).unwrap_or_else(fresh)
}

/// The trace that a person means: its id (32 hex digits), or a whole `traceparent`. Gives the id.
///
/// # Errors
/// A sentence.
pub fn id_of(text: &str) -> Result<String, String> {
    let id = text.trim().to_ascii_lowercase();
    let is_id = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
    match id.parse::<TraceContext>() {
        Ok(context) => Ok(context.trace_id()),
        Err(_) if is_id => Ok(id),
        Err(_) => Err(
            "a trace is named by its id of 32 hex digits, or by its traceparent \
                       (00-<32 hex digits>-<16 hex digits>-01)"
                .into(),
        ),
    }
}

/// Wall clock, Unix nanoseconds.
fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// Where spans go; nowhere, unless somebody collects them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<Arc<Queue>>);

impl Tracer {
    /// Spans go nowhere.
    pub fn off() -> Tracer {
        Tracer(None)
    }

    /// Somebody collects them.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Spans that were lost, since nobody took them in time; 0 where none are collected.
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |queue| queue.dropped())
    }

    /// Begins a span below `parent`; `None` where nobody would see it.
    pub fn begin(
        &self,
        parent: Option<TraceContext>,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
    ) -> Option<OpenSpan> {
        let (true, Some(parent)) = (self.is_on(), parent) else {
            return None;
        };
        let own = parent.below(crate::identity::random_bytes().unwrap_or_default());
        Some(self.open(own, Some(parent), kind, name.into()))
    }

    /// Begins a span that is the first of its trace, under its own id.
    pub fn begin_root(
        &self,
        own: TraceContext,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
    ) -> Option<OpenSpan> {
        self.is_on()
            .then(|| self.open(own, None, kind, name.into()))
    }

    fn open(
        &self,
        context: TraceContext,
        parent: Option<TraceContext>,
        kind: SpanKind,
        name: Cow<'static, str>,
    ) -> OpenSpan {
        OpenSpan {
            tracer: self.clone(),
            span: Some(Box::new(Span {
                context,
                parent,
                name,
                kind,
                start_ns: unix_ns(),
                end_ns: 0,
                attributes: Vec::new(),
                error: None,
            })),
        }
    }
}

/// A span that has not ended; it ends when it is dropped, whatever became of what it is about.
#[derive(Debug)]
pub struct OpenSpan {
    tracer: Tracer,
    span: Option<Box<Span>>,
}

impl OpenSpan {
    /// What is below it names this.
    pub fn context(&self) -> Option<TraceContext> {
        self.span.as_ref().map(|span| span.context)
    }

    /// Says more of it. Never a secret: values of env, tokens, what stands behind a `?`.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.span {
            span.attributes.push((key, value.into()));
        }
    }

    /// It is called so, after all.
    pub fn rename(&mut self, name: String) {
        if let Some(span) = &mut self.span {
            span.name = name.into();
        }
    }

    /// It has failed; one sentence.
    pub fn fail(&mut self, why: &str) {
        if let Some(span) = &mut self.span {
            span.error = Some(span::cut(why));
        }
    }

    /// As [`OpenSpan::fail`], where it has.
    pub fn judge<E: std::fmt::Display>(&mut self, failure: Option<E>) {
        if let Some(failure) = failure {
            self.fail(&failure.to_string());
        }
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        let (Some(mut span), Some(queue)) = (self.span.take(), &self.tracer.0) else {
            return;
        };
        span.end_ns = unix_ns().max(span.start_ns);
        queue.put(*span);
    }
}

/// The name of an enum's variant in snake case, without what is in it.
pub fn variant(value: &impl Debug) -> String {
    /// Takes a word, and nothing behind it: what follows is not even formatted.
    struct Word(String);
    impl Write for Word {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            for c in text.chars() {
                if !c.is_ascii_alphanumeric() {
                    return Err(std::fmt::Error);
                }
                if c.is_ascii_uppercase() && !self.0.is_empty() {
                    self.0.push('_');
                }
                self.0.push(c.to_ascii_lowercase());
            }
            Ok(())
        }
    }
    let mut word = Word(String::new());
    let _ = write!(word, "{value:?}");
    word.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_all_different_and_never_none() {
        let all: std::collections::BTreeSet<_> = (0..100).map(|_| fresh()).collect();
        assert_eq!(all.len(), 100);
    }

    #[test]
    fn a_trace_is_named_by_its_id_or_by_the_whole() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        for text in [
            id.to_owned(),
            id.to_uppercase(),
            format!("00-{id}-b7ad6b7169203331-01"),
        ] {
            assert_eq!(id_of(&text).as_deref(), Ok(id), "{text}");
        }
        for text in ["", "0af7", "00-x-y-01", "0af7651916cd43dd8448eb211c80319g"] {
            assert!(id_of(text).unwrap_err().contains("32 hex digits"), "{text}");
        }
    }

    #[test]
    fn without_an_endpoint_no_span_begins() {
        let off = Tracer::off();
        let trace = Some(fresh());
        assert!(off.begin(trace, SpanKind::Internal, "x").is_none());
        assert!(off.begin_root(fresh(), SpanKind::Internal, "x").is_none());
        assert_eq!(std::mem::size_of::<TraceContext>(), 24);
        assert_eq!(off.dropped(), 0);
    }

    #[test]
    fn a_variant_is_named_without_what_is_in_it() {
        #[derive(Debug)]
        #[allow(dead_code)]
        enum Kind {
            TimePassed {},
            TokenCreated { secret: &'static str },
            Apply(u8),
            Version,
        }
        for (kind, name) in [
            (Kind::TimePassed {}, "time_passed"),
            (Kind::TokenCreated { secret: "s" }, "token_created"),
            (Kind::Apply(1), "apply"),
            (Kind::Version, "version"),
        ] {
            assert_eq!(variant(&kind), name);
        }
    }
}
