//! Connect, reconnect, publish, subscribe.

use super::Endpoint;
use bytes::Bytes;
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, Incoming, LastWill, MqttOptions,
    NetworkOptions, Outgoing as Sent, QoS, SubscribeFilter, TlsConfiguration, Transport,
};
use rustls::ClientConfig;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::mpsc, time};
use tracing::{debug, warn};

/// Publishes the client may hold.
const CLIENT_CHANNEL: usize = 64;

/// A message to send.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where to.
    pub topic: String,
    /// What.
    pub payload: Bytes,
    /// At least once (QoS 1), or at most once.
    pub at_least_once: bool,
    /// The broker keeps it for later subscribers.
    pub retain: bool,
    /// Told when the broker has acknowledged it; never, where it went lost before.
    pub receipt: Option<Receipt>,
}

/// What is done when a message has been acknowledged; it must be quick.
#[derive(Clone)]
pub struct Receipt(Arc<dyn Fn() + Send + Sync>);

impl Receipt {
    /// Does this then.
    pub fn new(then: impl Fn() + Send + Sync + 'static) -> Receipt {
        Receipt(Arc::new(then))
    }
}

impl std::fmt::Debug for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receipt")
    }
}

/// What one connection uses.
#[derive(Debug, Clone)]
pub struct Login {
    /// Where to.
    pub endpoint: Endpoint,
    /// TLS, where the endpoint wants it.
    pub tls: Option<Arc<ClientConfig>>,
    /// Client id.
    pub client_id: String,
    /// User and password.
    pub credentials: (String, String),
    /// Last will: topic and payload; QoS 1, retained.
    pub will: Option<(String, Vec<u8>)>,
    /// Subscribed to at QoS 1 as soon as the connection stands.
    pub filters: Vec<String>,
}

/// Makes a [`Login`] for each try; `attempt` counts from 0 and chooses among addresses.
pub trait LoginSource: Send + 'static {
    /// The next login. `Err` ends the session for good, with a sentence.
    fn next(&mut self, attempt: u32) -> Result<Login, String>;
}

/// How a session behaves.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// Longest wait between tries.
    pub reconnect_max: Duration,
    /// MQTT keep-alive.
    pub keep_alive: Duration,
    /// Largest packet that is taken.
    pub max_packet: usize,
    /// Messages that may wait for a connection or for room in the client.
    pub outbox: usize,
    /// Seeds the jitter.
    pub seed: u64,
}

/// What a session tells its owner.
#[derive(Debug)]
pub enum SessionEvent {
    /// It stands, and the subscriptions were sent: announce everything.
    Connected,
    /// It broke, or could not be made; it is tried again by itself.
    Disconnected {
        /// One sentence.
        reason: String,
        /// The broker refused the credentials.
        refused: bool,
    },
    /// A message.
    Message {
        /// Topic.
        topic: String,
        /// Payload.
        payload: Bytes,
        /// The broker had kept it: it may be old.
        retained: bool,
    },
    /// It has ended for good.
    Ended {
        /// One sentence.
        reason: String,
    },
}

enum Order {
    Publish(Outgoing),
    Reconnect,
    Close { last: Option<Outgoing> },
}

/// Sends. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Publisher {
    orders: mpsc::Sender<Order>,
    backlog: Backlog,
}

/// Counts the bytes of messages that wait to be sent, or to be acknowledged.
#[derive(Debug, Clone, Default)]
struct Backlog(Arc<AtomicUsize>);

impl Backlog {
    fn add(&self, message: &Outgoing) {
        self.0.fetch_add(weight(message), Ordering::Relaxed);
    }

    fn take(&self, message: &Outgoing) {
        self.0.fetch_sub(weight(message), Ordering::Relaxed);
    }
}

/// Bytes, with some for what surrounds a message.
fn weight(message: &Outgoing) -> usize {
    message.topic.len() + message.payload.len() + 64
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Order")
    }
}

