//! Signs and numbers what the node says.

use crate::{
    contract::{self, Kind, Seq, SessionStatus, Status, Topics},
    identity::SigningKey,
    model::{Name, UnixMs},
    mqtt::{Outgoing, Publisher, Receipt},
};
use serde::Serialize;
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// The node's voice.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) node: Name,
    pub(super) topics: Topics,
    key: SigningKey,
    start: u64,
    count: AtomicU64,
    /// Its start could not be kept, and was perhaps there before: the clock tells one from the other.
    by_clock: bool,
    /// Of the connection that is being made or stands.
    session: Mutex<Seq>,
    order: Mutex<()>,
}

impl Sender {
    /// `(start, count)` is where its numbers begin.
    pub(super) fn new(
        node: Name,
        topics: Topics,
        key: SigningKey,
        (start, count): (u64, u64),
    ) -> Sender {
        let session = Mutex::new(Seq { start, count: 0 });
        Sender {
            node,
            topics,
            key,
            start,
            count: AtomicU64::new(count),
            by_clock: count > 1,
            session,
            order: Mutex::default(),
        }
    }

    pub(super) fn key(&self) -> &SigningKey {
        &self.key
    }

    /// A number of its own.
    pub(super) fn number(&self) -> Seq {
        self.next(1)
    }

    fn next(&self, numbers: u64) -> Seq {
        Seq {
            start: self.start,
            count: self.count.fetch_add(numbers, Ordering::Relaxed),
        }
    }

    /// Begins a session: its number, and the last will for it.
    pub(super) fn begin_session(&self, now_ms: UnixMs) -> (Seq, Option<(String, Vec<u8>)>) {
        if self.by_clock {
            // A clock that was not set at the start may have been since.
            self.count.fetch_max(now_ms, Ordering::Relaxed);
        }
        let session = self.next(2);
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = session;
        let will = self.status(session, SessionStatus::Offline, false);
        (session, will.map(|w| (w.topic, w.payload.to_vec())))
    }

    /// `online` of the session that was begun last.
    pub(super) fn online(&self) -> Option<Outgoing> {
        self.status(self.session(), SessionStatus::Online, false)
    }

    /// `offline`, as a good-bye.
    pub(super) fn goodbye(&self) -> Option<Outgoing> {
        self.status(self.session(), SessionStatus::Offline, true)
    }

    fn session(&self) -> Seq {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self, session: Seq, status: SessionStatus, graceful: bool) -> Option<Outgoing> {
        let offline = status == SessionStatus::Offline;
        let seq = Seq {
            count: session.count + u64::from(offline),
            ..session
        };
        let topic = self.topics.of(Kind::Status, &self.node);
        self.sealed(
            topic,
            Kind::Status,
            seq,
            &Status {
                status,
                session,
                graceful,
            },
        )
    }

    /// Seals a message of `kind`, about `detail` where there is one, and puts it into the outbox:
    /// both under one lock, since a later number must not overtake an earlier one. `false`: there
    /// is no room now, nothing was sent.
    pub(super) fn post(
        &self,
        publisher: &Publisher,
        kind: Kind,
        detail: Option<&Name>,
        body: &impl Serialize,
    ) -> bool {
        self.post_with(publisher, kind, detail, body, None)
    }

    /// The same, and `receipt` is told when a broker has acknowledged it.
    pub(super) fn post_with(
        &self,
        publisher: &Publisher,
        kind: Kind,
        detail: Option<&Name>,
        body: &impl Serialize,
        receipt: Option<Receipt>,
    ) -> bool {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        if !publisher.has_room() {
            return false;
        }
        let message = match detail {
            Some(detail) => self.detailed(kind, detail, body),
            None => self.message(kind, body),
        };
        // What cannot be sealed was logged, and would not become better.
        message.is_none_or(|m| publisher.publish(Outgoing { receipt, ..m }))
    }

    /// A message of `kind`.
    fn message(&self, kind: Kind, body: &impl Serialize) -> Option<Outgoing> {
        self.sealed(self.topics.of(kind, &self.node), kind, self.next(1), body)
    }

    /// A message of `kind` about one instance or metric.
    fn detailed(&self, kind: Kind, detail: &Name, body: &impl Serialize) -> Option<Outgoing> {
        self.sealed(
            self.topics.detailed(kind, &self.node, detail),
            kind,
            self.next(1),
            body,
        )
    }

    fn sealed(
        &self,
        topic: String,
        kind: Kind,
        seq: Seq,
        body: &impl Serialize,
    ) -> Option<Outgoing> {
        match contract::seal(&topic, self.node.as_str(), seq, &self.key, body) {
            Ok(payload) => Some(Outgoing {
                topic,
                payload: payload.into(),
                at_least_once: kind.qos() == 1,
                retain: kind.retained(),
                receipt: None,
            }),
            Err(error) => {
                tracing::error!(topic, %error, "message cannot be sent");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(start: (u64, u64)) -> Sender {
        let node = "pi-1".parse().unwrap();
        Sender::new(
            node,
            Topics::new("fleet"),
            SigningKey::from_seed(&[7; 32]),
            start,
        )
    }

    #[test]
    fn a_start_that_was_not_kept_follows_a_clock_that_is_set_later() {
        let in_1970 = sender((5, 40_000));
        assert_eq!(
            in_1970.begin_session(41_000).0,
            Seq {
                start: 5,
                count: 41_000
            }
        );
        let set = in_1970.begin_session(1_800_000_000_000).0;
        assert_eq!(set.count, 1_800_000_000_000);
        // It never goes back.
        assert!(in_1970.begin_session(0).0 > set && in_1970.number() > set);
        let kept = sender((6, 1));
        assert_eq!(
            kept.begin_session(1_800_000_000_000).0,
            Seq { start: 6, count: 1 }
        );
    }
}
