//! A broker to test, and a client that does exactly what a test says: no reconnect, no automatic
//! acknowledgement. Every wait has an end.

use bytes::{Bytes, BytesMut};
use fleetctl::broker::{
    Admission, Broker, Credentials, Gatekeeper, Limits, Listener, Refusal, Rights, Settings,
};
use rumqttc::mqttbytes::v4::{
    Connect, ConnectReturnCode, LastWill, Login, Packet, PubAck, Publish, Subscribe,
    SubscribeReasonCode, Unsubscribe,
};
use rumqttc::mqttbytes::{Error, QoS};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than anything takes, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Longest packet that the client takes.
const MAX: usize = 16 << 20;

/// Admits by user name: `nobody`, `wrong` and `later` are refused; `node` has a node's rights for
/// its client id; `limited` may do everything at the limited rate; everybody else may do everything.
struct Gate;

impl Gatekeeper for Gate {
    fn admit(&self, credentials: &Credentials<'_>) -> Result<Admission, Refusal> {
        let id = credentials.client_id;
        let all = || vec!["#".to_owned()];
        let (principal, rights) = match credentials.username.unwrap_or("everybody") {
            "nobody" => return Err(Refusal::NotAuthorized),
            "wrong" => return Err(Refusal::BadCredentials),
            "later" => return Err(Refusal::Unavailable),
            "node" => (
                format!("node/{id}"),
                Rights {
                    publish: vec![format!("fleet/+/{id}")],
                    subscribe: vec![format!("fleet/assignment/{id}")],
                    hidden: Vec::new(),
                    unlimited: false,
                },
            ),
            "limited" => (
                "limited".to_owned(),
                Rights {
                    publish: all(),
                    subscribe: all(),
                    hidden: Vec::new(),
                    unlimited: false,
                },
            ),
            name => (
                name.to_owned(),
                Rights {
                    publish: all(),
                    subscribe: all(),
                    hidden: Vec::new(),
                    unlimited: true,
                },
            ),
        };
        Ok(Admission {
            principal,
            rights: Arc::new(rights),
        })
    }
}

/// A running broker on a free port.
pub struct Server {
    pub broker: Broker,
    pub address: SocketAddr,
}

impl Server {
    pub async fn start() -> Server {
        Server::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Server {
        Server::on(Listener::Plain(loopback()), limits).await
    }

    pub async fn on(listener: Listener, limits: Limits) -> Server {
        let settings = Settings {
            listeners: vec![listener],
            limits,
            stranger: None,
        };
        let broker = Broker::start(settings, Arc::new(Gate)).await.unwrap();
        let address = broker.addresses()[0];
        Server { broker, address }
    }

    /// Connects with a clean session.
    pub async fn client(&self, id: &str) -> Client {
        self.connect(Connect::new(id)).await
    }

    /// Connects as asked; the broker must accept.
    pub async fn connect(&self, connect: Connect) -> Client {
        let (client, present) = self.resume(connect).await;
        assert!(!present || !client.clean);
        client
    }

    /// Connects as asked; says whether a session was there.
    pub async fn resume(&self, mut connect: Connect) -> (Client, bool) {
        connect.keep_alive = if connect.keep_alive == 10 {
            600
        } else {
            connect.keep_alive
        };
        let mut client = Client::dial(self.address).await;
        client.clean = connect.clean_session;
        client.send(Packet::Connect(connect)).await;
        let (code, present) = client.connack().await;
        assert_eq!(code, ConnectReturnCode::Success);
        (client, present)
    }

    /// What the broker answers to this CONNECT; the connection must end if it refuses.
    pub async fn refused(&self, connect: Connect) -> ConnectReturnCode {
        let mut client = Client::dial(self.address).await;
        client.send(Packet::Connect(connect)).await;
        let (code, present) = client.connack().await;
        assert!(!present);
        client.closed().await;
        code
    }

    /// An ordinary client still connects, subscribes, publishes and gets its message.
    pub async fn serves(&self) {
        let mut client = self.client("ordinary").await;
        client.subscribe("ordinary/topic", QoS::AtLeastOnce).await;
        client
            .publish("ordinary/topic", QoS::AtLeastOnce, false, "hello")
            .await;
        let publish = client.message().await;
        assert_eq!(publish.payload, "hello");
        client.send(Packet::Disconnect).await;
        client.closed().await;
    }
}

pub fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// CONNECT with a user name.
pub fn as_user(id: &str, username: &str) -> Connect {
    let mut connect = Connect::new(id);
    connect.login = Some(Login::new(username, "secret"));
    connect
}

/// CONNECT that keeps the session.
pub fn lasting(id: &str) -> Connect {
    Connect {
        clean_session: false,
        ..Connect::new(id)
    }
}

/// CONNECT with a will.
pub fn with_will(id: &str, topic: &str, retain: bool) -> Connect {
    let will = LastWill::new(topic, "gone", QoS::AtLeastOnce, retain);
    Connect {
        last_will: Some(will),
        ..Connect::new(id)
    }
}

/// Waits until `holds`; fails when it never does.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One connection.
pub struct Client {
    io: Box<dyn Stream>,
    input: BytesMut,
    /// Came while something else was waited for.
    stash: VecDeque<Packet>,
    last_pkid: u16,
    clean: bool,
}

impl Client {
    pub async fn dial(address: SocketAddr) -> Client {
        let stream = timeout(PATIENCE, TcpStream::connect(address))
            .await
            .unwrap()
            .unwrap();
        stream.set_nodelay(true).unwrap();
        Client::over(stream)
    }

