//! Who asks: somebody with an API token, or a browser that signed in with one.
//!
//! A browser sends its cookie whoever wrote the page that made it ask. So with the cookie, and only
//! then, a change needs the header `X-Fleetctl`, which no page of another site can set, and a page
//! that says where it is from must be this controller's own; whoever wants to go on with another
//! protocol must say it, since a browser lets any page open those.

use super::{problem::ApiError, traced::Traced};
use crate::{
    controller::Controller,
    fleet::Actor,
    identity::{ApiToken, Role},
    model::{UnixMs, shown},
    support::clock,
};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, Method, StatusCode, header, request::Parts},
};
use std::{convert::Infallible, net::SocketAddr, sync::Arc};
use tokio::sync::Notify;

/// Name of the cookie.
pub(super) const COOKIE: &str = "fleetctl_session";
/// Changes by a browser carry it, with any value.
const OWN_PAGE: &str = "x-fleetctl";

/// The connection that a request came over; put there by the listener.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    /// From where.
    pub(super) address: Option<SocketAddr>,
    /// It is TLS.
    pub(super) tls: bool,
    /// Closes it at once, also when it does not take what is written to it.
    pub(super) cut: Arc<Notify>,
}

impl Remote {
    /// For the audit trail and the log.
    pub(super) fn from(&self) -> String {
        self.address
            .map_or_else(|| "unknown".into(), |a| a.ip().to_string())
    }
}

impl<S: Sync> FromRequestParts<S> for Remote {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Remote, Infallible> {
        let known = parts.extensions.get::<Remote>().cloned();
        Ok(known.unwrap_or_else(|| Remote {
            address: None,
            tls: false,
            cut: Arc::default(),
        }))
    }
}

/// Somebody with a valid token.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    actor: Actor,
    /// Of the token.
    digest: String,
    /// Of the session, where it showed one.
    session: Option<String>,
    /// When what it showed ends; 0: never.
    expires_ms: UnixMs,
}

impl Caller {
    /// Who it is, when his role allows what needs `role`.
    pub(super) fn need(&self, role: Role) -> Result<Actor, ApiError> {
        if self.actor.role >= role {
            return Ok(self.actor.clone());
        }
        Err(ApiError::new(
            StatusCode::FORBIDDEN,
            format!(
                "this needs the role {role}; the token `{}` is {}",
                self.actor.token, self.actor.role
            ),
        ))
    }

    /// When its session ends, or its token where it has none; 0: never.
    pub(super) fn expires_ms(&self) -> UnixMs {
        self.expires_ms
    }

    /// Whether its token and session are still taken: for what goes on for long.
    pub(super) fn is_still_let_in(&self, controller: &Controller) -> bool {
        let now = clock::unix_ms();
        let ended = self.expires_ms != 0 && now >= self.expires_ms;
        let session = self.session.as_ref();
        let signed_in = session.is_none_or(|id| controller.sessions.find(id, now).is_some());
        !ended && signed_in && controller.fleet().api_token(&self.digest, now).is_some()
    }
}

impl FromRequestParts<Arc<Controller>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        controller: &Arc<Controller>,
    ) -> Result<Caller, ApiError> {
        let refuse = |detail: &str| ApiError::new(StatusCode::UNAUTHORIZED, detail);
        let now = clock::unix_ms();
        let (digest, session) = match bearer(&parts.headers) {
            Some(secret) => (ApiToken::digest(secret), None),
            None => {
                let id = cookie(&parts.headers).ok_or_else(|| {
                    refuse("an API token is needed, as `Authorization: Bearer <token>`")
                })?;
                let session = controller.sessions.find(id, now);
                let session =
                    session.ok_or_else(|| refuse("this session has ended; sign in again"))?;
                check_page(&parts.method, &parts.headers)?;
                (session.token, Some((id.to_owned(), session.expires_ms)))
            }
        };
        let fleet = controller.fleet();
        let token = fleet
            .api_token(&digest, now)
            .ok_or_else(|| refuse("this API token is not known, has expired, or was revoked"))?;
        let from = parts.extensions.get::<Remote>();
        let actor = Actor {
            token: token.name.to_owned(),
            role: token.role,
            from: from.map_or_else(|| "unknown".into(), Remote::from),
            trace: parts.extensions.get::<Traced>().map(|t| t.0),
        };
        let expires_ms = session.as_ref().map_or(token.expires_ms, |(_, ends)| *ends);
        drop(fleet);
        Ok(Caller {
            actor,
            digest,
            session: session.map(|(id, _)| id),
            expires_ms,
        })
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    header.strip_prefix("Bearer ").map(str::trim)
}

/// The session that a browser says it has.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter();
    all.filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// Whether a request with the cookie was made by a page of this controller.
