//! The way of every message through `rumqttd`'s router: in on one end, out in order on the other.
//!
//! ```text
//! connections ──publish──► link ──► router (a log in memory) ──► link ──► Downlink ──► sessions
//!      ▲                                                            │
//!      └────────────── bytes in flight, at most `budget` ◄──────────┘
//! ```
//!
//! The router sees one link, one topic and one filter, whatever clients send, because
//! - it panics on some topics and keeps a table entry per topic for ever;
//! - its local links know QoS 0 only and lose the retain flag;
//! - its log counts a message as topic plus payload, though it keeps some 300 bytes more.
//!
//! So a message travels as a [`Message`] frame in the payload, and the router's topic is a constant
//! that is as long as that bookkeeping: the log's bounds then hold in memory, too. The log drops
//! its oldest part when it is full, therefore never more bytes are in flight than it surely keeps;
//! a publisher waits instead.

use super::packet::Qos;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::FutureExt;
use rumqttd::local::{LinkBuilder, LinkRx, LinkTx};
use rumqttd::protocol::{Packet, Publish};
use rumqttd::{Notification, Router, RouterConfig};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, Semaphore};

/// As long as what the router keeps per message besides topic and payload.
const ROUTER_TOPIC: &[u8] = &[b'-'; 320];
/// Matches [`ROUTER_TOPIC`].
const ROUTER_FILTER: &str = "+";
/// What the log counts for a message besides its payload.
const COST: usize = ROUTER_TOPIC.len() + 4;
/// Bytes in flight, unless one packet alone may be larger.
const BUDGET: usize = 2 << 20;
/// Messages that the router hands over at once.
const BATCH: u64 = 1000;

/// A message between a publisher and its subscribers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Printable ASCII.
    pub topic: Bytes,
    /// Any bytes.
    pub payload: Bytes,
    /// As published.
    pub qos: Qos,
    /// As published.
    pub retain: bool,
}

impl Message {
    /// One allocation of its own: the message must not keep its connection's read buffer alive.
    fn frame(topic: &[u8], payload: &[u8], qos: Qos, retain: bool) -> Bytes {
        let mut frame = BytesMut::with_capacity(3 + topic.len() + payload.len());
        frame.put_u8((qos as u8) | (u8::from(retain) << 1));
        frame.put_u16(topic.len() as u16);
        frame.put_slice(topic);
        frame.put_slice(payload);
        frame.freeze()
    }

    fn parse(frame: &Bytes) -> Option<Message> {
        let (&flags, rest) = frame.split_first()?;
        let length = usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]));
        if frame.len() < 3 + length {
            return None;
        }
        Some(Message {
            topic: frame.slice(3..3 + length),
            payload: frame.slice(3 + length..),
            qos: if flags & 1 == 0 {
                Qos::AtMostOnce
            } else {
                Qos::AtLeastOnce
            },
            retain: flags & 2 != 0,
        })
    }
}

/// The router is gone; nothing can be published any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message router inside the broker stopped; restart the broker")]
pub struct RouterGone;

/// The publishing end.
pub struct Bus {
    link: Mutex<LinkTx>,
    flow: Arc<Flow>,
    budget: usize,
}

/// What both ends know.
struct Flow {
    in_flight: Semaphore,
    published: AtomicU64,
    delivered: AtomicU64,
    progress: Notify,
}

/// The delivering end; whoever owns it must read it.
pub struct Downlink {
    link: LinkRx,
    flow: Arc<Flow>,
}

/// Starts a router (a thread of its own, which lives as long as the process: `rumqttd` has no way
/// to stop it) and connects both ends to it.
pub fn start(max_packet: usize) -> Result<(Bus, Downlink), RouterGone> {
    // A frame is at most three bytes longer than the PUBLISH it was made of.
    let budget = BUDGET
        .max(max_packet + 3 + COST)
        .min(Semaphore::MAX_PERMITS >> 1);
    let config = RouterConfig {
        max_connections: 2,
        max_outgoing_packet_count: BATCH,
        // The oldest of four segments may go any time, so three of them hold what is in flight.
        max_segment_size: budget / 2,
        max_segment_count: 4,
        custom_segment: None,
        initialized_filters: None,
        shared_subscriptions_strategy: Default::default(),
    };
    let router = Router::new(0, config).spawn();
    // Waits for the router thread to answer, which it does at once.
    let (mut sender, receiver, _) = LinkBuilder::new("edge", router)
        .build()
        .map_err(|_| RouterGone)?;
    sender.subscribe(ROUTER_FILTER).map_err(|_| RouterGone)?;
    let flow = Arc::new(Flow {
        in_flight: Semaphore::new(budget),
        published: AtomicU64::new(0),
        delivered: AtomicU64::new(0),
        progress: Notify::new(),
    });
    let bus = Bus {
        link: Mutex::new(sender),
        flow: flow.clone(),
        budget,
    };
    Ok((
        bus,
        Downlink {
            link: receiver,
            flow,
        },
    ))
}

