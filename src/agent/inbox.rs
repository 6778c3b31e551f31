//! What the controller says: taken only when it proves to be the controller's, and newer.

use super::sender::Sender;
use crate::{
    contract::{
        CONTROLLER, CommandBody, Freshness, Kind, MAX_INSTANCES, ReplayGuard, Seq, Unverified,
        Welcome, WelcomeDecision,
    },
    identity::PublicKey,
    model::Assignment,
    support::Counted,
};
use bytes::Bytes;

/// A genuine message.
#[derive(Debug)]
pub(super) enum Heard {
    /// What to run.
    Assignment(Assignment),
    /// A one-off order.
    Command { seq: Seq, command: Box<CommandBody> },
    /// The fleet has cut this node off.
    Dismissed { message: String },
}

/// Reads and judges.
pub(super) struct Inbox {
    fleet: PublicKey,
    guard: ReplayGuard,
    /// What was not taken, by kind.
    pub(super) refused: Counted,
}

impl Inbox {
    pub(super) fn new(fleet: PublicKey) -> Inbox {
        Inbox {
            fleet,
            guard: ReplayGuard::new(),
            refused: Counted::default(),
        }
    }

    /// `None`: not taken; it was counted, and logged once per kind and minute.
    pub(super) fn take(&mut self, sender: &Sender, topic: &str, payload: &Bytes) -> Option<Heard> {
        match self.judge(sender, topic, payload) {
            Ok(heard) => heard,
            Err(kind) => {
                self.refused
                    .count(kind, crate::support::clock::mono_ms(), || {
                        tracing::warn!(topic, kind, "message refused");
                    });
                None
            }
        }
    }

    fn judge(
        &mut self,
        sender: &Sender,
        topic: &str,
        payload: &Bytes,
    ) -> Result<Option<Heard>, &'static str> {
        // An empty retained message is how a broker is told to forget; it says nothing.
        if payload.is_empty() {
            return Ok(None);
        }
        let parsed = sender.topics.parse(topic).ok_or("topic")?;
        if parsed.node.as_ref() != Some(&sender.node) {
            return Err("topic");
        }
        let message = Unverified::parse(payload).map_err(|e| e.kind())?;
        if message.from() != CONTROLLER {
            return Err("sender");
        }
        let message = message.verify(topic, &self.fleet).map_err(|e| e.kind())?;
        let seq = message.seq();
        match self.guard.judge(CONTROLLER, topic, seq, payload) {
            Freshness::Fresh => {}
            Freshness::Again => return Ok(None),
            Freshness::Stale | Freshness::TooManyTopics => return Err("replay"),
        }
        let heard = match parsed.kind {
            Kind::Assignment => {
                let assignment: Assignment = message.read().map_err(|e| e.kind())?;
                if assignment.instances.len() > MAX_INSTANCES {
                    return Err("too_large");
                }
                Heard::Assignment(assignment)
            }
            Kind::Command => Heard::Command {
                seq,
                command: Box::new(message.read().map_err(|e| e.kind())?),
            },
            Kind::Welcome => {
                let welcome: Welcome = message.read().map_err(|e| e.kind())?;
                let ours = welcome.key == sender.key().public().to_string();
                if !ours || welcome.decision != WelcomeDecision::Refused {
                    return Ok(None);
                }
                Heard::Dismissed {
                    message: welcome.message.unwrap_or_default(),
                }
            }
            _ => return Err("topic"),
        };
        Ok(Some(heard))
    }
}
