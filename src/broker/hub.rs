//! What all connections share: the sessions, who wants which topic, and the retained messages.
//!
//! One lock guards the maps; each session has its own. Whoever needs both takes the maps' lock
//! first. Neither is held while waiting for anything.
//!
//! A session begins with [`Hub::attach`] and a connection leaves it with [`Hub::detach`]: a clean
//! session ends there, a persistent one waits for its client, for a limited time and in limited
//! number ([`Hub::forget_aged`]).

use super::bus::Message;
use super::counters::{Counters, Meter};
use super::filter;
use super::index::{Key, SubscriptionIndex};
use super::packet::{Qos, Will};
use super::retained::{Kept, PageLimits, RetainedStore};
use super::rights::Rights;
use super::session::{Budget, Delivery, Outgoing, Push, SessionState, Sweep};
use super::settings::Limits;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What one look into the retained store may fetch.
const PAGE: PageLimits = PageLimits {
    messages: 64,
    bytes: 256 << 10,
    looked_at: 2000,
};
/// A complaint about one principal is logged at most this often.
const COMPLAINT: Duration = Duration::from_secs(60);
/// Principals whose last complaint is remembered.
const COMPLAINTS: usize = 1024;

/// What all connections share.
pub struct Hub {
    /// The bounds.
    pub limits: Limits,
    /// For sessions of principals without limits.
    roomy: Limits,
    /// The counts.
    pub meter: Meter,
    shared: Mutex<Shared>,
    budget: Arc<Budget>,
    /// A session began to wait for its client.
    aging: Notify,
}

struct Shared {
    /// By principal and client id: nobody can take or block the client id of somebody else.
    by_id: HashMap<(Arc<str>, Arc<str>), Arc<Session>>,
    by_key: HashMap<Key, Arc<Session>>,
    index: SubscriptionIndex,
    retained: RetainedStore,
    /// Counts all messages; the order of everything.
    seq: u64,
    last_key: Key,
    /// Sessions without a client, oldest first.
    absent: BTreeMap<(Instant, Key), Arc<Session>>,
    complaints: HashMap<Arc<str>, Instant>,
}

/// A client's session.
pub struct Session {
    key: Key,
    id: Arc<str>,
    principal: Arc<str>,
    persistent: bool,
    /// Its queue may grow far: a controller hears every node of its fleet, and all at once after
    /// a restart.
    roomy: bool,
    /// What matches one of these is not for it.
    hidden: Vec<String>,
    /// There is something to write.
    pub wake: Notify,
    body: Mutex<Body>,
}

struct Body {
    state: SessionState,
    live: Option<Arc<Live>>,
    absent_since: Option<Instant>,
}

/// The connection that a session has now.
pub struct Live {
    /// Somebody wants the connection to end.
    pub kicked: Notify,
    reason: OnceLock<Kick>,
    will: Mutex<Option<Will>>,
}

/// Why the broker ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kick {
    /// The same client connected again.
    Takeover,
    /// A QoS 1 message found the queue full.
    Overrun,
    /// [`super::Broker::disconnect`].
    Ordered,
    /// [`super::Broker::shutdown`].
    Shutdown,
}

impl Live {
    /// Ends the connection; the first reason stays.
    pub fn kick(&self, reason: Kick) {
        let _ = self.reason.set(reason);
        self.kicked.notify_one();
    }

    /// Why the connection has to end, if it has to.
    pub fn reason(&self) -> Option<Kick> {
        self.reason.get().copied()
    }

    /// The will, for the one who publishes or discards it.
    pub fn take_will(&self) -> Option<Will> {
        lock(&self.will).take()
    }
}

/// A connection's hold on its session.
pub struct Attachment {
    /// The session.
    pub session: Arc<Session>,
    /// The connection's own entry.
    pub live: Arc<Live>,
    /// The session was there before.
    pub present: bool,
    /// The connection that had this client id until now: kick it, publish its will.
    pub replaced: Option<Arc<Live>>,
}

/// Who connects.
pub struct Newcomer<'a> {
    /// Valid client id.
    pub id: &'a str,
    /// From the gatekeeper.
    pub principal: &'a str,
    /// From the gatekeeper.
    pub rights: &'a Rights,
    /// CONNECT's clean session flag.
    pub clean: bool,
    /// CONNECT's will, checked.
    pub will: Option<Will>,
}

