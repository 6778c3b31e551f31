//! Who may enter, and what they may say and hear.
//!
//! The broker knows no users: a [`Gatekeeper`] looks at what a client shows and answers with a
//! principal and its [`Rights`], or a [`Refusal`]. The broker enforces the rights at every
//! CONNECT (the will), PUBLISH and SUBSCRIBE.

use super::filter;
use std::net::SocketAddr;
use std::sync::Arc;

/// Decides who may connect.
pub trait Gatekeeper: Send + Sync + 'static {
    /// Looks at one client's credentials. Called in the connection's own task, never on the
    /// path that accepts connections; it may compute (a signature, a digest) but must not wait.
    fn admit(&self, credentials: &Credentials<'_>) -> Result<Admission, Refusal>;
}

/// What a client shows when it connects.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// `[A-Za-z0-9_-]{1,64}`; made up by the broker for a client that sent none.
    pub client_id: &'a str,
    /// MQTT user name.
    pub username: Option<&'a str>,
    /// MQTT password: any bytes.
    pub password: Option<&'a [u8]>,
    /// Where the connection comes from.
    pub remote: SocketAddr,
}

/// Hides the password: credentials end up in logs.
impl std::fmt::Debug for Credentials<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Credentials")
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("password", &self.password.map(|_| "…"))
            .field("remote", &self.remote)
            .finish()
    }
}

/// The answer to a client that may enter.
#[derive(Debug, Clone)]
pub struct Admission {
    /// Who it is: `node/n1`, `controller`, `token/grafana`. A client id belongs to the principal
    /// that uses it; another principal cannot take it over.
    pub principal: String,
    /// What it may do.
    pub rights: Arc<Rights>,
}

/// What a principal may say and hear: MQTT filters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// A publish is allowed when one of these matches its topic.
    pub publish: Vec<String>,
    /// A subscription is allowed when one of these covers its filter.
    pub subscribe: Vec<String>,
    /// What matches one of these is not delivered, whatever was subscribed to.
    pub hidden: Vec<String>,
    /// No limit on the rate of publishes.
    pub unlimited: bool,
}

impl Rights {
    /// May it publish to `topic`?
    pub fn may_publish(&self, topic: &str) -> bool {
        self.publish
            .iter()
            .any(|allowed| filter::matches(allowed, topic))
    }

    /// Is it to be given what was published to `topic`?
    pub fn may_receive(&self, topic: &str) -> bool {
        !self
            .hidden
            .iter()
            .any(|hidden| filter::matches(hidden, topic))
    }

    /// May it subscribe to `requested`?
    pub fn may_subscribe(&self, requested: &str) -> bool {
        self.subscribe
            .iter()
            .any(|allowed| filter::covers(allowed, requested))
    }
}

/// The answer to a client that may not enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// CONNACK 4.
    #[error("the user name or password is wrong")]
    BadCredentials,
    /// CONNACK 5.
    #[error("the client may not connect")]
    NotAuthorized,
    /// CONNACK 3: try again later.
    #[error("the broker cannot decide now")]
    Unavailable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_filters() {
        let rights = Rights {
            publish: vec!["fleet/+/n1".into(), "fleet/telemetry/n1/+".into()],
            subscribe: vec!["fleet/assignment/n1".into(), "open/#".into()],
            hidden: vec!["fleet/secret/#".into()],
            unlimited: false,
        };
        assert!(rights.may_publish("fleet/state/n1"));
        assert!(rights.may_publish("fleet/telemetry/n1/cpu"));
        assert!(!rights.may_publish("fleet/state/n2"));
        assert!(rights.may_subscribe("fleet/assignment/n1"));
        assert!(!rights.may_subscribe("fleet/assignment/+"));
        assert!(rights.may_subscribe("open/+/x"));
        assert!(!Rights::default().may_publish("a"));
        assert!(!Rights::default().may_subscribe("a"));
        assert!(rights.may_receive("fleet/open") && !rights.may_receive("fleet/secret/x"));
    }

    #[test]
    fn a_password_is_never_printed() {
        let shown = Credentials {
            client_id: "n1",
            username: Some("n1"),
            password: Some(b"secret"),
            remote: SocketAddr::from(([127, 0, 0, 1], 1)),
        };
        assert!(!format!("{shown:?}").contains("secret"));
    }
}
