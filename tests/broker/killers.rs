//! What stops a stock `rumqttd`: here each of them costs its sender the connection at most, and an
//! ordinary client is served afterwards.

use super::client::{Client, PATIENCE, Server, as_user, connect_bytes, lasting, loopback, until};
use fleetctl::broker::{Limits, Listener};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Connect, ConnectReturnCode, Packet, SubscribeReasonCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, rustls};

/// 1. A topic that begins with a character of several bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_not_ascii() {
    let server = Server::start().await;
    for topic in ["ü/x", "\u{1F600}", "a/ü"] {
        let mut client = server.client("umlaut").await;
        let publish = client.prepare(topic, QoS::AtMostOnce, false, "x");
        client.send(Packet::Publish(publish)).await;
        client.closed().await;
    }
    server.serves().await;
}

/// 2. A client id with `+ $ # /` that connects twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_id_with_special_characters() {
    let server = Server::start().await;
    for id in ["a+b", "$x", "#", "a/b", "a b", "ä"] {
        for _ in 0..2 {
            assert_eq!(
                server.refused(Connect::new(id)).await,
                ConnectReturnCode::BadClientId
            );
        }
    }
    server.serves().await;
}

/// 3. The limit of connections is reached and the same client tries again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_of_connections() {
    let server = Server::with(Limits {
        max_connections: 2,
        ..Limits::default()
    })
    .await;
    let mut first = server.client("one").await;
    let mut second = server.client("two").await;
    for _ in 0..3 {
        let mut third = Client::dial(server.address).await;
        third
            .raw_or_closed(&connect_bytes(Connect::new("three")))
            .await;
        assert_eq!(third.next().await, None);
    }
    first.ping().await;
    second.send(Packet::Disconnect).await;
    second.closed().await;
    until("a place is free", || {
        server.broker.counters().connections == 1
    })
    .await;
    server.serves().await;
    assert_eq!(server.broker.counters().refused_full, 3);
}

/// 4. A clean DISCONNECT while hundreds of messages wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_with_messages_in_the_queue() {
    let server = Server::start().await;
    let mut publisher = server.client("publisher").await;
    for _ in 0..3 {
        let mut client = server.client("leaver").await;
        client.subscribe("many/#", QoS::AtLeastOnce).await;
        for number in 0..500 {
            publisher
                .publish(
                    &format!("many/{number}"),
                    QoS::AtMostOnce,
                    false,
                    vec![0; 200],
                )
                .await;
        }
        publisher
            .publish("many/last", QoS::AtLeastOnce, false, "x")
            .await;
        client.send(Packet::Disconnect).await;
        client.closed().await;
        until("it left", || server.broker.counters().sessions == 1).await;
    }
    server.serves().await;
}

/// 5. `$share` with a kept session and unacknowledged messages, whose last member leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_subscription() {
    let server = Server::start().await;
    let mut client = server.connect(lasting("member")).await;
    let code = client
        .try_subscribe("$share/group/a/#", QoS::AtLeastOnce)
        .await;
    assert_eq!(code, SubscribeReasonCode::Failure);
    client.subscribe("a/#", QoS::AtLeastOnce).await;
    let mut publisher = server.client("publisher").await;
    for _ in 0..50 {
        publisher.publish("a/b", QoS::AtLeastOnce, false, "x").await;
    }
    client.message().await;
    client.send(Packet::Disconnect).await;
    client.closed().await;
    publisher.publish("a/b", QoS::AtLeastOnce, false, "x").await;
    server.serves().await;
}

/// 6. MQTT 5, and packets that only a server sends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_5_and_packets_of_a_server() {
    let server = Server::start().await;
    let mut client = Client::dial(server.address).await;
    client
        .raw(b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03fiv")
        .await;
    assert_eq!(
        client.connack().await.0,
        ConnectReturnCode::RefusedProtocolVersion
    );
    client.closed().await;
    let packets: [&[u8]; 7] = [
        b"\x20\x02\x00\x00",
        b"\x50\x02\x00\x01",
        b"\x62\x02\x00\x01",
        b"\x70\x02\x00\x01",
        b"\x90\x03\x00\x01\x00",
        b"\xb0\x02\x00\x01",
        b"\xd0\x00",
    ];
    for bytes in packets {
        let mut client = server.client("mirror").await;
        client.raw(bytes).await;
        client.closed().await;
    }
    server.serves().await;
}

/// 7. A TCP connection to the TLS port that says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_on_the_tls_port() {
    let (config, connector) = tls();
    let limits = Limits {
        handshake: Duration::from_millis(300),
        ..Limits::default()
    };
    let server = Server::on(Listener::Tls(loopback(), config), limits).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(Client::dial(server.address).await);
    }
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let stream = timeout(PATIENCE, connector.connect(name, stream))
        .await
        .unwrap()
        .unwrap();
    let mut client = Client::over(stream);
    client
        .send(Packet::Connect(as_user("secure", "everybody")))
        .await;
    assert_eq!(client.connack().await.0, ConnectReturnCode::Success);
    client.subscribe("t", QoS::AtMostOnce).await;
    client
        .publish("t", QoS::AtMostOnce, false, vec![7; 100_000])
        .await;
    assert_eq!(client.message().await.payload.len(), 100_000);
    for one in &mut silent {
        one.closed().await;
    }
    until("they are counted", || {
        server.broker.counters().tls_failures == 20
    })
    .await;
    client.ping().await;
}

/// A server's configuration with a certificate of its own, and a client that trusts it.
fn tls() -> (Arc<rustls::ServerConfig>, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), TlsConnector::from(Arc::new(client)))
}
