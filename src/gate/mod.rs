//! Whom a broker of the fleet lets in, and to which topics.
//!
//! | user name | password | may publish | may subscribe |
//! |---|---|---|---|
//! | `controller` | statement of the fleet key | everything | everything |
//! | `node` | credential and statement of the node's key | its own agent topics | its own `assignment` `command` `welcome` |
//! | `join` | a join token's secret | `enroll/+` | `welcome/+` |
//! | `token` | an API token | nothing | everything below the prefix |
//!
//! All but the last verify with the fleet's public key alone. What they cannot say, which keys and
//! tokens were revoked and which API tokens exist, comes as the signed [`Access`] document: the
//! newest one wins, and whoever it cuts off is disconnected at once.

mod window;

use crate::{
    broker::{Admission, Credentials, Gatekeeper, Refusal, Rights},
    contract::{Access, CONTROLLER, Kind, Seq, Topics, Unverified},
    identity::{ApiToken, PublicKey, credential, verify_join_secret},
    model::Name,
    support::clock,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError, RwLock},
};
use window::Window;

/// Nodes whose last statement is remembered.
const MAX_REMEMBERED: usize = 100_000;

/// A gatekeeper for one fleet.
pub struct FleetGate {
    fleet: PublicKey,
    topics: Topics,
    allow_anonymous: bool,
    access: RwLock<Known>,
    /// Number of the last statement of each principal: none is taken twice.
    statements: Mutex<BTreeMap<String, Seq>>,
    /// The same for blobs, which a node fetches side by side.
    fetches: Mutex<BTreeMap<String, Window>>,
    everything: Arc<Rights>,
    joining: Arc<Rights>,
    reading: Arc<Rights>,
}

#[derive(Default)]
struct Known {
    generation: u64,
    revoked: BTreeSet<String>,
    revoked_tokens: BTreeSet<String>,
    readers: BTreeSet<String>,
}

impl FleetGate {
    /// For the fleet with this key. `allow_anonymous` lets clients without a user name do
    /// everything: for tests and development only.
    pub fn new(fleet: PublicKey, topics: Topics, allow_anonymous: bool) -> FleetGate {
        let below = |rest: &str| match topics.prefix() {
            "" => rest.to_owned(),
            prefix => format!("{prefix}/{rest}"),
        };
        let rights = |publish: Vec<String>, subscribe: Vec<String>, unlimited| {
            Arc::new(Rights {
                publish,
                subscribe,
                hidden: Vec::new(),
                unlimited,
            })
        };
        // What people type into programs, and what those answer, is for nobody but them: neither
        // orders nor streams nor results reach a token, which may be a viewer's.
        let between = [Kind::Command, Kind::Stream, Kind::Result];
        let reading = Arc::new(Rights {
            publish: Vec::new(),
            subscribe: vec![below("#")],
            hidden: between.map(|kind| topics.every(kind)).to_vec(),
            unlimited: false,
        });
        FleetGate {
            everything: rights(vec!["#".into()], vec!["#".into()], true),
            joining: rights(
                vec![topics.every(Kind::Enroll)],
                vec![topics.every(Kind::Welcome)],
                false,
            ),
            reading,
            fleet,
            topics,
            allow_anonymous,
            access: RwLock::default(),
            statements: Mutex::default(),
            fetches: Mutex::default(),
        }
    }

    /// Takes an access document as it came from the topic `{p}/access`; `true` when it is genuine
    /// and newer than the one in effect. Then [`FleetGate::is_cut_off`] may say something else.
    pub fn take_access(&self, payload: &[u8]) -> bool {
        let topic = self.topics.access();
        let read = || {
            let message = Unverified::parse(payload)
                .ok()
                .filter(|m| m.from() == CONTROLLER)?;
            message
                .verify(&topic, &self.fleet)
                .ok()?
                .read::<Access>()
                .ok()
        };
        read().is_some_and(|access| self.set_access(access))
    }

    /// The same from a document whose origin is certain.
    pub fn set_access(&self, access: Access) -> bool {
        let mut known = self.access.write().unwrap_or_else(PoisonError::into_inner);
        if access.generation < known.generation {
            return false;
        }
        *known = Known {
            generation: access.generation,
            revoked: access.revoked.into_iter().collect(),
            revoked_tokens: access.revoked_tokens.into_iter().collect(),
            readers: access.readers.into_iter().collect(),
        };
        true
    }

