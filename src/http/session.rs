//! Signing in to the dashboard: a token is shown once, and from then on the browser has a cookie.
//!
//! ```text
//!  POST token ─► session (cookie) ─► … ─► DELETE, 12 h, or the end of the token
//! ```
//!
//! The cookie is a random number that scripts cannot read and other sites cannot send. Sessions are
//! in memory: a restart of the controller ends them. Only a digest of the number is kept, and with it
//! the digest of the token, which is looked up at each request: a token that is revoked, or gets to
//! its end, takes its sessions with it. See [`super::auth`] for what a request with the cookie needs.

use super::{
    auth::{COOKIE, Caller, Remote, check_origin, check_page, cookie},
    problem::ApiError,
};
use crate::{
    controller::Controller,
    identity::{ApiToken, IdentityError, Role, random_bytes, sha256_hex},
    model::UnixMs,
    support::{Counted, clock},
};
use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::{HeaderMap, Method, StatusCode, header},
    response::IntoResponse,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tracing::{info, warn};
use utoipa::ToSchema;

/// Sessions at the same time; the oldest is dropped.
const MAX_SESSIONS: usize = 1_000;
/// Of these, of one token: it does not sign everybody else out.
const MAX_PER_TOKEN: usize = 100;
/// How long one lasts.
const LASTS_MS: u64 = 12 * 3_600_000;
/// How long it takes to be refused. Who waits has a connection, and of those there are only so many
/// from one address ([`super::serve`]).
const REFUSAL: Duration = Duration::from_secs(1);
/// Bytes of a request that signs in.
pub(super) const MAX_SIGN_IN: usize = 8 << 10;

/// Who is signed in.
#[derive(Debug, Default)]
pub struct Sessions {
    kept: Mutex<Kept>,
    refused: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Kept {
    /// How many there ever were.
    begun: u64,
    /// By SHA-256 of their ids.
    by_digest: BTreeMap<String, Session>,
}

/// A browser that is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    /// Digest of its token.
    pub(super) token: String,
    /// When it ends.
    pub(super) expires_ms: UnixMs,
    /// It was the n-th.
    number: u64,
}

impl Sessions {
    /// Begins one with the token of this digest; the answer is what the browser keeps.
    pub(super) fn begin(
        &self,
        token: String,
        expires_ms: UnixMs,
        now: UnixMs,
    ) -> Result<String, IdentityError> {
        let id = URL_SAFE_NO_PAD.encode(random_bytes::<32>()?);
        let mut kept = self.kept();
        kept.by_digest.retain(|_, s| now < s.expires_ms);
        let of_token = kept.by_digest.values().filter(|s| s.token == token);
        if of_token.count() >= MAX_PER_TOKEN {
            kept.drop_oldest(|s| s.token == token);
        } else if kept.by_digest.len() >= MAX_SESSIONS {
            kept.drop_oldest(|_| true);
        }
        kept.begun += 1;
        let session = Session {
            token,
            expires_ms,
            number: kept.begun,
        };
        kept.by_digest.insert(sha256_hex(id.as_bytes()), session);
        Ok(id)
    }

    /// The session with this id, unless it has ended.
    pub(super) fn find(&self, id: &str, now: UnixMs) -> Option<Session> {
        let digest = sha256_hex(id.as_bytes());
        let kept = self.kept();
        let session = kept.by_digest.get(&digest);
        session.filter(|s| now < s.expires_ms).cloned()
    }

    /// How many there are.
    pub(super) fn open(&self, now: UnixMs) -> usize {
        let kept = self.kept();
        kept.by_digest
            .values()
            .filter(|s| now < s.expires_ms)
            .count()
    }

    fn end(&self, id: &str) {
        self.kept().by_digest.remove(&sha256_hex(id.as_bytes()));
    }

    /// Somebody showed a token that is none. Logged once a minute.
    fn refuse(&self, from: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let before = refused.iter().map(|(_, n)| n).sum::<u64>();
        refused.count("sign_in", clock::mono_ms(), || {
            warn!(from, refused = before + 1, "sign-in refused, no such token");
        });
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn drop_oldest(&mut self, of: impl Fn(&Session) -> bool) {
        let own = self.by_digest.iter().filter(|(_, s)| of(s));
        let oldest = own.min_by_key(|(_, s)| s.number).map(|(id, _)| id.clone());
        if let Some(oldest) = oldest {
            self.by_digest.remove(&oldest);
        }
    }
}

/// What signs in.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct SignIn {
    /// An API token.
    token: String,
}

/// Who is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionView {
    /// What the token is called.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When the session ends, Unix milliseconds; of a token that was shown without a session its own
    /// end, 0 where it has none.
    pub expires_ms: UnixMs,
}

/// The cookie for `seconds`; 0: no more.
fn set_cookie(id: &str, seconds: u64, tls: bool) -> String {
    let secure = if tls { "; Secure" } else { "" };
    format!("{COOKIE}={id}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{secure}")
}

/// When a session that begins now ends: never after its token.
fn end_of(now: UnixMs, token_expires_ms: UnixMs) -> UnixMs {
    let end = now.saturating_add(LASTS_MS);
    match token_expires_ms {
        0 => end,
        token => end.min(token),
    }
}

#[utoipa::path(post, path = "/api/v1/session", tag = "session", request_body = SignIn,
    description = "Signs a browser in: the answer sets the cookie `fleetctl_session`, for 12 hours \
                   at most. With the cookie, every method other than GET and HEAD needs the header \
                   `X-Fleetctl` (any value).", security(()),
    responses((status = 200, body = SessionView), (status = 401, body = super::ProblemDocument),
              (status = 403, body = super::ProblemDocument)))]
