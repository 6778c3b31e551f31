//! What the broker owes one client: its subscriptions, the messages that wait for it, and those
//! that it has not acknowledged. No I/O here.
//!
//! ```text
//! push ──► queue ──next──► (QoS 0) gone
//!                    └───► (QoS 1) inflight ──acknowledge──► gone
//!                                     ▲  │ resume: all of it again, with DUP
//!                                     └──┘
//! ```
//!
//! Order is kept: a QoS 1 message that has to wait for room among the unacknowledged ones holds
//! back what is behind it. Retained messages are not copied into the queue all at once: a
//! [`Sweep`] remembers how far through the retained store the session is.

use super::packet::Qos;
use super::settings::Limits;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A message on its way to one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Printable ASCII.
    pub topic: Bytes,
    /// Any bytes, shared with every other receiver.
    pub payload: Bytes,
    /// The lower one of the publish's and the subscription's.
    pub qos: Qos,
    /// It was kept before the client subscribed (MQTT-3.3.1-8).
    pub retain: bool,
}

impl Delivery {
    /// What it weighs in a queue, with its place there.
    fn weight(&self) -> usize {
        size_of::<Delivery>() + self.topic.len() + self.payload.len()
    }
}

/// A message to write now.
#[derive(Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The message.
    pub delivery: Delivery,
    /// Identifier; 0 with QoS 0.
    pub pkid: u16,
    /// It was written before, on this or an earlier connection of the session.
    pub dup: bool,
}

/// What became of a message for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// It waits.
    Queued,
    /// There is no room.
    Full,
}

/// How far a new subscription is through the retained messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    /// The subscription's filter.
    pub filter: Box<str>,
    /// The subscription's QoS.
    pub qos: Qos,
    /// The last topic that was looked at.
    pub after: Option<Bytes>,
    /// Messages younger than this came to the subscription as live ones.
    pub as_of: u64,
}

/// The bytes that wait in all sessions together.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    max: usize,
}

