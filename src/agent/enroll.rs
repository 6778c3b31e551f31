//! Joining: once per node, with a token; from then on its own key is the credential.

use super::{
    AgentError,
    blobs::NodeBlobs,
    finder::{Places, Servers},
    first_boot::FirstBoot,
    sender::Sender,
    store::{Membership, Store, StoreError},
};
use crate::{
    config::{AgentConfig, JoinSource},
    contract::{CONTROLLER, Enroll, Kind, Topics, Unverified, Welcome, WelcomeDecision},
    identity::{self, JoinToken, PublicKey},
    model::Name,
    mqtt::{self, Login, LoginSource, Publisher, SessionEvent, SessionSettings},
    support::Shutdown,
};
use rustls::ClientConfig;
use std::{sync::Arc, time::Duration};
use tokio::time;
use tracing::{info, warn};

/// How often a machine that waits for approval asks again.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// A machine cannot join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// No token was given, and it has not joined before.
    #[error(
        "this machine has not joined a fleet yet: start it with --join <token>; \
         `fleetctl token create --kind join` on the control host prints one"
    )]
    NoToken,
    /// The token is not one.
    #[error(transparent)]
    Token(#[from] identity::JoinTokenError),
    /// It belongs to another fleet already.
    #[error(
        "{dir} belongs to node {node} of another fleet; give this agent another --data-dir, or \
         remove that one to leave the other fleet"
    )]
    OtherFleet {
        /// The data directory.
        dir: String,
        /// Its name there.
        node: Name,
    },
    /// The token holds something that cannot be used.
    #[error("the join token cannot be used: {0}")]
    Unusable(String),
    /// The controller said no.
    #[error("the fleet refuses this machine: {0}")]
    Refused(String),
}

/// A node of a fleet, as its agent uses it.
pub(super) struct Member {
    pub(super) sender: Arc<Sender>,
    pub(super) fleet_key: PublicKey,
    pub(super) login: NodeLogin,
    pub(super) blobs: NodeBlobs,
}

/// What this node belongs to: as remembered, or by joining now. `None`: asked to stop meanwhile.
pub(super) async fn membership(
    config: &AgentConfig,
    store: &Store,
    boot: &FirstBoot,
    shutdown: &Shutdown,
) -> Result<Option<Member>, AgentError> {
    let token = match &config.join {
        None => None,
        Some(JoinSource::Token(token)) => Some(token.expose().to_owned()),
        // A file that is gone after the first start is no reason not to come up again.
        Some(JoinSource::File(path)) => identity::read_optional(path).map_err(StoreError::from)?,
    };
    let token = token
        .map(|t| JoinToken::decode(&t))
        .transpose()
        .map_err(JoinError::from)?;
    let key = store.key()?;
    let dir = || store.dir().display().to_string();
    let member = match (store.membership()?, token) {
        (None, None) => return Err(JoinError::NoToken.into()),
        (Some(known), None) => known,
        (Some(known), Some(token)) if known.fleet_key != token.fleet_key => {
            return Err(JoinError::OtherFleet {
                dir: dir(),
                node: known.node,
            }
            .into());
        }
        (Some(known), Some(token)) => {
            // The same fleet, perhaps at another address, or one that says none.
            let brokers = match token.brokers.is_empty() {
                true => known.brokers.clone(),
                false => known_too(token.brokers, &known.brokers),
            };
            let member = Membership {
                brokers,
                ca_sha256: token.ca_sha256,
                external_ca: token.external_ca,
                prefix: token.prefix,
                ..known.clone()
            };
            if member != known {
                store.keep_membership(&member)?;
            }
            member
        }
        (None, Some(token)) => {
            let sender = Sender::new(
                config.name.clone(),
                Topics::new(&token.prefix),
                key.clone(),
                store.count_start()?,
            );
            match join(config, &token, &Arc::new(sender), boot, shutdown).await? {
                None => return Ok(None),
                Some(member) => {
                    store.forget_assignment()?;
                    store.keep_membership(&member)?;
                    info!(node = %member.node, "joined the fleet");
                    member
                }
            }
        }
    };
    // A host name that was not asked for as a name is no reason to complain.
    let by_default = Name::from_lossy(&super::facts::hostname()).as_ref() == Some(&config.name);
    if config.name != member.node && !by_default {
        let (joined, configured) = (&member.node, &config.name);
        warn!(%joined, %configured, "the name it joined with stays; remove the node to rename it");
    }
    let fleet_key = member
        .fleet_key
        .parse()
        .map_err(|_| JoinError::Unusable("its fleet key is damaged".into()))?;
    let sender = Arc::new(Sender::new(
        member.node.clone(),
        Topics::new(&member.prefix),
        key,
        // Joining has used numbers of a start of its own.
        store.count_start()?,
    ));
    let login = NodeLogin::new(&member, sender.clone(), config.mdns)?;
    let blobs = NodeBlobs::new(&member, login.servers.clone(), sender.clone());
    Ok(Some(Member {
        sender,
        fleet_key,
        login,
        blobs,
    }))
}