impl Publisher {
    /// Puts a message into the outbox. `false`: the outbox is full, the message is dropped.
    pub fn publish(&self, message: Outgoing) -> bool {
        // Counted before it is on its way, since it may be taken off at once.
        self.backlog.add(&message);
        match self.orders.try_send(Order::Publish(message)) {
            Ok(()) => true,
            Err(back) => {
                if let Order::Publish(message) = back.into_inner() {
                    self.backlog.take(&message);
                }
                warn!("outbox is full, a message was dropped");
                false
            }
        }
    }

    /// Bytes that wait to be sent, or to be acknowledged: who has much to say and can wait with
    /// it lets these become few first.
    pub fn backlog(&self) -> usize {
        self.backlog.0.load(Ordering::Relaxed)
    }

    /// There is room in the outbox.
    pub fn has_room(&self) -> bool {
        self.orders.capacity() > 0
    }

    /// The session has ended.
    pub fn is_closed(&self) -> bool {
        self.orders.is_closed()
    }

    /// Breaks the connection and makes a new one with a new login, at once.
    pub fn reconnect(&self) {
        let _ = self.orders.try_send(Order::Reconnect);
    }

    /// Sends `last`, disconnects in good order and ends the session.
    pub async fn close(&self, last: Option<Outgoing>) {
        if self.orders.send(Order::Close { last }).await.is_ok() {
            self.orders.closed().await;
        }
    }
}

/// Starts a session on the current runtime.
pub fn spawn(
    source: impl LoginSource,
    settings: SessionSettings,
) -> (Publisher, mpsc::Receiver<SessionEvent>) {
    let (orders, order_queue) = mpsc::channel(settings.outbox);
    let (events, event_queue) = mpsc::channel(256);
    let backlog = Backlog::default();
    let session = Session {
        backlog: backlog.clone(),
        source: Box::new(source),
        random: crate::supervisor::Backoff::new(settings.seed),
        settings,
        orders: order_queue,
        events,
        outbox: VecDeque::new(),
        unacknowledged: VecDeque::new(),
    };
    tokio::spawn(session.run());
    (Publisher { orders, backlog }, event_queue)
}

struct Session {
    source: Box<dyn LoginSource>,
    settings: SessionSettings,
    random: crate::supervisor::Backoff,
    orders: mpsc::Receiver<Order>,
    events: mpsc::Sender<SessionEvent>,
    /// Not given to the client yet.
    outbox: VecDeque<Outgoing>,
    /// Given to the client at QoS 1, in order, with the packet id once it is known.
    unacknowledged: VecDeque<(Option<u16>, Outgoing)>,
    /// Of both, and of what waits to be taken into the outbox.
    backlog: Backlog,
}

/// Why one connection is over.
enum End {
    Lost {
        reason: String,
        refused: bool,
        stood: bool,
    },
    Reconnect,
    Closed,
}

impl Session {
    async fn run(mut self) {
        let mut attempt: u32 = 0;
        loop {
            let login = match self.source.next(attempt) {
                Ok(login) => login,
                Err(reason) => {
                    let _ = self.events.send(SessionEvent::Ended { reason }).await;
                    return;
                }
            };
            attempt = match self.connection(login).await {
                End::Closed => return,
                End::Reconnect => 0,
                End::Lost {
                    reason,
                    refused,
                    stood,
                } => {
                    let event = SessionEvent::Disconnected { reason, refused };
                    if self.events.send(event).await.is_err() {
                        return;
                    }
                    if stood { 0 } else { attempt.saturating_add(1) }
                }
            };
            self.requeue();
            if !self.wait(attempt).await {
                return;
            }
        }
    }

    /// What was not acknowledged goes first the next time; retained messages are announced anew
    /// by their owner, under newer numbers.
    fn requeue(&mut self) {
        let again = std::mem::take(&mut self.unacknowledged)
            .into_iter()
            .map(|(_, m)| m);
        let (retained, all): (VecDeque<Outgoing>, VecDeque<Outgoing>) = again
            .chain(std::mem::take(&mut self.outbox))
            .partition(|m| m.retain);
        retained.iter().for_each(|m| self.backlog.take(m));
        self.outbox = all;
    }