pub(super) fn check_page(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    let refuse = |detail: String| Err(ApiError::new(StatusCode::FORBIDDEN, detail));
    check_origin(headers)?;
    if headers.contains_key(header::UPGRADE) && !headers.contains_key(header::ORIGIN) {
        return refuse(
            "with the cookie of a session, another protocol needs the header `Origin`; or send \
             `Authorization: Bearer <token>`"
                .into(),
        );
    }
    let looks = [Method::GET, Method::HEAD].contains(method);
    if !looks && !headers.contains_key(OWN_PAGE) {
        return refuse(
            "with the cookie of a session, a change needs the header `X-Fleetctl` (any value); or \
             send `Authorization: Bearer <token>`"
                .into(),
        );
    }
    Ok(())
}

/// A page that says where it is from must be this controller's.
pub(super) fn check_origin(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
    let host = host.unwrap_or_default();
    if is_of(origin, host) {
        return Ok(());
    }
    let detail = format!(
        "a page of `{}` may not use the session of `{}`; a proxy in front of the controller must \
         pass the header `Host` on as it is",
        shown(origin),
        shown(host)
    );
    Err(ApiError::new(StatusCode::FORBIDDEN, detail))
}

/// `https://fleet.example` is of `fleet.example`; a proxy may add the TLS.
fn is_of(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let usual = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let plain = |text: &str| {
        text.strip_suffix(usual)
            .unwrap_or(text)
            .to_ascii_lowercase()
    };
    !authority.is_empty() && plain(authority) == plain(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn headers(all: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in all {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn the_cookie_is_found_among_others_and_nothing_that_looks_like_it() {
        for (lines, found) in [
            (&[("cookie", "fleetctl_session=abc")][..], Some("abc")),
            (
                &[("cookie", "a=b;  fleetctl_session=abc; c=d")],
                Some("abc"),
            ),
            (
                &[("cookie", "a=b"), ("cookie", "fleetctl_session=abc")],
                Some("abc"),
            ),
            (&[("cookie", "x_fleetctl_session=abc")], None),
            (
                &[("cookie", "fleetctl_session2=abc; fleetctl_session")],
                None,
            ),
            (&[("authorization", "fleetctl_session=abc")], None),
        ] {
            assert_eq!(cookie(&headers(lines)), found, "{lines:?}");
        }
    }

    #[test]
    fn a_change_with_the_cookie_needs_a_header_that_other_sites_cannot_set() {
        let host = ("host", "fleet.example:7070");
        let own = ("origin", "http://fleet.example:7070");
        let x = ("x-fleetctl", "dashboard");
        for (method, lines, let_in) in [
            (Method::GET, &[host][..], true),
            (Method::HEAD, &[host, own], true),
            (Method::POST, &[host, own], false),
            (Method::POST, &[host, own, x], true),
            (Method::POST, &[host, x], true),
            (Method::DELETE, &[host], false),
            (Method::PATCH, &[host, own], false),
            (Method::OPTIONS, &[host, own], false),
        ] {
            let checked = check_page(&method, &headers(lines));
            assert_eq!(checked.is_ok(), let_in, "{method} {lines:?}");
        }
    }

    #[test]
    fn a_page_of_another_site_cannot_use_a_session_nor_open_a_socket_with_it() {
        let host = ("host", "fleet.example:7070");
        let upgrade = ("upgrade", "websocket");
        let x = ("x-fleetctl", "1");
        let own = ("origin", "http://fleet.example:7070");
        assert!(check_page(&Method::GET, &headers(&[host, upgrade, own])).is_ok());
        let silent = check_page(&Method::GET, &headers(&[host, upgrade]));
        assert!(silent.unwrap_err().detail().contains("Origin"));
        for other in [
            "http://evil.example",
            "http://fleet.example",
            "http://fleet.example:7071",
            "http://fleet.example:7070.evil.example",
            "null",
            "",
            "file://",
        ] {
            let lines = [host, x, ("origin", other)];
            let refused = check_page(&Method::GET, &headers(&lines));
            assert!(refused.is_err(), "{other}");
            let refused = check_page(&Method::GET, &headers(&[host, upgrade, lines[2]]));
            assert!(refused.is_err(), "{other}");
        }
    }

    #[test]
    fn an_origin_is_compared_without_its_usual_port() {
        for (origin, host, same) in [
            ("https://fleet.example", "fleet.example", true),
            ("https://fleet.example", "Fleet.example:443", true),
            ("http://fleet.example", "fleet.example:80", true),
            ("http://fleet.example", "fleet.example:443", false),
            ("http://[::1]:7070", "[::1]:7070", true),
            ("http://", "", false),
            ("ftp://fleet.example", "fleet.example", false),
        ] {
            assert_eq!(is_of(origin, host), same, "{origin} {host}");
        }
    }
}
