//! What is sent is what OTLP says, field by field, and byte for byte as in `golden/spans.json`.

use super::*;
use crate::model::TraceContext;
use serde_json::Value as Json;
use std::path::PathBuf;

fn context(span: &str) -> TraceContext {
    let text = format!("00-0af7651916cd43dd8448eb211c80319c-{span}-01");
    text.parse().unwrap()
}

fn resource() -> Resource {
    Resource {
        service: "fleetctl-controller",
        host: "control".into(),
    }
}

fn spans() -> Vec<Span> {
    let root = Span {
        context: context("b7ad6b7169203331"),
        parent: None,
        name: "POST /api/v1/apply".into(),
        kind: SpanKind::Server,
        start_ns: 1_767_225_600_123_456_789,
        end_ns: 1_767_225_600_223_456_789,
        attributes: vec![
            ("http.request.method", "POST".into()),
            ("http.response.status_code", 503_u16.into()),
            ("fleetctl.retained", true.into()),
        ],
        error: Some("the journal cannot keep it".into()),
    };
    let child = Span {
        context: context("00f067aa0ba902b7"),
        parent: Some(root.context),
        name: "fleet.apply".into(),
        kind: SpanKind::Internal,
        attributes: Vec::new(),
        error: None,
        ..root.clone()
    };
    vec![root, child]
}

#[test]
fn golden_spans_are_kept_byte_for_byte() {
    // The version changes with each release.
    let made = String::from_utf8(encode(&resource(), &spans())).unwrap();
    let made = made.replace(
        &format!("\"{}\"", crate::support::release::version()),
        "\"VERSION\"",
    );
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/trace/golden/spans.json");
    if !path.exists() && std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    assert_eq!(made, kept);
}

#[test]
fn every_field_is_as_otlp_writes_it_in_json() {
    let sent: Json = serde_json::from_slice(&encode(&resource(), &spans())).unwrap();
    let of_resource = &sent["resourceSpans"][0];
    let service = &of_resource["resource"]["attributes"][0];
    assert_eq!(service["key"], "service.name");
    assert_eq!(service["value"]["stringValue"], "fleetctl-controller");
    let scope = &of_resource["scopeSpans"][0];
    assert_eq!(scope["scope"]["name"], "fleetctl");
    let (root, child) = (&scope["spans"][0], &scope["spans"][1]);
    // Ids are hex, not base64.
    assert_eq!(root["traceId"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(root["spanId"], "b7ad6b7169203331");
    assert_eq!(child["parentSpanId"], root["spanId"]);
    assert_eq!(child["traceId"], root["traceId"]);
    assert!(root.get("parentSpanId").is_none());
    // Enums are numbers.
    assert_eq!((&root["kind"], &child["kind"]), (&2.into(), &1.into()));
    assert_eq!(root["status"]["code"], 2);
    assert_eq!(root["status"]["message"], "the journal cannot keep it");
    assert!(child.get("status").is_none());
    // Numbers of 64 bits are strings.
    assert_eq!(root["startTimeUnixNano"], "1767225600123456789");
    assert_eq!(root["endTimeUnixNano"], "1767225600223456789");
    let attributes = &root["attributes"];
    assert_eq!(attributes[0]["value"]["stringValue"], "POST");
    assert_eq!(attributes[1]["value"]["intValue"], "503");
    assert_eq!(attributes[2]["value"]["boolValue"], true);
    no_key_of_another_form(&sent);
}

#[test]
fn opentelemetrys_own_reader_understands_it() {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    let sent = encode(&resource(), &spans());
    let read: ExportTraceServiceRequest = serde_json::from_slice(&sent).unwrap();
    let all = &read.resource_spans[0].scope_spans[0].spans;
    let (root, child) = (&all[0], &all[1]);
    assert_eq!(root.trace_id[..3], [0x0a, 0xf7, 0x65]);
    assert_eq!(root.span_id[..3], [0xb7, 0xad, 0x6b]);
    assert!(root.parent_span_id.is_empty());
    assert_eq!(child.parent_span_id, root.span_id);
    assert_eq!((root.kind, child.kind), (2, 1));
    assert_eq!(root.start_time_unix_nano, 1_767_225_600_123_456_789);
    assert_eq!(root.end_time_unix_nano, 1_767_225_600_223_456_789);
    assert_eq!(root.status.as_ref().unwrap().code, 2);
    let value = root.attributes[1].value.as_ref().unwrap();
    assert_eq!(value.value, Some(Any::IntValue(503)));
}

/// Keys are lowerCamelCase; original field names are not valid.
fn no_key_of_another_form(value: &Json) {
    match value {
        Json::Object(map) => {
            for (key, value) in map {
                let begins = key.chars().next().is_some_and(|c| c.is_ascii_lowercase());
                let fine = begins && key.chars().all(|c| c.is_ascii_alphanumeric());
                assert!(fine, "{key}");
                no_key_of_another_form(value);
            }
        }
        Json::Array(all) => all.iter().for_each(no_key_of_another_form),
        _ => {}
    }
}

#[test]
fn a_text_is_cut_where_a_character_ends() {
    let value = crate::trace::Value::from("é".repeat(1_000));
    let crate::trace::Value::Text(text) = value else {
        panic!("no text");
    };
    assert_eq!(text.len(), 256);
}