impl Hub {
    /// No sessions, nothing retained.
    pub fn new(limits: Limits) -> Hub {
        let retained = RetainedStore::new(limits.retained_messages, limits.retained_bytes);
        Hub {
            budget: Arc::new(Budget::new(limits.queue_bytes_total)),
            roomy: Limits {
                queue_messages: limits.unlimited_queue_messages,
                queue_bytes: limits.unlimited_queue_bytes,
                ..limits.clone()
            },
            limits,
            meter: Meter::default(),
            shared: Mutex::new(Shared {
                by_id: HashMap::new(),
                by_key: HashMap::new(),
                index: SubscriptionIndex::default(),
                retained,
                seq: 0,
                last_key: 0,
                absent: BTreeMap::new(),
                complaints: HashMap::new(),
            }),
            aging: Notify::new(),
        }
    }

    /// Gives a client its session: the one that it left, or a fresh one.
    pub fn attach(&self, newcomer: Newcomer<'_>) -> Attachment {
        let live = Arc::new(Live {
            kicked: Notify::new(),
            reason: OnceLock::new(),
            will: Mutex::new(newcomer.will),
        });
        let mut shared = lock(&self.shared);
        let mut replaced = None;
        let slot = (newcomer.principal.into(), newcomer.id.into());
        if let Some(session) = shared.by_id.get(&slot).cloned() {
            let mut body = lock(&session.body);
            replaced = body.live.take();
            if let Some(since) = body.absent_since.take() {
                shared.absent.remove(&(since, session.key));
            }
            if session.persistent && !newcomer.clean {
                let (allowed, revoked): (Vec<_>, Vec<_>) =
                    std::mem::take(&mut body.state.subscriptions)
                        .into_iter()
                        .partition(|(filter, _)| newcomer.rights.may_subscribe(filter));
                body.state.subscriptions = allowed;
                for (filter, _) in revoked {
                    shared.index.remove(&filter, session.key);
                    body.state.sweeps.retain(|sweep| sweep.filter != filter);
                }
                body.state.resume();
                body.live = Some(live.clone());
                drop(body);
                return Attachment {
                    session,
                    live,
                    present: true,
                    replaced,
                };
            }
            drop(body);
            shared.remove(&session);
        }
        shared.last_key += 1;
        let session = Arc::new(Session {
            key: shared.last_key,
            id: slot.1.clone(),
            principal: slot.0.clone(),
            persistent: !newcomer.clean,
            roomy: newcomer.rights.unlimited,
            hidden: newcomer.rights.hidden.clone(),
            wake: Notify::new(),
            body: Mutex::new(Body {
                state: SessionState::new(self.budget.clone()),
                live: Some(live.clone()),
                absent_since: None,
            }),
        });
        shared.by_id.insert(slot, session.clone());
        shared.by_key.insert(session.key, session.clone());
        Attachment {
            session,
            live,
            present: false,
            replaced,
        }
    }

    /// A connection leaves its session, unless another one has it already.
    pub fn detach(&self, session: &Arc<Session>, live: &Arc<Live>) {
        let mut shared = lock(&self.shared);
        let mut body = lock(&session.body);
        if !body.belongs_to(live) {
            return;
        }
        body.live = None;
        if !session.persistent {
            drop(body);
            shared.remove(session);
            return;
        }
        let now = Instant::now();
        body.absent_since = Some(now);
        drop(body);
        shared.absent.insert((now, session.key), session.clone());
        while shared.absent.len() > self.limits.absent_sessions {
            let Some((_, oldest)) = shared.absent.pop_first() else {
                break;
            };
            shared.remove(&oldest);
        }
        drop(shared);
        self.aging.notify_one();
    }

    /// Ends the sessions whose clients were away for too long. Runs for ever; sleeps exactly until
    /// there is something to do.
    pub async fn forget_aged(&self) {
        loop {
            let next = {
                let mut shared = lock(&self.shared);
                let now = Instant::now();
                loop {
                    let Some((&(since, _), _)) = shared.absent.first_key_value() else {
                        break None;
                    };
                    let due = since + self.limits.session_age;
                    if due > now {
                        break Some(due);
                    }
                    if let Some((_, session)) = shared.absent.pop_first() {
                        shared.remove(&session);
                    }
                }
            };
            match next {
                Some(due) => tokio::time::sleep_until(due).await,
                None => self.aging.notified().await,
            }
        }
    }

