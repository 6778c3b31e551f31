//! Spans as OTLP/JSON: the body of `POST /v1/traces`, an `ExportTraceServiceRequest`.
//!
//! The mapping is protobuf's to JSON, with OTLP's own exceptions
//! (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>): ids are hex and not
//! base64, enums are numbers and never words, keys are lowerCamelCase, and numbers of 64 bits are
//! decimal strings. A field with its default value is left out.

use super::{Span, SpanKind, Value};
use serde::{Serialize, Serializer};

/// Who sends spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// `fleetctl-controller`, `fleetctl-agent` or `fleetctl-cli`.
    pub service: &'static str,
    /// The node's name, or the machine's.
    pub host: String,
}

/// The body of a request.
pub fn encode(resource: &Resource, spans: &[Span]) -> Vec<u8> {
    let of_service = vec![
        attribute("service.name", AnyValue::Text(resource.service)),
        attribute(
            "service.version",
            AnyValue::Text(crate::support::release::version()),
        ),
        attribute("host.name", AnyValue::Text(&resource.host)),
    ];
    let request = Request {
        resource_spans: [ResourceSpans {
            resource: ResourceOut {
                attributes: of_service,
            },
            scope_spans: [ScopeSpans {
                scope: Scope {
                    name: "fleetctl",
                    version: crate::support::release::version(),
                },
                spans: spans.iter().map(SpanOut::from).collect(),
            }],
        }],
    };
    // Nothing in it can fail to be written.
    serde_json::to_vec(&request).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: ResourceOut<'a>,
    scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize)]
struct ResourceOut<'a> {
    attributes: Vec<KeyValue<'a>>,
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: Scope,
    spans: Vec<SpanOut<'a>>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpanOut<'a> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    name: &'a str,
    kind: u8,
    #[serde(serialize_with = "decimal")]
    start_time_unix_nano: u64,
    #[serde(serialize_with = "decimal")]
    end_time_unix_nano: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<KeyValue<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
}

#[derive(Serialize)]
struct Status<'a> {
    code: u8,
    message: &'a str,
}

#[derive(Serialize)]
struct KeyValue<'a> {
    key: &'a str,
    value: AnyValue<'a>,
}

#[derive(Serialize)]
enum AnyValue<'a> {
    #[serde(rename = "stringValue")]
    Text(&'a str),
    #[serde(rename = "boolValue")]
    Flag(bool),
    #[serde(rename = "intValue", serialize_with = "decimal")]
    Whole(i64),
}

/// `STATUS_CODE_ERROR`; what has not failed says nothing of it.
const ERROR: u8 = 2;

impl<'a> From<&'a Span> for SpanOut<'a> {
    fn from(span: &'a Span) -> SpanOut<'a> {
        let kind: SpanKind = span.kind;
        let all = span.attributes.iter();
        SpanOut {
            trace_id: span.context.trace_id(),
            span_id: span.context.span_id(),
            parent_span_id: span.parent.map(|parent| parent.span_id()),
            name: &span.name,
            kind: kind as u8,
            start_time_unix_nano: span.start_ns,
            end_time_unix_nano: span.end_ns,
            attributes: all
                .map(|(key, value)| {
                    let value = match value {
                        Value::Text(text) => AnyValue::Text(text),
                        Value::Whole(number) => AnyValue::Whole(*number),
                        Value::Flag(flag) => AnyValue::Flag(*flag),
                    };
                    attribute(key, value)
                })
                .collect(),
            status: span.error.as_deref().map(|message| Status {
                code: ERROR,
                message,
            }),
        }
    }
}

fn attribute<'a>(key: &'a str, value: AnyValue<'a>) -> KeyValue<'a> {
    KeyValue { key, value }
}

fn decimal<S: Serializer>(
    number: &impl std::fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