    /// The principal (as [`Admission::principal`] names it) would not be let in any more.
    pub fn is_cut_off(&self, principal: &str) -> bool {
        let known = self.access.read().unwrap_or_else(PoisonError::into_inner);
        match principal.split('/').collect::<Vec<_>>()[..] {
            ["node", _, key] => known.revoked.contains(key),
            ["join", id] => known.revoked_tokens.contains(id),
            ["token", digest] => !known.readers.contains(digest),
            _ => false,
        }
    }

    /// Takes a statement's number, once.
    fn first_time(&self, who: &str, seq: Seq) -> bool {
        let mut statements = self
            .statements
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match statements.get_mut(who) {
            Some(last) if seq <= *last => return false,
            Some(last) => *last = seq,
            None => {
                if statements.len() >= MAX_REMEMBERED {
                    statements.pop_first();
                }
                statements.insert(who.to_owned(), seq);
            }
        }
        true
    }

    fn admit_node(&self, client_id: &str, password: &str) -> Result<Admission, Refusal> {
        let proven =
            credential::verify_node(&self.fleet, password).ok_or(Refusal::BadCredentials)?;
        let principal = format!("node/{}/{}", proven.node, proven.key);
        if client_id != proven.node.as_str() || self.is_cut_off(&principal) {
            return Err(Refusal::NotAuthorized);
        }
        if !self.first_time(&principal, proven.seq) {
            return Err(Refusal::BadCredentials);
        }
        Ok(Admission {
            principal,
            rights: Arc::new(self.node_rights(&proven.node)),
        })
    }

    /// Who fetches blobs with this statement: a node, by its principal as in
    /// [`Admission::principal`].
    ///
    /// # Errors
    /// It is no statement of a node of this fleet, was taken before, or the node is cut off.
    pub fn admit_to_blobs(&self, statement: &str) -> Result<String, Refusal> {
        let proven = credential::verify_fetch(&self.fleet, statement);
        let proven = proven.ok_or(Refusal::BadCredentials)?;
        let principal = format!("node/{}/{}", proven.node, proven.key);
        if self.is_cut_off(&principal) {
            return Err(Refusal::NotAuthorized);
        }
        let mut fetches = self.fetches.lock().unwrap_or_else(PoisonError::into_inner);
        if !fetches.contains_key(&principal) && fetches.len() >= MAX_REMEMBERED {
            fetches.pop_first();
        }
        match fetches
            .entry(principal.clone())
            .or_default()
            .take(proven.seq)
        {
            true => Ok(principal),
            false => Err(Refusal::BadCredentials),
        }
    }

    fn node_rights(&self, node: &Name) -> Rights {
        let own = |kind: &Kind| self.topics.filter(*kind, node);
        let says = Kind::ALL
            .iter()
            .filter(|k| k.from_agent() && **k != Kind::Enroll);
        let hears = [Kind::Assignment, Kind::Command, Kind::Welcome];
        Rights {
            publish: says.map(own).collect(),
            subscribe: hears.iter().map(own).collect(),
            hidden: Vec::new(),
            unlimited: false,
        }
    }
}