pub(super) async fn create(
    State(c): State<Arc<Controller>>,
    remote: Remote,
    headers: HeaderMap,
    body: Result<Json<SignIn>, JsonRejection>,
) -> Result<impl IntoResponse, ApiError> {
    check_origin(&headers)?;
    let digest = ApiToken::digest(body?.0.token.trim());
    let now = clock::unix_ms();
    let view = c.fleet().api_token(&digest, now).map(|t| SessionView {
        name: t.name.to_owned(),
        role: t.role,
        expires_ms: end_of(now, t.expires_ms),
    });
    let from = remote.from();
    let Some(view) = view else {
        c.sessions.refuse(&from);
        tokio::time::sleep(REFUSAL).await;
        let detail = "this API token is not known, has expired, or was revoked";
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, detail));
    };
    if let Some(before) = cookie(&headers) {
        c.sessions.end(before);
    }
    let id = c.sessions.begin(digest, view.expires_ms, now);
    let id = id.map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?;
    info!(token = view.name, role = %view.role, from, "signed in");
    let seconds = view.expires_ms.saturating_sub(now) / 1_000;
    let headers = [
        (header::SET_COOKIE, set_cookie(&id, seconds, remote.tls)),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Json(view)))
}

#[utoipa::path(get, path = "/api/v1/session", tag = "session",
    description = "Who asks, by the cookie of a session or by a token.",
    responses((status = 200, body = SessionView), (status = 401, body = super::ProblemDocument)))]
pub(super) async fn show(caller: Caller) -> Result<impl IntoResponse, ApiError> {
    let actor = caller.need(Role::Viewer)?;
    let view = SessionView {
        name: actor.token,
        role: actor.role,
        expires_ms: caller.expires_ms(),
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(view)))
}

#[utoipa::path(delete, path = "/api/v1/session", tag = "session",
    description = "Signs a browser out; done also when it was not signed in.", security(()),
    responses((status = 204), (status = 403, body = super::ProblemDocument)))]
pub(super) async fn end(
    State(c): State<Arc<Controller>>,
    remote: Remote,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    if let Some(id) = cookie(&headers) {
        check_page(&Method::DELETE, &headers)?;
        c.sessions.end(id);
    }
    let cleared = [(header::SET_COOKIE, set_cookie("", 0, remote.tls))];
    Ok((StatusCode::NO_CONTENT, cleared))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(sessions: &Sessions, token: &str, expires_ms: u64, now: u64) -> String {
        sessions.begin(token.to_owned(), expires_ms, now).unwrap()
    }

    #[test]
    fn a_session_is_known_by_its_id_until_it_ends() {
        let sessions = Sessions::default();
        let (one, two) = (begin(&sessions, "a", 5, 0), begin(&sessions, "b", 9, 0));
        assert_eq!(one.len(), 43, "256 random bits");
        assert_ne!(one, two);
        assert_eq!(sessions.find(&one, 4).unwrap().token, "a");
        assert_eq!(sessions.find(&one, 5), None, "its time is over");
        assert_eq!(sessions.find(&two, 5).unwrap().expires_ms, 9);
        sessions.end(&two);
        assert_eq!(sessions.find(&two, 5), None);
        assert_eq!(sessions.find("", 0), None);
    }

    #[test]
    fn neither_the_id_nor_anything_that_signs_in_is_kept() {
        let sessions = Sessions::default();
        let id = begin(&sessions, &ApiToken::digest("secret"), 5, 0);
        let kept = format!("{sessions:?}");
        assert!(!kept.contains(&id) && !kept.contains("secret"), "{kept}");
        assert!(kept.contains(&sha256_hex(id.as_bytes())));
        let digest = sha256_hex(id.as_bytes());
        assert_eq!(sessions.find(&digest, 0), None, "a digest signs nobody in");
    }

    #[test]
    fn the_oldest_sessions_are_dropped_and_one_token_leaves_room_for_others() {
        let sessions = Sessions::default();
        let first = begin(&sessions, "other", 9, 0);
        let own: Vec<String> = (0..=MAX_PER_TOKEN)
            .map(|_| begin(&sessions, "own", 9, 0))
            .collect();
        assert!(sessions.find(&first, 0).is_some());
        assert!(sessions.find(&own[0], 0).is_none(), "its own oldest");
        assert!(sessions.find(&own[1], 0).is_some());
        for n in 0..MAX_SESSIONS {
            begin(&sessions, &format!("token {n}"), 9, 0);
        }
        assert_eq!(sessions.kept().by_digest.len(), MAX_SESSIONS);
        assert!(sessions.find(&first, 0).is_none());
        // What has ended is not counted.
        begin(&sessions, "late", 20, 9);
        assert_eq!(sessions.kept().by_digest.len(), 1);
    }

    #[test]
    fn a_session_ends_no_later_than_its_token() {
        assert_eq!(end_of(1_000, 0), 1_000 + LASTS_MS);
        assert_eq!(end_of(1_000, 5_000), 5_000);
        assert_eq!(end_of(1_000, u64::MAX), 1_000 + LASTS_MS);
    }

    #[test]
    fn the_cookie_is_kept_from_scripts_and_other_sites() {
        let plain = set_cookie("id", 43_200, false);
        assert_eq!(
            plain,
            "fleetctl_session=id; HttpOnly; SameSite=Strict; Path=/; Max-Age=43200"
        );
        assert_eq!(set_cookie("id", 43_200, true), plain + "; Secure");
    }
}