    /// Waits before the next try; `false` when the session is to end.
    async fn wait(&mut self, attempt: u32) -> bool {
        let limit = u64::try_from(self.settings.reconnect_max.as_millis()).unwrap_or(60_000);
        let limit = limit.min(1_000u64.saturating_mul(1 << attempt.min(16)));
        let pause = time::sleep(Duration::from_millis(self.random.below(limit)));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return true,
                order = self.orders.recv() => match order {
                    None | Some(Order::Close { .. }) => return false,
                    Some(Order::Reconnect) => return true,
                    Some(Order::Publish(m)) => self.keep(m),
                },
            }
        }
    }

    /// Into the outbox, which drops its oldest message when it is full.
    fn keep(&mut self, message: Outgoing) {
        if self.outbox.len() >= self.settings.outbox
            && let Some(oldest) = self.outbox.pop_front()
        {
            self.backlog.take(&oldest);
            warn!("outbox is full, its oldest message was dropped");
        }
        self.outbox.push_back(message);
    }

    /// One connection, from dialling to its end.
    async fn connection(&mut self, login: Login) -> End {
        let endpoint = login.endpoint.to_string();
        let filters = login.filters.clone();
        let (client, event_loop) = connect(login, &self.settings);
        let (polled, mut happened) = mpsc::channel(64);
        let poller = tokio::spawn(poll(event_loop, polled));
        let end = self
            .drive(&client, &filters, &mut happened, &endpoint)
            .await;
        poller.abort();
        end
    }

    async fn drive(
        &mut self,
        client: &AsyncClient,
        filters: &[String],
        happened: &mut mpsc::Receiver<Result<Event, ConnectionError>>,
        endpoint: &str,
    ) -> End {
        let mut stands = false;
        loop {
            if stands {
                self.feed(client);
            }
            tokio::select! {
                event = happened.recv() => match event {
                    Some(Ok(Event::Incoming(Incoming::ConnAck(_)))) => {
                        debug!(broker = endpoint, "connected");
                        stands = true;
                        let all = filters.iter().map(|f| SubscribeFilter::new(f.clone(), QoS::AtLeastOnce));
                        if !filters.is_empty() && client.try_subscribe_many(all).is_err() {
                            return lost("the client took no subscription", stands);
                        }
                        if self.events.send(SessionEvent::Connected).await.is_err() {
                            return End::Closed;
                        }
                    }
                    Some(Ok(event)) => if let Some(end) = self.handle(event).await { return end },
                    Some(Err(error)) => {
                        let refused = matches!(error, ConnectionError::ConnectionRefused(_));
                        return End::Lost { reason: explain(endpoint, &error), refused, stood: stands };
                    }
                    None => return lost("the client ended", stands),
                },
                order = self.orders.recv() => match order {
                    None => return End::Closed,
                    Some(Order::Publish(m)) => self.keep(m),
                    Some(Order::Reconnect) => return End::Reconnect,
                    Some(Order::Close { last }) => {
                        self.say_goodbye(client, last, happened, stands).await;
                        return End::Closed;
                    }
                },
            }
        }
    }

    /// Gives the client what it has room for.
    fn feed(&mut self, client: &AsyncClient) {
        while let Some(message) = self.outbox.pop_front() {
            let qos = if message.at_least_once {
                QoS::AtLeastOnce
            } else {
                QoS::AtMostOnce
            };
            let (topic, payload) = (message.topic.clone(), message.payload.clone());
            if client
                .try_publish(topic, qos, message.retain, payload)
                .is_err()
            {
                self.outbox.push_front(message);
                return;
            }
            if message.at_least_once {
                self.unacknowledged.push_back((None, message));
            } else {
                self.backlog.take(&message);
            }
        }
    }

    async fn handle(&mut self, event: Event) -> Option<End> {
        match event {
            Event::Incoming(Incoming::Publish(p)) => {
                let event = SessionEvent::Message {
                    topic: p.topic,
                    payload: p.payload,
                    retained: p.retain,
                };
                if self.events.send(event).await.is_err() {
                    return Some(End::Closed);
                }
            }
            // QoS 1 publishes leave in the order in which they were given to the client.
            Event::Outgoing(Sent::Publish(id)) if id != 0 => {
                if let Some(entry) = self.unacknowledged.iter_mut().find(|(i, _)| i.is_none()) {
                    entry.0 = Some(id);
                }
            }
            Event::Incoming(Incoming::PubAck(ack)) => {
                let known = self
                    .unacknowledged
                    .iter()
                    .position(|(i, _)| *i == Some(ack.pkid));
                if let Some((_, message)) = known.and_then(|at| self.unacknowledged.remove(at)) {
                    self.backlog.take(&message);
                    if let Some(receipt) = &message.receipt {
                        (receipt.0)();
                    }
                }
            }
            Event::Incoming(Incoming::Disconnect) => {
                return Some(lost("the broker closed the connection", true));
            }
            _ => {}
        }
        None
    }

    /// At most two seconds: a broker that hangs must not keep a process from ending.
    async fn say_goodbye(
        &mut self,
        client: &AsyncClient,
        last: Option<Outgoing>,
        happened: &mut mpsc::Receiver<Result<Event, ConnectionError>>,
        stands: bool,
    ) {
        if !stands {
            return;
        }
        if let Some(last) = last {
            self.backlog.add(&last);
            self.outbox.push_back(last);
        }
        let flush = async {
            loop {
                self.feed(client);
                if self.outbox.is_empty() && self.unacknowledged.is_empty() {
                    break;
                }
                match happened.recv().await {
                    Some(Ok(event)) => {
                        if self.handle(event).await.is_some() {
                            return;
                        }
                    }
                    _ => return,
                }
            }
            if client.try_disconnect().is_ok() {
                while let Some(Ok(event)) = happened.recv().await {
                    if matches!(event, Event::Outgoing(Sent::Disconnect)) {
                        break;
                    }
                }
            }
        };
        let _ = time::timeout(Duration::from_secs(2), flush).await;
    }
}