/// A token's addresses, and before them those that were found since: a token in a file is read at
/// each start, and is older than what was learned.
fn known_too(token: Vec<String>, known: &[String]) -> Vec<String> {
    match token.iter().all(|url| known.contains(url)) {
        true => known.to_vec(),
        false => token,
    }
}

/// Asks until there is an answer.
async fn join(
    config: &AgentConfig,
    token: &JoinToken,
    sender: &Arc<Sender>,
    boot: &FirstBoot,
    shutdown: &Shutdown,
) -> Result<Option<Membership>, AgentError> {
    let places = Places {
        brokers: &token.brokers,
        ca_sha256: token.ca_sha256.as_deref(),
        external_ca: token.external_ca.as_deref(),
        fleet_key: &token.fleet_key,
    };
    let servers = Servers::new(&places, config.mdns)?;
    if !servers.any(shutdown).await {
        return Ok(None);
    }
    let login = JoinLogin {
        servers: servers.clone(),
        token: token.clone(),
        sender: sender.clone(),
    };
    let (publisher, mut events) = mqtt::spawn(login, settings(config));
    let fleet_key: PublicKey = token
        .fleet_key
        .parse()
        .map_err(|_| JoinError::Unusable("its fleet key is damaged".into()))?;
    let mut ask_again = time::interval(ASK_AGAIN);
    let mut connected = false;
    let mut announced = false;
    let end = loop {
        tokio::select! {
            () = shutdown.wait() => break Ok(None),
            _ = ask_again.tick() => if connected { ask(token, sender, &publisher) },
            event = events.recv() => match event {
                Some(SessionEvent::Connected) => {
                    connected = true;
                    ask(token, sender, &publisher);
                }
                Some(SessionEvent::Disconnected { refused: true, .. }) => break Err(JoinError::Refused(
                    "its token is not taken: it has expired or was revoked; create another with \
                     `fleetctl token create --kind join`".into())),
                Some(SessionEvent::Disconnected { reason, .. }) => {
                    connected = false;
                    warn!(reason, "cannot join yet, trying again");
                    boot.waits(&reason);
                }
                Some(SessionEvent::Message { topic, payload, .. }) => {
                    let answer = welcome(sender, &fleet_key, &topic, &payload);
                    let Some(answer) = answer else { continue };
                    let said = answer.message.unwrap_or_default();
                    match (answer.decision, answer.credential) {
                        (WelcomeDecision::Approved, Some(credential)) => break Ok(Some(credential)),
                        (WelcomeDecision::Refused, _) => break Err(JoinError::Refused(said)),
                        _ if !announced => {
                            announced = true;
                            info!(said, "waits for approval");
                        }
                        _ => {}
                    }
                }
                Some(SessionEvent::Ended { reason }) => break Err(JoinError::Unusable(reason)),
                None => break Err(JoinError::Unusable("the session ended".into())),
            },
        }
    };
    publisher.close(None).await;
    Ok(end?.map(|credential| Membership {
        node: sender.node.clone(),
        brokers: servers.joined(),
        ca_sha256: token.ca_sha256.clone(),
        external_ca: token.external_ca.clone(),
        fleet_key: token.fleet_key.clone(),
        prefix: token.prefix.clone(),
        credential,
    }))
}

fn ask(token: &JoinToken, sender: &Sender, publisher: &Publisher) {
    let key = sender.key().public().to_string();
    let body = Enroll {
        proof: identity::proof(&token.secret, sender.node.as_str(), &key),
        key,
        token: token.id.clone(),
        hostname: super::facts::hostname(),
        agent_version: crate::support::release::version().to_owned(),
    };
    sender.post(publisher, Kind::Enroll, None, &body);
}