impl Budget {
    /// Room for `max` bytes.
    pub fn new(max: usize) -> Budget {
        Budget {
            used: AtomicUsize::new(0),
            max,
        }
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What the broker owes one client.
#[derive(Debug)]
pub struct SessionState {
    /// Filters and granted QoS; few, so a list.
    pub subscriptions: Vec<(Box<str>, Qos)>,
    /// Retained messages that are still to be fetched.
    pub sweeps: VecDeque<Sweep>,
    queue: VecDeque<Delivery>,
    inflight: VecDeque<(u16, Delivery)>,
    /// How many of `inflight` were written on this connection.
    written: usize,
    last_pkid: u16,
    /// Weight of `queue` and `inflight`.
    weight: usize,
    budget: Arc<Budget>,
}

impl SessionState {
    /// Owes nothing.
    pub fn new(budget: Arc<Budget>) -> SessionState {
        SessionState {
            subscriptions: Vec::new(),
            sweeps: VecDeque::new(),
            queue: VecDeque::new(),
            inflight: VecDeque::new(),
            written: 0,
            last_pkid: 0,
            weight: 0,
            budget,
        }
    }

    /// Queues a live message if there is room. One message always has room in an empty session,
    /// however large it is, else it could never be delivered.
    pub fn push(&mut self, delivery: Delivery, limits: &Limits) -> Push {
        let weight = delivery.weight();
        let full = self.queue.len() >= limits.queue_messages
            || (self.weight > 0
                && (self.weight + weight > limits.queue_bytes
                    || self.budget.used() + weight > self.budget.max));
        if full {
            return Push::Full;
        }
        self.append(delivery);
        Push::Queued
    }

    /// Queues a retained message. The caller fetches few at a time and only while
    /// [`SessionState::wants_retained`], which bounds them.
    pub fn push_retained(&mut self, delivery: Delivery) {
        self.append(delivery);
    }

    /// Is there something to fetch from the retained store, and room for it?
    pub fn wants_retained(&self, limits: &Limits) -> bool {
        !self.sweeps.is_empty()
            && self.queue.len() < RETAINED_LOW.min(limits.queue_messages)
            && self.weight <= limits.queue_bytes / 2
    }

    /// The next message to write, if any may be written.
    pub fn next(&mut self, max_inflight: usize) -> Option<Outgoing> {
        if let Some((pkid, delivery)) = self.inflight.get(self.written) {
            self.written += 1;
            return Some(Outgoing {
                delivery: delivery.clone(),
                pkid: *pkid,
                dup: true,
            });
        }
        let first = self.queue.front()?;
        if first.qos == Qos::AtLeastOnce && self.inflight.len() >= max_inflight {
            return None;
        }
        let delivery = self.queue.pop_front()?;
        if self.queue.is_empty() && self.queue.capacity() > RETAINED_LOW {
            self.queue = VecDeque::new();
        }
        if delivery.qos == Qos::AtMostOnce {
            self.forget(&delivery);
            return Some(Outgoing {
                delivery,
                pkid: 0,
                dup: false,
            });
        }
        let pkid = self.free_pkid();
        self.inflight.push_back((pkid, delivery.clone()));
        self.written += 1;
        Some(Outgoing {
            delivery,
            pkid,
            dup: false,
        })
    }

    /// The client has this message; an identifier that is not in use means nothing.
    pub fn acknowledge(&mut self, pkid: u16) {
        let Some(at) = self.inflight.iter().position(|entry| entry.0 == pkid) else {
            return;
        };
        if at >= self.written {
            return; // not written on this connection, so this acknowledges something else
        }
        if let Some((_, delivery)) = self.inflight.remove(at) {
            self.written -= 1;
            self.forget(&delivery);
        }
    }

    /// The client is back: everything unacknowledged goes out again, first, with DUP.
    pub fn resume(&mut self) {
        self.written = 0;
    }

    /// Messages that wait, unacknowledged ones included.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.queue.len() + self.inflight.len()
    }

    fn append(&mut self, delivery: Delivery) {
        let weight = delivery.weight();
        self.weight += weight;
        self.budget.add(weight);
        self.queue.push_back(delivery);
    }

    fn forget(&mut self, delivery: &Delivery) {
        let weight = delivery.weight();
        self.weight -= weight;
        self.budget.release(weight);
    }

    /// The next identifier that no unacknowledged message has; there are far fewer of these
    /// than identifiers.
    fn free_pkid(&mut self) -> u16 {
        loop {
            self.last_pkid = self.last_pkid.checked_add(1).unwrap_or(1);
            if self.inflight.iter().all(|entry| entry.0 != self.last_pkid) {
                return self.last_pkid;
            }
        }
    }
}

/// Below this many waiting messages the next retained ones are fetched.
const RETAINED_LOW: usize = 64;

impl Drop for SessionState {
    fn drop(&mut self) {
        self.budget.release(self.weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> SessionState {
        SessionState::new(Arc::new(Budget::new(1 << 20)))
    }

    fn message(qos: Qos, payload: &'static str) -> Delivery {
        Delivery {
            topic: "t".into(),
            payload: payload.into(),
            qos,
            retain: false,
        }
    }

    #[test]
    fn qos_1_waits_for_room_and_keeps_the_order() {
        let (mut state, limits) = (state(), Limits::default());
        for payload in ["a", "b", "c"] {
            assert_eq!(
                state.push(message(Qos::AtLeastOnce, payload), &limits),
                Push::Queued
            );
        }
        state.push(message(Qos::AtMostOnce, "d"), &limits);
        let first = state.next(2).unwrap();
        let second = state.next(2).unwrap();
        assert_eq!((first.pkid, second.pkid, first.dup), (1, 2, false));
        assert_eq!(state.next(2), None);
        state.acknowledge(99);
        assert_eq!(state.next(2), None);
        state.acknowledge(1);
        assert_eq!(state.next(2).unwrap().delivery.payload, "c");
        assert_eq!(state.next(2).unwrap().delivery.payload, "d");
        assert_eq!(state.next(2), None);
    }

    #[test]
    fn a_resumed_session_repeats_what_is_unacknowledged_first() {
        let (mut state, limits) = (state(), Limits::default());
        state.push(message(Qos::AtLeastOnce, "a"), &limits);
        state.push(message(Qos::AtLeastOnce, "b"), &limits);
        let before = state.next(9).unwrap();
        state.resume();
        state.acknowledge(before.pkid);
        let again = state.next(9).unwrap();
        assert_eq!((again.pkid, again.dup), (before.pkid, true));
        assert_eq!(again.delivery, before.delivery);
        let fresh = state.next(9).unwrap();
        assert_eq!(
            (fresh.delivery.payload.as_ref(), fresh.dup),
            (&b"b"[..], false)
        );
    }

    #[test]
    fn identifiers_wrap_without_0_and_without_those_in_use() {
        let (mut state, limits) = (state(), Limits::default());
        state.push(message(Qos::AtLeastOnce, "held"), &limits);
        assert_eq!(state.next(9).unwrap().pkid, 1);
        state.last_pkid = u16::MAX;
        state.push(message(Qos::AtLeastOnce, "x"), &limits);
        assert_eq!(state.next(9).unwrap().pkid, 2);
    }

    #[test]
    fn the_queue_is_bounded_in_messages_bytes_and_in_total() {
        let limits = Limits {
            queue_messages: 2,
            queue_bytes: 1000,
            ..Limits::default()
        };
        let mut full = state();
        full.push(message(Qos::AtMostOnce, ""), &limits);
        full.push(message(Qos::AtMostOnce, ""), &limits);
        assert_eq!(full.push(message(Qos::AtMostOnce, ""), &limits), Push::Full);

        let large = |size| Delivery {
            payload: vec![0; size].into(),
            ..message(Qos::AtMostOnce, "")
        };
        let mut heavy = state();
        assert_eq!(heavy.push(large(5000), &limits), Push::Queued);
        assert_eq!(heavy.push(large(1), &limits), Push::Full);

        let budget = Arc::new(Budget::new(6000));
        let roomy = Limits::default();
        let (mut one, mut two) = (
            SessionState::new(budget.clone()),
            SessionState::new(budget.clone()),
        );
        one.push(large(5000), &roomy);
        two.push(large(10), &roomy);
        assert_eq!(two.push(large(2000), &roomy), Push::Full);
        drop(one);
        assert_eq!(two.push(large(2000), &roomy), Push::Queued);
        while two.next(1).is_some() {}
        assert_eq!((budget.used(), two.waiting()), (0, 0));
    }
}
