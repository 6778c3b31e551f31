//! Who asks where a node may speak for itself as well as a person for it.

use super::super::{auth::Caller, problem::ApiError};
use crate::{controller::Controller, model::Name};
use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use std::sync::Arc;

/// Somebody with a token: a person's, or what looks like a node's.
pub(in crate::http) struct Asker {
    person: Result<Caller, ApiError>,
    secret: Option<String>,
}

impl Asker {
    /// It is this node itself, which speaks HTTP.
    pub(super) fn is(&self, controller: &Controller, node: &Name) -> bool {
        let secret = self.secret.as_deref();
        secret.is_some_and(|secret| controller.is_http_node(node, secret))
    }

    /// The person.
    ///
    /// # Errors
    /// Nobody whose API token is known.
    pub(super) fn person(self) -> Result<Caller, ApiError> {
        self.person
    }
}

impl FromRequestParts<Arc<Controller>> for Asker {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        controller: &Arc<Controller>,
    ) -> Result<Asker, ApiError> {
        let header = parts.headers.get(header::AUTHORIZATION);
        let secret = header
            .and_then(|h| h.to_str().ok()?.strip_prefix("Bearer "))
            .map(|secret| secret.trim().to_owned());
        Ok(Asker {
            person: Caller::from_request_parts(parts, controller).await,
            secret,
        })
    }
}
