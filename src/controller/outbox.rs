//! Signs, numbers and sends what the controller says.

use crate::{
    contract::{
        self, Access, CONTROLLER, CommandBody, Kind, Seq, Topics, Welcome, WelcomeDecision,
    },
    fleet::{Approval, Fleet},
    identity::{SigningKey, credential},
    model::{CommandKind, CommandSpec, Name, TraceContext},
    mqtt::{Outgoing, Publisher},
};
use serde::Serialize;
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// The controller's voice.
#[derive(Debug)]
pub struct Outbox {
    key: SigningKey,
    /// The topics of the fleet.
    pub topics: Topics,
    start: u64,
    count: AtomicU64,
    publisher: std::sync::OnceLock<Publisher>,
    order: Mutex<()>,
}

impl Outbox {
    /// Silent until it has a publisher.
    pub fn new(key: SigningKey, topics: Topics, start: u64) -> Outbox {
        let publisher = std::sync::OnceLock::new();
        Outbox {
            key,
            topics,
            start,
            count: AtomicU64::new(1),
            publisher,
            order: Mutex::default(),
        }
    }

    /// The next number.
    pub fn next(&self) -> Seq {
        Seq {
            start: self.start,
            count: self.count.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The key that it signs with.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// From now on messages leave.
    pub fn set_publisher(&self, publisher: Publisher) {
        let _ = self.publisher.set(publisher);
    }

    fn send(&self, kind: Kind, topic: String, body: &impl Serialize) {
        // Numbered and queued under one lock: a later number must not overtake an earlier one.
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        match contract::seal(&topic, CONTROLLER, self.next(), &self.key, body) {
            Ok(payload) => self.publish(kind, topic, payload),
            Err(error) => tracing::error!(topic, %error, "message cannot be sent"),
        }
    }

    fn publish(&self, kind: Kind, topic: String, payload: Vec<u8>) {
        if let Some(publisher) = self.publisher.get() {
            publisher.publish(Outgoing {
                topic,
                payload: payload.into(),
                at_least_once: kind.qos() == 1,
                retain: kind.retained(),
                receipt: None,
            });
        }
    }

    /// What a node must run.
    pub fn assignment(&self, fleet: &Fleet, node: &Name) {
        if let Some(assignment) = fleet.assignment(node.as_str()) {
            self.send(
                Kind::Assignment,
                self.topics.of(Kind::Assignment, node),
                &assignment,
            );
        }
    }

    /// What a node must run, signed as it would be on its topic: for one that fetches it.
    pub fn signed_assignment(&self, fleet: &Fleet, node: &Name) -> Option<serde_json::Value> {
        let assignment = fleet.assignment(node.as_str())?;
        let topic = self.topics.of(Kind::Assignment, node);
        let sealed = contract::seal(&topic, CONTROLLER, self.next(), &self.key, &assignment);
        match sealed {
            Ok(payload) => serde_json::from_slice(&payload).ok(),
            Err(error) => {
                tracing::error!(topic, %error, "assignment cannot be signed");
                None
            }
        }
    }

    /// A one-off order.
    pub fn command(&self, id: &str, node: &Name, order: CommandSpec, trace: Option<TraceContext>) {
        use CommandKind::{Exec, Input, Logs};
        // What is only looked at, and what is typed, makes nothing that lasts.
        let lasts = !matches!(order.command, Exec | Input | Logs);
        let body = CommandBody {
            id: id.to_owned(),
            order,
            trace: trace.filter(|_| lasts),
        };
        self.send(Kind::Command, self.topics.of(Kind::Command, node), &body);
    }

    /// Whom brokers must refuse, or let in.
    pub fn access(&self, access: &Access) {
        self.send(Kind::Access, self.topics.access(), access);
    }

    /// How a machine that asked to join stands.
    pub fn welcome(&self, fleet: &Fleet, node: &Name) {
        let Some(record) = fleet.node(node.as_str()) else {
            return;
        };
        let (decision, message) = match record.approval {
            Approval::Approved => (WelcomeDecision::Approved, None),
            Approval::Pending => (
                WelcomeDecision::Pending,
                Some(format!(
                    "somebody must approve it: `fleetctl node approve {node}`"
                )),
            ),
            Approval::Revoked => (
                WelcomeDecision::Refused,
                Some("this node was revoked".to_owned()),
            ),
        };
        let credential = match (record.approval, record.key.parse()) {
            (Approval::Approved, Ok(key)) => Some(credential::issue(&self.key, node, &key)),
            _ => None,
        };
        let body = Welcome {
            decision,
            key: record.key.clone(),
            message,
            credential,
        };
        self.send(Kind::Welcome, self.topics.of(Kind::Welcome, node), &body);
    }

    /// A machine may not join.
    pub fn refuse(&self, node: &Name, key: &str, message: String) {
        let body = Welcome {
            decision: WelcomeDecision::Refused,
            key: key.to_owned(),
            message: Some(message),
            credential: None,
        };
        self.send(Kind::Welcome, self.topics.of(Kind::Welcome, node), &body);
    }

    /// Takes the retained messages of a removed node away.
    pub fn clear(&self, node: &Name) {
        for kind in Kind::ALL
            .into_iter()
            .filter(|k| k.retained() && *k != Kind::Access)
        {
            self.publish(kind, self.topics.of(kind, node), Vec::new());
        }
    }
}
