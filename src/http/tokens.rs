//! Tokens. A secret is shown once, when it is made.

use super::{auth::Caller, problem::ApiError, workloads::idempotent};
use crate::{
    controller::Controller,
    fleet::{Change, TokenGrant},
    identity::{ApiToken, Role, random_id},
    model::{UnixMs, shown},
    support::clock,
};
use axum::{
    Json,
    extract::{Path, State, rejection::JsonRejection},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A token to make.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NewToken {
    /// `join` or `api`.
    pub kind: String,
    /// What it is called; for the audit trail.
    #[serde(default)]
    pub name: String,
    /// Of an API token; `viewer` unless given.
    #[serde(default)]
    pub role: Option<Role>,
    /// Milliseconds until it ends; never when null.
    #[serde(default)]
    pub ttl_ms: Option<u64>,
    /// Of a join token: so many machines may join with it; any number when null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
}

/// A token that was made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TokenCreated {
    /// What is given on: shown now and never again.
    pub token: String,
}

/// A token, as listed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// Its id.
    pub id: String,
    /// `join` or `api`.
    pub kind: String,
    /// What it is called.
    pub name: String,
    /// Of an API token.
    pub role: Option<Role>,
    /// When it was made.
    pub created_ms: UnixMs,
    /// When it ends; 0: never.
    pub expires_ms: UnixMs,
    /// It is taken.
    pub valid: bool,
    /// So many machines may still join with it; any number when null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
}

#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens",
    responses((status = 200, body = Vec<TokenView>)))]
pub(super) async fn list(
    State(c): State<Arc<Controller>>,
    caller: Caller,
) -> Result<Json<Vec<TokenView>>, ApiError> {
    caller.need(Role::Admin)?;
    let now = clock::unix_ms();
    let fleet = c.fleet();
    let view = |(id, t): (&String, &crate::fleet::TokenRecord)| {
        let (kind, role) = match &t.grant {
            TokenGrant::Join => ("join", None),
            TokenGrant::Api { role, .. } => ("api", Some(*role)),
        };
        TokenView {
            id: id.clone(),
            kind: kind.into(),
            name: t.name.clone(),
            role,
            created_ms: t.created_ms,
            expires_ms: t.expires_ms,
            valid: t.is_valid(now) && !t.is_used_up(),
            uses: t.uses,
        }
    };
    Ok(Json(fleet.tokens().map(view).collect()))
}

#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = NewToken,
    responses((status = 201, body = TokenCreated)))]
pub(super) async fn create(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    body: Result<Json<NewToken>, JsonRejection>,
) -> Result<(StatusCode, Json<TokenCreated>), ApiError> {
    let by = caller.need(Role::Admin)?;
    let new = body?.0;
    let name: String = new
        .name
        .chars()
        .filter(|c| !c.is_control())
        .take(100)
        .collect();
    let expires_ms = new
        .ttl_ms
        .map_or(0, |ttl| clock::unix_ms().saturating_add(ttl));
    if new.uses == Some(0) || (new.uses.is_some() && new.kind != "join") {
        return Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "`uses` is for a join token, and 1 or more".to_owned(),
        ));
    }
    let broken = |e: crate::identity::IdentityError| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string())
    };
    let token = match new.kind.as_str() {
        "join" => {
            c.create_join_token(Some(by), name, expires_ms, new.uses)
                .await?
        }
        "api" => {
            let token = ApiToken::generate().map_err(broken)?;
            let role = new.role.unwrap_or(Role::Viewer);
            let id = random_id().map_err(broken)?;
            let grant = TokenGrant::Api {
                role,
                digest: token.digest,
            };
            c.change(
                Some(by),
                Change::TokenCreated {
                    id,
                    name,
                    grant,
                    expires_ms,
                    uses: None,
                },
            )
            .await?;
            token.secret
        }
        other => {
            let detail = format!("`{}` is not a kind of token: join or api", shown(other));
            return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
    };
    Ok((StatusCode::CREATED, Json(TokenCreated { token })))
}

#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "tokens",
    params(("id" = String, Path)), responses((status = 204)))]
pub(super) async fn revoke(
    State(c): State<Arc<Controller>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let by = caller.need(Role::Admin)?;
    idempotent(c.change(Some(by), Change::TokenRevoked { id }).await)
}