    /// Adds one subscription; `None` when it is refused.
    pub fn subscribe(
        &self,
        session: &Session,
        rights: &Rights,
        wanted: &str,
        qos: Qos,
    ) -> Option<Qos> {
        if !filter::valid_filter(wanted, self.limits.max_topic) || !rights.may_subscribe(wanted) {
            self.meter.denied_subscriptions.one();
            if self.may_complain(&session.principal) {
                tracing::warn!(client = %session.id, principal = %session.principal,
                    filter = ?wanted, "subscription refused");
            }
            return None;
        }
        let mut shared = lock(&self.shared);
        let mut body = lock(&session.body);
        let state = &mut body.state;
        let known = state
            .subscriptions
            .iter()
            .position(|(filter, _)| **filter == *wanted);
        if let Some(at) = known {
            state.subscriptions[at].1 = qos;
        } else if state.subscriptions.len() < self.limits.subscriptions {
            state.subscriptions.push((wanted.into(), qos));
        } else {
            self.meter.denied_subscriptions.one();
            return None;
        }
        // A repeated subscription gets the retained messages again (MQTT-3.8.4-3).
        state.sweeps.retain(|sweep| *sweep.filter != *wanted);
        let as_of = shared.seq;
        state.sweeps.push_back(Sweep {
            filter: wanted.into(),
            qos,
            after: None,
            as_of,
        });
        shared.index.insert(wanted, session.key, qos);
        Some(qos)
    }

    /// Removes one subscription; what is queued already still goes out.
    pub fn unsubscribe(&self, session: &Session, filter: &str) {
        let mut shared = lock(&self.shared);
        let mut body = lock(&session.body);
        body.state.subscriptions.retain(|(own, _)| **own != *filter);
        body.state.sweeps.retain(|sweep| *sweep.filter != *filter);
        shared.index.remove(filter, session.key);
    }

    /// Gives a message to the retained store and to every session that wants it. Called in the
    /// order of the bus.
    pub fn dispatch(&self, message: &Message) {
        let mut shared = lock(&self.shared);
        shared.seq += 1;
        if message.retain {
            let seq = shared.seq;
            let kept = shared
                .retained
                .set(&message.topic, &message.payload, message.qos, seq);
            if kept == Kept::Refused {
                self.meter.retained_refused.one();
                if shared.may_complain("retained store full") {
                    tracing::warn!(topic = ?message.topic, messages = shared.retained.count(),
                        bytes = shared.retained.bytes(),
                        "retained message not kept, the store is full");
                }
            }
        }
        let Ok(topic) = std::str::from_utf8(&message.topic) else {
            return;
        };
        for (key, granted) in shared.index.matching(topic) {
            let hides = |s: &&Arc<Session>| s.hidden.iter().any(|h| filter::matches(h, topic));
            if let Some(session) = shared.by_key.get(&key).filter(|s| !hides(s)) {
                self.deliver(session, message, granted);
            }
        }
    }

    fn deliver(&self, session: &Session, message: &Message, granted: Qos) {
        let qos = granted.min(message.qos);
        let mut body = lock(&session.body);
        if body.live.is_none() && qos == Qos::AtMostOnce {
            self.meter.dropped.one();
            return;
        }
        let delivery = Delivery {
            topic: message.topic.clone(),
            payload: message.payload.clone(),
            qos,
            retain: false, // MQTT-3.3.1-9
        };
        let limits = if session.roomy {
            &self.roomy
        } else {
            &self.limits
        };
        match body.state.push(delivery, limits) {
            Push::Queued => session.wake.notify_one(),
            Push::Full => {
                self.meter.dropped.one();
                if let (Qos::AtLeastOnce, Some(live)) = (qos, &body.live)
                    && live.reason().is_none()
                {
                    live.kick(Kick::Overrun);
                }
            }
        }
    }

    /// Fetches retained messages for a session that has room for some, then takes what is to be
    /// written next. Call until it gives `None`, which is all that a connection gets whose session
    /// was taken over.
    pub fn next(&self, session: &Session, live: &Arc<Live>) -> Option<Outgoing> {
        let mut body = lock(&session.body);
        if !body.belongs_to(live) {
            return None;
        }
        if body.state.wants_retained(&self.limits) {
            drop(body);
            self.fetch_retained(session);
            body = lock(&session.body);
            if !body.belongs_to(live) {
                return None;
            }
        }
        body.state.next(self.limits.max_inflight)
    }