    pub fn over(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Client {
        let (input, stash) = (BytesMut::new(), VecDeque::new());
        Client {
            io: Box::new(io),
            input,
            stash,
            last_pkid: 0,
            clean: true,
        }
    }

    /// Sends bytes as they are.
    pub async fn raw(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.io.write_all(bytes))
            .await
            .expect("the broker reads")
            .unwrap();
        timeout(PATIENCE, self.io.flush())
            .await
            .expect("the broker reads")
            .unwrap();
    }

    /// Sends bytes to a broker that may close the connection before it has them all.
    pub async fn raw_or_closed(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.io.write_all(bytes))
            .await
            .expect("read or closed");
        let _ = timeout(PATIENCE, self.io.flush())
            .await
            .expect("read or closed");
    }

    pub async fn send(&mut self, packet: Packet) {
        self.raw(&encoded(packet)).await;
    }

    /// The next packet; `None` when the connection ended.
    pub async fn next(&mut self) -> Option<Packet> {
        if let Some(packet) = self.stash.pop_front() {
            return Some(packet);
        }
        self.read().await
    }

    async fn read(&mut self) -> Option<Packet> {
        loop {
            match Packet::read(&mut self.input, MAX) {
                Ok(packet) => return Some(packet),
                Err(Error::InsufficientBytes(_)) => {}
                Err(error) => panic!("the broker sent what is no packet: {error}"),
            }
            let read = timeout(PATIENCE, self.io.read_buf(&mut self.input));
            match read.await.expect("the broker sends or closes") {
                Ok(count) if count > 0 => {}
                _ => return None,
            }
        }
    }

    /// The first packet that `wanted` maps to something; others keep for later.
    pub async fn wait_for<T>(&mut self, wanted: impl Fn(&Packet) -> Option<T>) -> T {
        let found = self
            .stash
            .iter()
            .position(|packet| wanted(packet).is_some());
        if let Some(packet) = found.and_then(|at| self.stash.remove(at)) {
            return wanted(&packet).unwrap();
        }
        loop {
            let packet = self.read().await.expect("the connection ended early");
            match wanted(&packet) {
                Some(found) => return found,
                None => self.stash.push_back(packet),
            }
        }
    }

    /// Waits for the end of the connection, whatever comes before.
    pub async fn closed(&mut self) {
        while self.next().await.is_some() {}
    }