impl Gatekeeper for FleetGate {
    fn admit(&self, c: &Credentials<'_>) -> Result<Admission, Refusal> {
        let password = c.password.map(std::str::from_utf8);
        let (user, password) = match (c.username, password) {
            (None, None) if self.allow_anonymous => {
                let principal = format!("anonymous/{}", c.client_id);
                return Ok(Admission {
                    principal,
                    rights: self.everything.clone(),
                });
            }
            (Some(user), Some(Ok(password))) => (user, password),
            _ => return Err(Refusal::BadCredentials),
        };
        match user {
            "node" => self.admit_node(c.client_id, password),
            "controller" => {
                let seq = credential::verify_controller(&self.fleet, password);
                let fresh = seq.is_some_and(|seq| self.first_time(CONTROLLER, seq));
                let rights = self.everything.clone();
                let admission = Admission {
                    principal: CONTROLLER.to_owned(),
                    rights,
                };
                if fresh {
                    Ok(admission)
                } else {
                    Err(Refusal::BadCredentials)
                }
            }
            "join" => {
                let id = verify_join_secret(&self.fleet, password, clock::unix_ms());
                let principal = format!("join/{}", id.ok_or(Refusal::BadCredentials)?);
                if self.is_cut_off(&principal) {
                    return Err(Refusal::NotAuthorized);
                }
                Ok(Admission {
                    principal,
                    rights: self.joining.clone(),
                })
            }
            "token" => {
                let principal = format!("token/{}", ApiToken::digest(password));
                if self.is_cut_off(&principal) {
                    return Err(Refusal::BadCredentials);
                }
                Ok(Admission {
                    principal,
                    rights: self.reading.clone(),
                })
            }
            _ => Err(Refusal::BadCredentials),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{SigningKey, join_secret};

    fn enter(gate: &FleetGate, id: &str, user: &str, password: &str) -> Result<Admission, Refusal> {
        gate.admit(&Credentials {
            client_id: id,
            username: Some(user),
            password: Some(password.as_bytes()),
            remote: ([127, 0, 0, 1], 1).into(),
        })
    }

    #[test]
    fn a_node_has_its_own_topics_until_it_is_revoked() {
        let (fleet, key) = (
            SigningKey::from_seed(&[1; 32]),
            SigningKey::from_seed(&[2; 32]),
        );
        let gate = FleetGate::new(fleet.public(), Topics::new("fleet"), false);
        let name: Name = "pi".parse().unwrap();
        let credential = credential::issue(&fleet, &name, &key.public());
        let password =
            |count| credential::node_password(&credential, Seq { start: 1, count }, &key);
        let admission = enter(&gate, "pi", "node", &password(1)).unwrap();
        let rights = &admission.rights;
        assert!(rights.may_publish("fleet/state/pi") && rights.may_publish("fleet/logs/pi/web"));
        assert!(rights.may_subscribe("fleet/assignment/pi"));
        for topic in [
            "fleet/state/other",
            "fleet/assignment/pi",
            "fleet/access",
            "fleet/command/pi",
        ] {
            assert!(!rights.may_publish(topic), "{topic}");
        }
        for filter in ["#", "fleet/#", "fleet/assignment/+", "fleet/state/pi"] {
            assert!(!rights.may_subscribe(filter), "{filter}");
        }
        assert!(
            enter(&gate, "pi", "node", &password(1)).is_err(),
            "the same statement again"
        );
        assert!(
            enter(&gate, "other", "node", &password(2)).is_err(),
            "another's client id"
        );
        let revoked = vec![key.public().to_string()];
        assert!(gate.set_access(Access {
            generation: 2,
            revoked,
            ..Access::default()
        }));
        assert!(gate.is_cut_off(&admission.principal));
        assert!(enter(&gate, "pi", "node", &password(3)).is_err());
        assert!(
            !gate.set_access(Access {
                generation: 1,
                ..Access::default()
            }),
            "older"
        );
    }

    #[test]
    fn tokens_join_or_read() {
        let fleet = SigningKey::from_seed(&[1; 32]);
        let gate = FleetGate::new(fleet.public(), Topics::new("fleet"), false);
        let secret = join_secret(&fleet, "t1", 0);
        assert!(
            enter(&gate, "x", "join", &secret)
                .unwrap()
                .rights
                .may_publish("fleet/enroll/x")
        );
        assert!(enter(&gate, "x", "join", "t1.0.AAAA").is_err());
        assert!(enter(&gate, "x", "token", "secret").is_err());
        let readers = vec![ApiToken::digest("secret")];
        let revoked_tokens = vec!["t1".to_owned()];
        gate.set_access(Access {
            generation: 1,
            readers,
            revoked_tokens,
            ..Access::default()
        });
        let reader = enter(&gate, "x", "token", "secret").unwrap();
        assert!(reader.rights.may_subscribe("fleet/#") && !reader.rights.may_publish("fleet/x"));
        assert!(reader.rights.may_receive("fleet/state/pi"));
        for hidden in ["fleet/command/pi", "fleet/stream/pi/web", "fleet/result/pi"] {
            assert!(!reader.rights.may_receive(hidden), "{hidden}");
        }
        assert!(enter(&gate, "x", "join", &secret).is_err());
        assert!(enter(&gate, "x", "", "").is_err());
    }

    #[test]
    fn access_must_be_signed_by_the_fleet() {
        let (fleet, thief) = (
            SigningKey::from_seed(&[1; 32]),
            SigningKey::from_seed(&[9; 32]),
        );
        let gate = FleetGate::new(fleet.public(), Topics::new("fleet"), false);
        let access = Access {
            generation: 5,
            ..Access::default()
        };
        let seal = |key| {
            crate::contract::seal("fleet/access", CONTROLLER, Seq::default(), key, &access).unwrap()
        };
        assert!(!gate.take_access(&seal(&thief)));
        assert!(gate.take_access(&seal(&fleet)));
    }
}