fn lost(reason: &str, stood: bool) -> End {
    End::Lost {
        reason: reason.to_owned(),
        refused: false,
        stood,
    }
}

fn connect(login: Login, settings: &SessionSettings) -> (AsyncClient, EventLoop) {
    let Login {
        endpoint,
        tls,
        client_id,
        credentials,
        will,
        ..
    } = login;
    let mut options = MqttOptions::new(client_id, endpoint.host, endpoint.port);
    options.set_credentials(credentials.0, credentials.1);
    options.set_keep_alive(settings.keep_alive);
    options.set_clean_session(true);
    options.set_inflight(32);
    options.set_max_packet_size(settings.max_packet, settings.max_packet);
    if let Some((topic, payload)) = will {
        options.set_last_will(LastWill::new(topic, payload, QoS::AtLeastOnce, true));
    }
    if let (true, Some(config)) = (endpoint.tls, tls) {
        options.set_transport(Transport::Tls(TlsConfiguration::Rustls(config)));
    }
    let (client, mut event_loop) = AsyncClient::new(options, CLIENT_CHANNEL);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(15);
    event_loop.set_network_options(network);
    (client, event_loop)
}

/// Polls and does nothing else; ends with the first error.
async fn poll(mut event_loop: EventLoop, to: mpsc::Sender<Result<Event, ConnectionError>>) {
    loop {
        let event = event_loop.poll().await;
        let failed = event.is_err();
        if to.send(event).await.is_err() || failed {
            return;
        }
    }
}

fn explain(endpoint: &str, error: &ConnectionError) -> String {
    use rumqttc::ConnectReturnCode as Code;
    match error {
        ConnectionError::ConnectionRefused(Code::BadUserNamePassword | Code::NotAuthorized) => {
            format!("the broker {endpoint} refuses this node's credential")
        }
        ConnectionError::ConnectionRefused(code) => {
            format!("the broker {endpoint} refuses the connection ({code:?})")
        }
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => {
            format!("the broker {endpoint} does not answer")
        }
        ConnectionError::Tls(e) => format!("no TLS with the broker {endpoint}: {e}"),
        ConnectionError::Io(e) => format!("the broker {endpoint} cannot be reached: {e}"),
        other => format!("the connection to the broker {endpoint} broke: {other}"),
    }
}