/// The answer, when it is genuine and about this machine.
fn welcome(sender: &Sender, fleet: &PublicKey, topic: &str, payload: &[u8]) -> Option<Welcome> {
    if topic != sender.topics.of(Kind::Welcome, &sender.node) {
        return None;
    }
    let message = Unverified::parse(payload)
        .ok()
        .filter(|m| m.from() == CONTROLLER)?;
    let answer: Welcome = message.verify(topic, fleet).ok()?.read().ok()?;
    (answer.key == sender.key().public().to_string()).then_some(answer)
}

pub(super) fn settings(config: &AgentConfig) -> SessionSettings {
    SessionSettings {
        reconnect_max: Duration::from_millis(config.reconnect_max_ms),
        keep_alive: Duration::from_secs(60),
        max_packet: mqtt::MAX_INCOMING,
        outbox: 4_096,
        seed: crate::support::clock::seed(),
    }
}

/// Where a broker is, and how it is known.
#[derive(Debug, Clone)]
pub(crate) struct BrokerAddress {
    /// Name or address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `None`: without TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// The brokers that a node knows.
pub(super) fn addresses(member: &Membership) -> Result<Vec<BrokerAddress>, AgentError> {
    Ok(reached(&Servers::new(&places(member), false)?))
}

/// What a node has joined, without looking for it in the network.
#[cfg(test)]
pub(super) fn known_servers(member: &Membership) -> Result<Servers, AgentError> {
    Servers::new(&places(member), false)
}

/// The same of those that are known now.
pub(super) fn reached(servers: &Servers) -> Vec<BrokerAddress> {
    let known = servers.all().into_iter().map(|(e, tls)| BrokerAddress {
        tls,
        host: e.host,
        port: e.port,
    });
    known.collect()
}

/// SHA-256 as hex digits; `None`: something else.
pub(super) fn fingerprint(hex: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(out)
}

struct JoinLogin {
    servers: Servers,
    token: JoinToken,
    sender: Arc<Sender>,
}

impl LoginSource for JoinLogin {
    fn next(&mut self, attempt: u32) -> Result<Login, String> {
        let (endpoint, tls) = self.servers.choose(attempt)?;
        let own = ("join".to_owned(), self.token.secret.clone());
        Ok(Login {
            credentials: endpoint.credentials.clone().unwrap_or(own),
            endpoint,
            tls,
            client_id: client_id(&self.sender),
            will: None,
            filters: vec![self.sender.topics.of(Kind::Welcome, &self.sender.node)],
        })
    }
}

fn places(member: &Membership) -> Places<'_> {
    Places {
        brokers: &member.brokers,
        ca_sha256: member.ca_sha256.as_deref(),
        external_ca: member.external_ca.as_deref(),
        fleet_key: &member.fleet_key,
    }
}

/// How a node connects.
pub(super) struct NodeLogin {
    pub(super) servers: Servers,
    credential: String,
    sender: Arc<Sender>,
}

impl NodeLogin {
    fn new(member: &Membership, sender: Arc<Sender>, mdns: bool) -> Result<NodeLogin, AgentError> {
        Ok(NodeLogin {
            servers: Servers::new(&places(member), mdns)?,
            credential: member.credential.clone(),
            sender,
        })
    }
}

impl LoginSource for NodeLogin {
    fn next(&mut self, attempt: u32) -> Result<Login, String> {
        let (endpoint, tls) = self.servers.choose(attempt)?;
        let (session, will) = self.sender.begin_session(crate::support::clock::unix_ms());
        let sender = &self.sender;
        let password = identity::credential::node_password(&self.credential, session, sender.key());
        let own = ("node".to_owned(), password);
        let (node, topics) = (&sender.node, &sender.topics);
        Ok(Login {
            credentials: endpoint.credentials.clone().unwrap_or(own),
            endpoint,
            tls,
            client_id: node.to_string(),
            will,
            filters: [Kind::Assignment, Kind::Command, Kind::Welcome]
                .map(|k| topics.of(k, node))
                .to_vec(),
        })
    }
}

/// A machine that joins has no name yet: part of its key tells it from others.
fn client_id(sender: &Sender) -> String {
    let key = sender.key().public().to_string();
    format!("join_{}", key.chars().take(16).collect::<String>())
}
