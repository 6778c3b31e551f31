//! What agents say: taken only when it proves to be theirs, and newer.

use super::{
    plain,
    state::{Controller, Input},
};
use crate::{
    contract::{
        Cfg, CommandResult, Enroll, Event, Freshness, HeartbeatBody, Kind, Logs, Metadata,
        ReplayGuard, SessionStatus, State, Status, Stream, Telemetry, Unverified, Verified,
    },
    fleet::{Approval, Change, FleetEvent, Refusal},
    identity::{self, PublicKey},
    model::{Metric, Name, Presence},
    support::clock,
};
use std::sync::{Arc, PoisonError};

/// Reads and judges.
pub(super) struct Inbox {
    controller: Arc<Controller>,
    guard: ReplayGuard,
}

impl Inbox {
    pub(super) fn new(controller: Arc<Controller>) -> Inbox {
        let mut guard = ReplayGuard::new();
        // What a node said before its last known start is a replay, also after our own restart.
        for (name, node) in controller.fleet().nodes() {
            guard.require_start(name.as_str(), node.session.start);
        }
        Inbox { controller, guard }
    }

    /// Takes a message. What is not taken is counted, and logged once per kind and minute.
    pub(super) async fn take(&mut self, topic: &str, payload: &[u8], retained: bool) {
        match self.judge(topic, payload, retained).await {
            Ok(()) => {}
            Err(kind) => {
                let mut refused = self
                    .controller
                    .refused
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                refused.count(kind, clock::mono_ms(), || {
                    tracing::warn!(topic, kind, "message refused");
                });
            }
        }
    }

