//! Who asks.

use super::problem::ApiError;
use crate::{controller::Controller, fleet::Actor, identity::Role, support::clock};
use axum::{
    extract::FromRequestParts,
    http::{StatusCode, header, request::Parts},
};
use std::{net::SocketAddr, sync::Arc};

/// The address that a request came from; put there by the listener.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remote(pub(super) SocketAddr);

/// Somebody with a valid token.
#[derive(Debug, Clone)]
pub(super) struct Caller(Actor);

impl Caller {
    /// Who it is, when his role allows what needs `role`.
    pub(super) fn need(&self, role: Role) -> Result<Actor, ApiError> {
        if self.0.role >= role {
            return Ok(self.0.clone());
        }
        Err(ApiError::new(
            StatusCode::FORBIDDEN,
            format!(
                "this needs the role {role}; the token `{}` is {}",
                self.0.token, self.0.role
            ),
        ))
    }
}

impl FromRequestParts<Arc<Controller>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        controller: &Arc<Controller>,
    ) -> Result<Caller, ApiError> {
        let header = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|h| h.to_str().ok());
        let secret = header
            .and_then(|h| h.strip_prefix("Bearer "))
            .map(str::trim);
        let refuse = |detail: &str| ApiError::new(StatusCode::UNAUTHORIZED, detail);
        let secret = secret
            .ok_or_else(|| refuse("an API token is needed, as `Authorization: Bearer <token>`"))?;
        let fleet = controller.fleet();
        let (token, role) = fleet
            .authorize(secret, clock::unix_ms())
            .ok_or_else(|| refuse("this API token is not known, has expired, or was revoked"))?;
        let from = parts
            .extensions
            .get::<Remote>()
            .map(|r| r.0.ip().to_string());
        let from = from.unwrap_or_else(|| "unknown".into());
        Ok(Caller(Actor {
            token: token.to_owned(),
            role,
            from,
        }))
    }
}
