//! Nodes that cannot speak MQTT: they register, give signs of life and leave over HTTP.
//!
//! ```text
//!  register (an operator) ─► NodeEnrolled{http} + NodeDescribed ─► a secret of its own, shown once
//!
//!             heartbeat: NodePresenceChanged, a new session
//!   offline ────────────────────────────────────────────────► online ◄── heartbeat ── silent
//!      ▲                                                      │    │ none for silent_after ▲
//!      ├── leave ◄────────────────────────────────────────────┘    └───────────────────────┤
//!      └── no heartbeat for offline_after ◄─────────────────────────────────────────────────┘
//! ```
//!
//! They are entries like those of any other node, so that placement, failover and rollouts know
//! nothing of the difference. Nothing is published for them: a heartbeat that tells an older
//! generation is answered with the assignment, signed as it would be on `assignment/{node}`.
//!
//! What stands as the key of such a node is [`PREFIX`] and the digest of its secret: it is no
//! public key, so nobody can be that node over MQTT, and it is cut off for good as any other key.

use super::{
    plain,
    state::{AskError, Controller, Input},
};
use crate::{
    contract::{HeartbeatBody, Seq, State},
    fleet::{Actor, Approval, Change, Refusal},
    identity::{IdentityError, random_id, sha256_hex},
    model::{Name, NodeFacts, Presence},
    support::clock,
};

/// Before the digest of a secret, where other nodes have a public key.
const PREFIX: &str = "http:";
/// Before a secret, so that who finds one knows what it is.
const SECRET_PREFIX: &str = "fleetnode_";

/// What the fleet keeps of a secret.
fn key_of(secret: &str) -> String {
    format!("{PREFIX}{}", sha256_hex(secret.as_bytes()))
}

/// 256 random bits.
fn new_secret() -> Result<String, IdentityError> {
    let parts = [random_id()?, random_id()?, random_id()?, random_id()?];
    Ok(format!("{SECRET_PREFIX}{}", parts.concat()))
}

impl Controller {
    /// Takes a machine into the fleet that speaks HTTP; the secret that it proves itself with.
    ///
    /// # Errors
    /// [`AskError`]; then it is no node.
    pub async fn register_http(
        &self,
        by: Actor,
        node: &Name,
        facts: NodeFacts,
    ) -> Result<String, AskError> {
        let secret = new_secret().map_err(|e| AskError::NotDurable(e.to_string()))?;
        let enrolled = Change::NodeEnrolled {
            node: node.clone(),
            key: key_of(&secret),
            token: "http".into(),
            hostname: plain::text(&facts.hostname, 128),
            approve: true,
            http: true,
        };
        self.change(Some(by.clone()), enrolled).await?;
        if let Err(error) = self.describe_http(node, facts).await {
            // Nobody has its secret: it must not stand in the way of another try.
            let removed = Change::NodeRemoved { node: node.clone() };
            let _ = self.change(Some(by), removed).await;
            return Err(error);
        }
        Ok(secret)
    }

    /// What a node that speaks HTTP says that it is.
    ///
    /// # Errors
    /// [`AskError`]; that it is so already is none.
    pub async fn describe_http(&self, node: &Name, mut facts: NodeFacts) -> Result<(), AskError> {
        plain::facts(&mut facts);
        let node = node.clone();
        unless_unchanged(
            self.change(None, Change::NodeDescribed { node, facts })
                .await,
        )
    }

    /// Whether `secret` is that of this node, which speaks HTTP and takes part.
    pub fn is_http_node(&self, node: &Name, secret: &str) -> bool {
        let fleet = self.fleet();
        fleet
            .node(node.as_str())
            .is_some_and(|n| n.http && n.approval == Approval::Approved && n.key == key_of(secret))
    }

    /// A heartbeat of a node that speaks HTTP, with its observed state.
    ///
    /// # Errors
    /// [`AskError`]: it is not a node any more, or the journal cannot keep what it said; then it
    /// is to say it again.
    pub async fn hear_http(
        &self,
        node: &Name,
        mut state: State,
        body: &HeartbeatBody,
    ) -> Result<(), AskError> {
        plain::state(&mut state);
        // Only what is new passes the core thread.
        let (session, news) = {
            let fleet = self.fleet();
            let Some(record) = fleet.node(node.as_str()) else {
                return Err(no_node(node));
            };
            let session = (record.presence == Presence::Offline).then(|| Seq {
                start: record.session.start + 1,
                count: 0,
            });
            let told = state.instances.iter().map(|i| (&i.workload, i));
            let same = record.observed_generation == state.generation
                && record.engines == state.engines
                && record.observed.iter().eq(told);
            (session, !same)
        };
        self.live.take(node, body, clock::unix_ms());
        match session {
            Some(session) => {
                let change = Change::NodePresenceChanged {
                    node: node.clone(),
                    presence: Presence::Online,
                    session,
                    reason: String::new(),
                };
                unless_unchanged(self.change(None, change).await)?;
            }
            None => {
                let heard = Input::Heard(node.clone());
                let sent = self.inputs.send_async(heard).await;
                sent.map_err(|_| AskError::Busy)?;
            }
        }
        if !news {
            return Ok(());
        }
        let change = Change::StateReported {
            node: node.clone(),
            generation: state.generation,
            instances: state.instances,
            engines: state.engines,
        };
        unless_unchanged(self.change(None, change).await)
    }

    /// A node that speaks HTTP says good-bye; by itself, or by the person who speaks for it.
    ///
    /// # Errors
    /// [`AskError`]; that it is offline already is none.
    pub async fn leave_http(&self, by: Option<Actor>, node: &Name) -> Result<(), AskError> {
        let session = {
            let fleet = self.fleet();
            let Some(record) = fleet.node(node.as_str()) else {
                return Err(no_node(node));
            };
            record.session
        };
        // Also where it is offline already: why is another matter then.
        let change = Change::NodePresenceChanged {
            node: node.clone(),
            presence: Presence::Offline,
            session,
            reason: "it left".into(),
        };
        unless_unchanged(self.change(by, change).await)
    }
}

fn no_node(node: &Name) -> AskError {
    AskError::Refused(Refusal::NotFound {
        what: "node",
        name: node.to_string(),
    })
}

fn unless_unchanged(result: Result<(), AskError>) -> Result<(), AskError> {
    match result {
        Err(AskError::Refused(Refusal::Unchanged)) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::PublicKey;

    #[test]
    fn what_stands_as_its_key_is_no_key_that_anybody_could_sign_with() {
        let secret = new_secret().unwrap();
        assert!(secret.starts_with(SECRET_PREFIX) && secret.len() == SECRET_PREFIX.len() + 64);
        let key = key_of(&secret);
        assert!(!key.contains(&secret));
        assert!(key.parse::<PublicKey>().is_err());
        assert_ne!(key, key_of(&new_secret().unwrap()));
    }
}
