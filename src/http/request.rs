//! What holds of every request, seen before its handler: only the query keys that are described
//! are taken, a `limit` is one, and a POST without a body is one with nothing in it.
//!
//! The description is the one that [`super::openapi`] gives away, so that the two cannot differ.

use super::{openapi, problem::ApiError, workloads::MAX_PAGE};
use crate::{manifest::nearest::nearest, model::shown};
use axum::{
    body::{Body, HttpBody},
    extract::{MatchedPath, Query, Request},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};
use std::{collections::BTreeMap, sync::LazyLock};

/// The query keys of each operation, by method and path.
type Keys = BTreeMap<(&'static str, String), Vec<String>>;

static KEYS: LazyLock<Keys> = LazyLock::new(openapi::query_keys);

/// Goes on with what is in order.
pub(super) async fn check(mut request: Request, next: Next) -> Result<Response, ApiError> {
    if let Some(path) = request.extensions().get::<MatchedPath>() {
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
    Ok(next.run(request).await)
}

fn check_query(method: &Method, path: &str, query: &[(String, String)]) -> Result<(), ApiError> {
    let Some((method, known)) = known(method, path) else {
        return Ok(());
    };
    for (key, value) in query {
        if !known.contains(key) {
            return Err(unknown(method, path, key, known));
        }
        let fits = || {
            value
                .parse()
                .is_ok_and(|n: usize| (1..=MAX_PAGE).contains(&n))
        };
        if key == "limit" && !fits() {
            let detail = format!(
                "`limit` must be a whole number from 1 to {MAX_PAGE}, not `{}`",
                shown(value)
            );
            return Err(ApiError::new(StatusCode::BAD_REQUEST, detail));
        }
    }
    Ok(())
}

/// The keys of an operation; `None` where it is not described, as the front page.
fn known(method: &Method, path: &str) -> Option<(&'static str, &'static [String])> {
    // As its GET, without the answer.
    let method = if method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    let entry = KEYS.get_key_value(&(openapi::verb(method)?, path.to_owned()))?;
    Some((entry.0.0, entry.1))
}

fn unknown(method: &str, path: &str, key: &str, known: &[String]) -> ApiError {
    let method = method.to_uppercase();
    let key_shown = shown(key);
    let detail = if known.is_empty() {
        format!("`{key_shown}` is unknown: {method} {path} takes nothing behind a `?`")
    } else {
        let words: Vec<&str> = known.iter().map(String::as_str).collect();
        let meant = nearest(key, &words);
        let meant = meant.map_or_else(String::new, |word| format!("; did you mean `{word}`?"));
        let known = known.join("`, `");
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
            .layer(axum::middleware::from_fn(check));
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