    pub async fn connack(&mut self) -> (ConnectReturnCode, bool) {
        match self.next().await {
            Some(Packet::ConnAck(ack)) => (ack.code, ack.session_present),
            other => panic!("not a CONNACK: {other:?}"),
        }
    }

    /// The next message; a QoS 1 message is not acknowledged.
    pub async fn message(&mut self) -> Publish {
        self.wait_for(|packet| match packet {
            Packet::Publish(publish) => Some(publish.clone()),
            _ => None,
        })
        .await
    }

    pub async fn ack(&mut self, publish: &Publish) {
        self.send(Packet::PubAck(PubAck::new(publish.pkid))).await;
    }

    /// Everything that the client sent is handled, and nothing but the answer comes.
    pub async fn quiet(&mut self) {
        assert_eq!(self.stash.pop_front(), None);
        self.send(Packet::PingReq).await;
        assert_eq!(self.read().await, Some(Packet::PingResp));
    }

    pub async fn ping(&mut self) {
        self.send(Packet::PingReq).await;
        self.wait_for(|packet| (*packet == Packet::PingResp).then_some(()))
            .await;
    }

    /// Subscribes to one filter, which must be granted.
    pub async fn subscribe(&mut self, filter: &str, qos: QoS) -> QoS {
        match self.try_subscribe(filter, qos).await {
            SubscribeReasonCode::Success(granted) => granted,
            SubscribeReasonCode::Failure => panic!("{filter} refused"),
        }
    }

    pub async fn try_subscribe(&mut self, filter: &str, qos: QoS) -> SubscribeReasonCode {
        let pkid = self.pkid();
        let mut subscribe = Subscribe::new(filter, qos);
        subscribe.pkid = pkid;
        self.send(Packet::Subscribe(subscribe)).await;
        let codes = self
            .wait_for(|packet| match packet {
                Packet::SubAck(ack) if ack.pkid == pkid => Some(ack.return_codes.clone()),
                _ => None,
            })
            .await;
        assert_eq!(codes.len(), 1);
        codes[0]
    }

    pub async fn unsubscribe(&mut self, filter: &str) {
        let pkid = self.pkid();
        let mut unsubscribe = Unsubscribe::new(filter);
        unsubscribe.pkid = pkid;
        self.send(Packet::Unsubscribe(unsubscribe)).await;
        self.wait_for(|packet| match packet {
            Packet::UnsubAck(ack) if ack.pkid == pkid => Some(()),
            _ => None,
        })
        .await;
    }

    /// Publishes; with QoS 1 waits for the acknowledgement.
    pub async fn publish(
        &mut self,
        topic: &str,
        qos: QoS,
        retain: bool,
        payload: impl Into<Vec<u8>>,
    ) {
        let publish = self.prepare(topic, qos, retain, payload);
        let pkid = publish.pkid;
        self.send(Packet::Publish(publish)).await;
        if qos == QoS::AtLeastOnce {
            self.wait_for(|packet| match packet {
                Packet::PubAck(ack) if ack.pkid == pkid => Some(()),
                _ => None,
            })
            .await;
        }
    }

    /// A PUBLISH with an identifier of its own.
    pub fn prepare(
        &mut self,
        topic: &str,
        qos: QoS,
        retain: bool,
        payload: impl Into<Vec<u8>>,
    ) -> Publish {
        let mut publish = Publish::from_bytes(topic, qos, Bytes::from(payload.into()));
        publish.retain = retain;
        publish.pkid = if qos == QoS::AtMostOnce {
            0
        } else {
            self.pkid()
        };
        publish
    }

    fn pkid(&mut self) -> u16 {
        self.last_pkid += 1;
        self.last_pkid
    }
}

/// A packet's bytes.
pub fn encoded(packet: Packet) -> BytesMut {
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes, MAX).unwrap();
    bytes
}

/// CONNECT's bytes.
pub fn connect_bytes(connect: Connect) -> BytesMut {
    encoded(Packet::Connect(connect))
}