    async fn judge(
        &mut self,
        topic: &str,
        payload: &[u8],
        retained: bool,
    ) -> Result<(), &'static str> {
        if payload.is_empty() {
            return Ok(());
        }
        let parsed = self.controller.outbox.topics.parse(topic).ok_or("topic")?;
        let node = parsed.node.ok_or("topic")?;
        if !parsed.kind.from_agent() {
            return Err("topic");
        }
        self.controller.meter.receive(parsed.kind, payload.len());
        if payload.len() > parsed.kind.max_payload() {
            return Err("too_large");
        }
        let message = Unverified::parse(payload).map_err(|e| e.kind())?;
        if message.from() != node.as_str() {
            return Err("sender");
        }
        if parsed.kind == Kind::Enroll {
            return self.enroll(&node, topic, message).await;
        }
        let key: PublicKey = {
            let fleet = self.controller.fleet();
            let record = fleet.node(node.as_str()).ok_or("unknown_node")?;
            if record.approval != Approval::Approved {
                return Err("not_approved");
            }
            record.key.parse().map_err(|_| "key")?
        };
        let message = message.verify(topic, &key).map_err(|e| e.kind())?;
        match self
            .guard
            .judge(node.as_str(), topic, message.seq(), payload)
        {
            Freshness::Fresh => {}
            Freshness::Again => return Ok(()),
            Freshness::Stale | Freshness::TooManyTopics => return Err("replay"),
        }
        self.read(node.clone(), parsed.kind, parsed.detail, message)
            .await?;
        // What the broker kept says nothing about whether its sender lives.
        if !retained && parsed.kind != Kind::Status {
            self.tell(Input::Heard(node)).await;
        }
        Ok(())
    }

    async fn read(
        &self,
        node: Name,
        kind: Kind,
        detail: Option<Name>,
        message: Verified,
    ) -> Result<(), &'static str> {
        let c = &self.controller;
        let bad = |e: crate::contract::ContractError| e.kind();
        match kind {
            Kind::Status => {
                let status: Status = message.read().map_err(bad)?;
                self.status(&node, &status).await;
                return Ok(());
            }
            Kind::Metadata => {
                let mut facts: Metadata = message.read().map_err(bad)?;
                plain::facts(&mut facts);
                self.tell(Input::Told(Change::NodeDescribed {
                    node: node.clone(),
                    facts,
                }))
                .await;
            }
            Kind::State => {
                let mut state: State = message.read().map_err(bad)?;
                plain::state(&mut state);
                c.live
                    .take_discovered(&node, std::mem::take(&mut state.discovered));
                self.tell(Input::Told(Change::StateReported {
                    node: node.clone(),
                    generation: state.generation,
                    instances: state.instances,
                    engines: state.engines,
                }))
                .await;
            }
            Kind::Heartbeat => {
                let body: HeartbeatBody = message.read().map_err(bad)?;
                c.live.take(&node, &body, clock::unix_ms());
            }
            Kind::Telemetry => {
                let metric = |m: &Metric| detail.as_ref().is_some_and(|d| d.as_str() == m.as_str());
                // An agent of a later release may measure what is not known here.
                if let Some(metric) = Metric::ALL.into_iter().find(metric) {
                    let body: Telemetry = message.read().map_err(bad)?;
                    c.live.take_telemetry(&node, metric, body, clock::unix_ms());
                }
            }
            Kind::Cfg => {
                let config: Cfg = message.read().map_err(bad)?;
                c.live.take_config(&node, config, clock::unix_ms());
            }
            Kind::Result => {
                let result: CommandResult = message.read().map_err(bad)?;
                let journaled = c
                    .fleet()
                    .command(&result.id)
                    .is_some_and(|r| r.node == node);
                if journaled && result.outcome.progress.is_none() {
                    let CommandResult { id, outcome } = result.clone();
                    self.tell(Input::Told(Change::CommandFinished { id, outcome }))
                        .await;
                }
                c.pending.finish(&node, &result);
            }
            Kind::Logs => c.pending.lines(&node, message.read::<Logs>().map_err(bad)?),
            Kind::Stream => c
                .pending
                .output(&node, message.read::<Stream>().map_err(bad)?),
            Kind::Event => {
                let Event {
                    event,
                    workload,
                    message,
                    ..
                } = message.read().map_err(bad)?;
                let at = clock::unix_ms();
                let about = workload
                    .as_ref()
                    .map(|w| format!("{w} on "))
                    .unwrap_or_default();
                let message = plain::text(&format!("{about}{node}: {message}"), 1_024);
                let event = plain::text(&event, 64);
                c.events.publish(FleetEvent {
                    at,
                    event: format!("agent_{event}"),
                    node: Some(node.clone()),
                    workload,
                    message,
                });
            }
            _ => {}
        }
        Ok(())
    }

    /// A session began or ended. What belongs to an older session than the known one is stale.
    async fn status(&self, node: &Name, status: &Status) {
        let known = self
            .controller
            .fleet()
            .node(node.as_str())
            .map(|n| (n.session, n.presence));
        let Some((session, presence)) = known else {
            return;
        };
        let change = |presence, reason: &str| Change::NodePresenceChanged {
            node: node.clone(),
            presence,
            session: status.session,
            reason: reason.to_owned(),
        };
        match status.status {
            SessionStatus::Online if status.session >= session => {
                self.tell(Input::Told(change(Presence::Online, ""))).await;
            }
            SessionStatus::Offline
                if status.session >= session && presence != Presence::Offline =>
            {
                let reason = if status.graceful {
                    "its agent was stopped"
                } else {
                    "its connection was lost"
                };
                self.tell(Input::Told(change(Presence::Offline, reason)))
                    .await;
            }
            _ => {}
        }
    }

    async fn tell(&self, input: Input) {
        // The core thread ends only when the process does.
        let _ = self.controller.inputs.send_async(input).await;
    }

    /// A machine asks to join.
    async fn enroll(
        &mut self,
        node: &Name,
        topic: &str,
        message: Unverified,
    ) -> Result<(), &'static str> {
        let body: Enroll = message.unproven_body().map_err(|e| e.kind())?;
        let key: PublicKey = body.key.parse().map_err(|_| "key")?;
        message.verify(topic, &key).map_err(|e| e.kind())?;
        let c = &self.controller;
        let now = clock::unix_ms();
        let expires = {
            let fleet = c.fleet();
            let valid = fleet.join_token_serves(&body.token, node.as_str(), &body.key, now);
            let token = fleet.tokens().find(|(id, _)| **id == body.token);
            token.filter(|_| valid).map(|(_, t)| t.expires_ms)
        };
        let Some(expires) = expires else {
            let text = "its token has expired, was revoked, or has been used; create another with \
                        `fleetctl token create --kind join`";
            c.outbox.refuse(node, &body.key, text.to_owned());
            return Err("token");
        };
        let secret = identity::join_secret(c.outbox.key(), &body.token, expires);
        if !identity::verify_proof(&secret, node.as_str(), &body.key, &body.proof) {
            return Err("token");
        }
        let change = Change::NodeEnrolled {
            node: node.clone(),
            key: body.key.clone(),
            token: body.token,
            hostname: plain::text(&body.hostname, 128),
            approve: c.auto_approve,
            http: false,
        };
        match c.change(None, change).await {
            Ok(()) => self.guard.forget(node.as_str()),
            // It asks again: perhaps the answer was lost.
            Err(super::AskError::Refused(Refusal::Unchanged)) => {
                c.outbox.welcome(&c.fleet(), node);
            }
            Err(error) => c.outbox.refuse(node, &body.key, error.to_string()),
        }
        Ok(())
    }
}
