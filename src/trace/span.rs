//! What a span is: that something took from then to then, as part of what.

use super::MAX_TEXT;
use crate::model::TraceContext;
use std::borrow::Cow;

/// Something that was done, and has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its trace and its own id.
    pub context: TraceContext,
    /// What it is a part of; `None`: it is the first of its trace.
    pub parent: Option<TraceContext>,
    /// Of few different ones: names of nodes and the like are attributes.
    pub name: Cow<'static, str>,
    /// On which side of what.
    pub kind: SpanKind,
    /// Unix nanoseconds, this machine's clock.
    pub start_ns: u64,
    /// The same; not before `start_ns`.
    pub end_ns: u64,
    /// By the names of OpenTelemetry's semantic conventions, where they have one.
    pub attributes: Vec<(&'static str, Value)>,
    /// It has failed: why, one sentence.
    pub error: Option<String>,
}

/// On which side a span is. The numbers are those of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Within a process.
    Internal = 1,
    /// Answers a request.
    Server = 2,
    /// Asks somebody, and waits.
    Client = 3,
    /// Sends a message.
    Producer = 4,
    /// Takes a message.
    Consumer = 5,
}

/// What an attribute may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// At most 256 bytes.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// `true` or `false`.
    Flag(bool),
}

/// At most [`MAX_TEXT`] bytes of it.
pub(super) fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT)].to_owned()
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(cut(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::from(text.as_str())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Whole(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Value {
        Value::Whole(number.into())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Value {
        Value::Flag(flag)
    }
}