impl Bus {
    /// Hands a message to the router; waits while too much is in flight. When it returns, the
    /// message has its place in the order of all messages.
    pub async fn publish(
        &self,
        topic: &[u8],
        payload: &[u8],
        qos: Qos,
        retain: bool,
    ) -> Result<(), RouterGone> {
        let frame = Message::frame(topic, payload, qos, retain);
        let cost = u32::try_from((COST + frame.len()).min(self.budget)).unwrap_or(u32::MAX);
        let room = self
            .flow
            .in_flight
            .acquire_many(cost)
            .await
            .map_err(|_| RouterGone)?;
        let message = Publish::new(Bytes::from_static(ROUTER_TOPIC), frame, false);
        self.hand_over(Packet::Publish(message, None))?;
        room.forget(); // the downlink gives it back
        Ok(())
    }

    /// Waits until everything that was published before is delivered to the sessions and the
    /// retained store.
    pub async fn settled(&self) {
        let target = self.flow.published.load(Ordering::Acquire);
        loop {
            let progress = self.flow.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if self.flow.delivered.load(Ordering::Acquire) >= target
                || self.flow.in_flight.is_closed()
            {
                return;
            }
            progress.await;
        }
    }

    fn hand_over(&self, packet: Packet) -> Result<(), RouterGone> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        self.flow.published.fetch_add(1, Ordering::Release);
        {
            // Something is waiting: the router was told and will take this along. So its queue
            // of events, which blocks when full, holds one event of ours at a time.
            let mut waiting = link.buffer();
            if !waiting.is_empty() {
                waiting.push_back(packet);
                return Ok(());
            }
        }
        // An `async fn` that never waits.
        match link.send(packet).now_or_never() {
            Some(Ok(_)) => Ok(()),
            _ => Err(RouterGone),
        }
    }
}

impl Downlink {
    /// The next message, in the order in which all of them were published. Tell
    /// [`Downlink::delivered`] when it is dealt with.
    pub async fn next(&mut self) -> Result<Message, RouterGone> {
        loop {
            match self.link.next().await {
                Ok(Some(Notification::Forward(forward))) => {
                    match Message::parse(&forward.publish.payload) {
                        Some(message) => return Ok(message),
                        None => tracing::error!("message from the router is not ours"),
                    }
                }
                // The router paused after a batch; it goes on when told.
                Ok(Some(Notification::Unschedule)) => {
                    self.link.wake().await.map_err(|_| RouterGone)?;
                }
                Ok(_) => {}
                Err(_) => return Err(RouterGone),
            }
        }
    }

    /// Gives the room of a message back to the publishers.
    pub fn delivered(&self, message: &Message) {
        let cost = COST + 3 + message.topic.len() + message.payload.len();
        self.flow.in_flight.add_permits(cost);
        self.flow.delivered.fetch_add(1, Ordering::Release);
        self.flow.progress.notify_waiters();
    }
}

/// Without a downlink nobody can publish, and nobody may wait for it.
impl Drop for Downlink {
    fn drop(&mut self) {
        self.flow.in_flight.close();
        self.flow.progress.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn messages_arrive_in_order_with_their_flags() {
        let (bus, mut downlink) = start(1000).unwrap();
        bus.publish(b"a/b", b"one", Qos::AtLeastOnce, true)
            .await
            .unwrap();
        bus.publish(b"\xc3\xa4", b"", Qos::AtMostOnce, false)
            .await
            .unwrap();
        let first = timeout(PATIENCE, downlink.next()).await.unwrap().unwrap();
        assert_eq!(
            (&first.topic[..], &first.payload[..]),
            (&b"a/b"[..], &b"one"[..])
        );
        assert_eq!((first.qos, first.retain), (Qos::AtLeastOnce, true));
        let second = timeout(PATIENCE, downlink.next()).await.unwrap().unwrap();
        assert_eq!(
            (second.qos, second.retain, second.payload.len()),
            (Qos::AtMostOnce, false, 0)
        );
    }

    #[tokio::test]
    async fn a_publisher_waits_for_room_and_nothing_is_lost() {
        let (bus, mut downlink) = start(1000).unwrap();
        let bus = Arc::new(bus);
        let publisher = {
            let bus = bus.clone();
            tokio::spawn(async move {
                for number in 0..20_000u32 {
                    let payload = [&number.to_be_bytes()[..], &[0; 500]].concat();
                    bus.publish(b"t", &payload, Qos::AtMostOnce, false)
                        .await
                        .unwrap();
                }
            })
        };
        // Ten megabytes do not fit: the publisher stops.
        let full = async {
            while bus.flow.in_flight.available_permits() > 2000 {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, full).await.unwrap();
        assert!(!publisher.is_finished());
        for number in 0..20_000u32 {
            let message = timeout(PATIENCE, downlink.next()).await.unwrap().unwrap();
            assert_eq!(message.payload[..4], number.to_be_bytes());
            downlink.delivered(&message);
        }
        timeout(PATIENCE, publisher).await.unwrap().unwrap();
        timeout(PATIENCE, bus.settled()).await.unwrap();
        assert_eq!(bus.flow.in_flight.available_permits(), bus.budget);
    }

    #[tokio::test]
    async fn without_a_downlink_publishing_fails() {
        let (bus, downlink) = start(1000).unwrap();
        drop(downlink);
        assert_eq!(
            bus.publish(b"t", b"", Qos::AtMostOnce, false).await,
            Err(RouterGone)
        );
    }
}