    fn fetch_retained(&self, session: &Session) {
        let shared = lock(&self.shared);
        let mut body = lock(&session.body);
        if !body.state.wants_retained(&self.limits) {
            return;
        }
        let Some(mut sweep) = body.state.sweeps.pop_front() else {
            return;
        };
        let page = shared
            .retained
            .page(&sweep.filter, sweep.after.as_ref(), sweep.as_of, PAGE);
        for (topic, retained) in page.found {
            let qos = sweep.qos.min(retained.qos);
            let delivery = Delivery {
                topic,
                payload: retained.payload,
                qos,
                retain: true,
            };
            body.state.push_retained(delivery);
        }
        if page.after.is_some() {
            sweep.after = page.after;
            body.state.sweeps.push_front(sweep);
        }
        // The page may have been empty: look again, after others had their turn.
        if body.state.wants_retained(&self.limits) {
            session.wake.notify_one();
        }
    }

    /// The client has a QoS 1 message.
    pub fn acknowledge(&self, session: &Session, live: &Arc<Live>, pkid: u16) {
        let mut body = lock(&session.body);
        if body.belongs_to(live) {
            body.state.acknowledge(pkid);
        }
    }

    /// Ends the connections of all principals that `which` chooses; returns how many.
    pub fn kick(&self, which: impl Fn(&str) -> bool, reason: Kick) -> usize {
        let chosen: Vec<_> = {
            let shared = lock(&self.shared);
            shared
                .by_id
                .values()
                .filter(|session| which(&session.principal))
                .cloned()
                .collect()
        };
        let mut count = 0;
        for session in chosen {
            if let Some(live) = &lock(&session.body).live {
                live.kick(reason);
                count += 1;
            }
        }
        count
    }

    /// The retained messages that match a filter, in the order of topics.
    pub fn retained(&self, filter: &str) -> Vec<(String, Bytes)> {
        let everything = PageLimits {
            messages: usize::MAX,
            bytes: usize::MAX,
            looked_at: usize::MAX,
        };
        let page = lock(&self.shared)
            .retained
            .page(filter, None, u64::MAX, everything);
        page.found
            .into_iter()
            .map(|(topic, kept)| (String::from_utf8_lossy(&topic).into_owned(), kept.payload))
            .collect()
    }

    /// Everything counted, but for the open connections.
    pub fn counters(&self) -> Counters {
        let shared = lock(&self.shared);
        Counters {
            sessions: shared.by_id.len() as u64,
            subscriptions: shared.index.count() as u64,
            retained: shared.retained.count() as u64,
            retained_bytes: shared.retained.bytes() as u64,
            queued_bytes: self.budget.used() as u64,
            ..self.meter.read()
        }
    }

    /// Is a complaint about this principal due? At most one a minute: a client that does wrong
    /// does it again and again.
    pub fn may_complain(&self, principal: &str) -> bool {
        lock(&self.shared).may_complain(principal)
    }
}

impl Body {
    /// Is this the session's connection now?
    fn belongs_to(&self, live: &Arc<Live>) -> bool {
        self.live
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, live))
    }
}

impl Session {
    /// The client id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whose session it is.
    pub fn principal(&self) -> &str {
        &self.principal
    }
}

impl Shared {
    /// Ends a session, if it was not replaced already.
    fn remove(&mut self, session: &Arc<Session>) {
        if self.by_key.remove(&session.key).is_none() {
            return;
        }
        let slot = (session.principal.clone(), session.id.clone());
        let current = self.by_id.get(&slot);
        if current.is_some_and(|current| current.key == session.key) {
            self.by_id.remove(&slot);
        }
        let mut body = lock(&session.body);
        for (filter, _) in std::mem::take(&mut body.state.subscriptions) {
            self.index.remove(&filter, session.key);
        }
        body.state.sweeps.clear();
    }

    fn may_complain(&mut self, principal: &str) -> bool {
        let now = Instant::now();
        if let Some(last) = self.complaints.get_mut(principal) {
            let due = now.duration_since(*last) >= COMPLAINT;
            if due {
                *last = now;
            }
            return due;
        }
        if self.complaints.len() >= COMPLAINTS {
            self.complaints
                .retain(|_, last| now.duration_since(*last) < COMPLAINT);
        }
        if self.complaints.len() >= COMPLAINTS {
            return false;
        }
        self.complaints.insert(principal.into(), now);
        true
    }
}

/// A panic in another task leaves nothing half-done that the next one could not live with.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
