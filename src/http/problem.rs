//! Errors as problem documents (RFC 9457).

use crate::{
    controller::AskError,
    fleet::Refusal,
    manifest::{Problem, Problems},
    model::{shown, shown_within},
};
use axum::{
    Json,
    extract::rejection::{JsonRejection, QueryRejection},
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Bytes of a sentence.
const MAX_DETAIL: usize = 4_096;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProblemDocument {
    /// `about:blank`: the status says all.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// One sentence for a person.
    pub detail: String,
    /// Of a manifest: everything that is wrong with it, each with its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// An error of a handler.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    detail: String,
    problems: Vec<Problem>,
    /// Seconds.
    retry_after: Option<u32>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> ApiError {
        let mut detail = detail.into();
        // No sentence of ours is so long; one that somebody else's word made so is cut.
        if detail.len() > MAX_DETAIL {
            detail.truncate(detail.floor_char_boundary(MAX_DETAIL));
            detail.push('…');
        }
        ApiError {
            status,
            detail,
            problems: Vec::new(),
            retry_after: None,
        }
    }

    /// Says in how many seconds it may go better.
    pub(super) fn retry_after(mut self, seconds: u32) -> ApiError {
        self.retry_after = Some(seconds);
        self
    }

    pub(super) fn too_many_streams() -> ApiError {
        let detail = "too many streams are open; try again when some have ended";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    pub(super) fn not_found(what: &'static str, name: &str) -> ApiError {
        Refusal::NotFound {
            what,
            name: shown(name),
        }
        .into()
    }

    #[cfg(test)]
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        let status = match refusal {
            Refusal::NotFound { .. } => StatusCode::NOT_FOUND,
            Refusal::Conflict(_) | Refusal::Unchanged => StatusCode::CONFLICT,
            Refusal::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        ApiError::new(status, refusal.to_string())
    }
}

impl From<AskError> for ApiError {
    fn from(error: AskError) -> ApiError {
        match error {
            AskError::Refused(refusal) => refusal.into(),
            AskError::NotDurable(detail) => ApiError::new(StatusCode::INSUFFICIENT_STORAGE, detail),
            AskError::Busy => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        }
    }
}

impl From<Problems> for ApiError {
    fn from(problems: Problems) -> ApiError {
        let detail = match problems.0.len() {
            1 => "the manifest has an error; nothing was applied".to_owned(),
            n => format!("the manifest has {n} errors; nothing was applied"),
        };
        let mut error = ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        error.problems = problems.0;
        error
    }
}

/// A body is a list, where all that is taken are objects.
#[derive(Debug, thiserror::Error)]
#[error("the body is a list: an object is expected, as in {{\"key\": \"value\"}}")]
pub(super) struct NotAnObject;

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> ApiError {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&rejection);
        while let Some(error) = cause {
            if error.is::<NotAnObject>() {
                return ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
            }
            cause = error.source();
        }
        ApiError::new(rejection.status(), shown_within(&rejection.body_text()))
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> ApiError {
        ApiError::new(rejection.status(), shown_within(&rejection.body_text()))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let document = ProblemDocument {
            kind: "about:blank".into(),
            title: self.status.canonical_reason().unwrap_or("Error").into(),
            status: self.status.as_u16(),
            detail: self.detail,
            problems: self.problems,
        };
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let again = self
            .retry_after
            .map(|s| [(header::RETRY_AFTER, s.to_string())]);
        let document = (self.status, kind, Json(document));
        match again {
            Some(again) => (again, document).into_response(),
            None => document.into_response(),
        }
    }
}

pub(super) async fn not_found(uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        format!("there is nothing at {}", shown(uri.path())),
    )
}

pub(super) async fn method_not_allowed(uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!(
            "{} does not take this method; see /api/v1/openapi.json",
            shown(uri.path())
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_sent_is_never_sent_back_whole() {
        let long = "ü".repeat(1 << 20);
        for error in [
            ApiError::not_found("node", &long),
            ApiError::new(StatusCode::CONFLICT, long.clone()),
        ] {
            assert!(
                error.detail().len() < MAX_DETAIL + 8,
                "{}",
                error.detail().len()
            );
            assert!(error.detail().contains('…'));
        }
        let named = ApiError::not_found("node", "pi-1");
        assert!(named.detail().contains("pi-1"));
    }
}
