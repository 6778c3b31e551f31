//! The description of the API.
//!
//! ```text
//!  handlers and their types ── `code` (tests only) ──► openapi.json ── build.rs ──► packed, in the program
//!                                       └─ a test: it is the same ─┘
//! ```
//!
//! `UPDATE_GOLDEN=1 cargo test --lib openapi` writes the file anew after a change of the code.

mod code;

pub use code::from_code;

use axum::{
    http::{Method, header},
    response::IntoResponse,
};
use flate2::read::GzDecoder;
use serde_json::Value;
use std::{collections::BTreeMap, io::Read};

/// `openapi.json`, in the form of gzip.
static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/openapi.json.gz"));
/// Bytes of it, at most.
const MAX_DOCUMENT: u64 = 8 << 20;
/// What can be done somewhere, as the document calls it.
const VERBS: [&str; 5] = ["get", "post", "patch", "put", "delete"];

/// The method as the document calls it.
pub(super) fn verb(method: &Method) -> Option<&'static str> {
    Some(match *method {
        Method::GET => "get",
        Method::POST => "post",
        Method::PATCH => "patch",
        Method::PUT => "put",
        Method::DELETE => "delete",
        _ => return None,
    })
}

/// A key that an operation takes behind the `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueryKey {
    /// What it is called.
    pub name: String,
    /// What it may be.
    pub kind: QueryKind,
}

/// What the value of a query key may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueryKind {
    /// `true` or `false`.
    Flag,
    /// A whole number, none below and none above these.
    Whole(Option<u64>, Option<u64>),
    /// Whatever its handler understands.
    Text,
}

impl QueryKind {
    fn of(schema: &Value) -> QueryKind {
        let is = |wanted: &str| match &schema["type"] {
            Value::Array(kinds) => kinds.iter().any(|kind| kind == wanted),
            kind => kind == wanted,
        };
        if is("boolean") {
            return QueryKind::Flag;
        }
        match is("integer") {
            true => QueryKind::Whole(schema["minimum"].as_u64(), schema["maximum"].as_u64()),
            false => QueryKind::Text,
        }
    }
}

/// The query keys of every operation.
pub(super) fn query_keys() -> BTreeMap<(&'static str, String), Vec<QueryKey>> {
    let document: Value = serde_json::from_str(&document()).unwrap_or_default();
    let mut all = BTreeMap::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for verb in VERBS {
            let Some(operation) = item.get(verb) else {
                continue;
            };
            let given = operation["parameters"].as_array().into_iter().flatten();
            let keys = given.filter(|p| p["in"] == "query").map(|p| QueryKey {
                name: p["name"].as_str().unwrap_or_default().to_owned(),
                kind: QueryKind::of(&p["schema"]),
            });
            all.insert((verb, path.clone()), keys.collect());
        }
    }
    all
}

/// The document as JSON.
pub fn document() -> String {
    let mut text = String::new();
    // It is a part of this program, and was packed by `src/build.rs`.
    let _ = GzDecoder::new(PACKED)
        .take(MAX_DOCUMENT)
        .read_to_string(&mut text);
    text
}

pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_what_the_code_says() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/openapi/openapi.json");
        let made = from_code();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(file, &made).unwrap();
            return;
        }
        let kept = std::fs::read_to_string(file).unwrap();
        let differs = kept
            .lines()
            .zip(made.lines())
            .find(|(kept, made)| kept != made);
        assert!(
            kept == made,
            "{file} is not what the code says ({differs:?}): UPDATE_GOLDEN=1 cargo test --lib openapi"
        );
        assert_eq!(document(), made, "the program was built with another one");
    }

    #[test]
    fn query_keys_are_known_with_their_bounds() {
        let keys = query_keys();
        let limit = keys[&("get", "/api/v1/nodes".to_owned())]
            .iter()
            .find(|key| key.name == "limit");
        assert_eq!(limit.unwrap().kind, QueryKind::Whole(Some(1), Some(1_000)));
        let all = || keys.values().flatten();
        assert!(all().any(|key| key.kind == QueryKind::Flag));
        assert!(all().any(|key| key.kind == QueryKind::Text));
    }

    #[test]
    fn bodies_that_may_be_left_out_and_limits_are_described_as_they_are() {
        let document: serde_json::Value = serde_json::from_str(&document()).unwrap();
        for (path, required) in [
            ("/api/v1/nodes/{node}/drain", false),
            ("/api/v1/cluster/rebalance", false),
            ("/api/v1/cluster/agents/{id}/migrate", false),
            ("/api/v1/cluster/containers/{name}/heartbeat", false),
            ("/api/v1/apply", true),
            ("/api/v1/cluster/containers", true),
        ] {
            let body = &document["paths"][path]["post"]["requestBody"];
            assert_eq!(body["required"], required, "{path}");
        }
        for path in ["/api/v1/nodes", "/api/v1/rollouts", "/api/v1/audit"] {
            let given = document["paths"][path]["get"]["parameters"].as_array();
            let limit = given.and_then(|all| all.iter().find(|p| p["name"] == "limit"));
            let schema = &limit.unwrap()["schema"];
            assert_eq!(
                (&schema["minimum"], &schema["maximum"]),
                (&1.into(), &1_000.into())
            );
        }
    }

    #[test]
    fn every_operation_of_the_cluster_api_says_what_it_does() {
        let document: serde_json::Value = serde_json::from_str(&document()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let cluster = paths
            .iter()
            .filter(|(path, _)| path.starts_with("/api/v1/cluster/"));
        let mut seen = 0;
        for (path, methods) in cluster {
            for (method, operation) in methods.as_object().unwrap() {
                for key in ["summary", "description"] {
                    let text = operation[key].as_str().unwrap_or_default();
                    assert!(text.len() > 10, "{method} {path} has no {key}");
                }
                seen += 1;
            }
        }
        assert_eq!(seen, 13);
        let leave = &paths["/api/v1/cluster/containers/{name}"]["delete"]["description"];
        for word in ["next heartbeat", "lost_after", "fleetctl node rm"] {
            assert!(leave.as_str().unwrap().contains(word), "{word}");
        }
    }

    #[test]
    fn rollouts_and_moves_are_described() {
        let document: serde_json::Value = serde_json::from_str(&document()).unwrap();
        for (path, methods) in [
            ("/api/v1/session", "post get delete"),
            ("/api/v1/nodes/{node}/history", "get"),
            ("/api/v1/nodes/{node}/unmanaged", "get"),
            ("/api/v1/rollouts", "get"),
            ("/api/v1/versions", "get"),
            ("/api/v1/workloads/{workload}/rollout", "get"),
            ("/api/v1/workloads/{workload}/rollout/{verb}", "post"),
            ("/api/v1/workloads/{workload}/rollback", "post"),
            ("/api/v1/workloads/{workload}/history", "get"),
            ("/api/v1/workloads/{workload}/why", "get"),
            ("/api/v1/workloads/{workload}/manifest", "get"),
            ("/api/v1/nodes/{node}/cordon", "post"),
            ("/api/v1/nodes/{node}/uncordon", "post"),
            ("/api/v1/nodes/{node}/drain", "post delete"),
            ("/api/v1/nodes/{node}/reserve", "post"),
            ("/api/v1/instances/migrate", "post"),
            ("/api/v1/rebalance", "get post"),
            ("/api/v1/commands", "post"),
            ("/api/v1/cluster/status", "get"),
            ("/api/v1/cluster/topology", "get"),
            ("/api/v1/cluster/rebalance", "post"),
            ("/api/v1/cluster/containers", "get post"),
            ("/api/v1/cluster/containers/{name}", "delete"),
            ("/api/v1/cluster/containers/{name}/heartbeat", "post"),
            ("/api/v1/cluster/containers/{name}/assignment", "get"),
            ("/api/v1/cluster/deploy/agent", "post"),
            ("/api/v1/cluster/agents", "get"),
            ("/api/v1/cluster/agents/{id}", "delete"),
            ("/api/v1/cluster/agents/{id}/migrate", "post"),
            ("/api/v1/cluster/agents/{id}/stop", "post"),
        ] {
            for method in methods.split(' ') {
                let known = &document["paths"][path][method];
                assert!(known.is_object(), "{method} {path} is not described");
            }
        }
    }
}
