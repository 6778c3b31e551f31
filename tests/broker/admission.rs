//! Who gets in, what they may say and hear, and being sent away.

use super::client::{Client, Server, as_user, loopback, until, with_will};
use fleetctl::broker::{Broker, BrokerError, Limits, Listener, Settings};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Connect, ConnectReturnCode, Packet, SubscribeReasonCode};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gatekeeper_decides() {
    let server = Server::start().await;
    let refused = [
        ("nobody", ConnectReturnCode::NotAuthorized),
        ("wrong", ConnectReturnCode::BadUserNamePassword),
        ("later", ConnectReturnCode::ServiceUnavailable),
    ];
    for (name, code) in refused {
        assert_eq!(server.refused(as_user("x", name)).await, code, "{name}");
    }
    let counters = server.broker.counters();
    assert_eq!(
        (
            counters.refused_not_authorized,
            counters.refused_credentials,
            counters.refused_unavailable,
            counters.accepted
        ),
        (1, 1, 1, 0)
    );
    server.serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_says_and_hears_only_its_own() {
    let server = Server::start().await;
    let mut observer = server.client("observer").await;
    observer.subscribe("#", QoS::AtMostOnce).await;
    let mut node = server.connect(as_user("n1", "node")).await;
    for filter in [
        "#",
        "fleet/#",
        "fleet/assignment/+",
        "fleet/assignment/n2",
        "fleet/state/n1",
    ] {
        let code = node.try_subscribe(filter, QoS::AtLeastOnce).await;
        assert_eq!(code, SubscribeReasonCode::Failure, "{filter}");
    }
    node.subscribe("fleet/assignment/n1", QoS::AtLeastOnce)
        .await;
    node.publish("fleet/state/n1", QoS::AtLeastOnce, false, "mine")
        .await;
    assert_eq!(observer.message().await.payload, "mine");
    let forged = node.prepare("fleet/state/n2", QoS::AtLeastOnce, false, "forged");
    node.send(Packet::Publish(forged)).await;
    node.closed().await;
    observer.publish("marker", QoS::AtMostOnce, false, "").await;
    assert_eq!(observer.message().await.topic, "marker");
    let counters = server.broker.counters();
    assert_eq!(
        (counters.denied_publishes, counters.denied_subscriptions),
        (1, 5)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_will_needs_the_right_to_its_topic() {
    let server = Server::start().await;
    for topic in ["fleet/status/n2", "a/#", "$SYS/x", ""] {
        let mut connect = with_will("n1", topic, true);
        connect.login = as_user("n1", "node").login;
        let code = server.refused(connect).await;
        assert_eq!(code, ConnectReturnCode::NotAuthorized, "{topic}");
    }
    let mut connect = with_will("n1", "fleet/status/n1", true);
    connect.login = as_user("n1", "node").login;
    server.connect(connect).await.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_takes_or_blocks_the_client_id_of_somebody_else() {
    let server = Server::start().await;
    // First come does not mean first served: a squatter must not keep the owner out.
    let mut squatter = server.connect(as_user("shared", "mallory")).await;
    let mut owner = server.connect(as_user("shared", "alice")).await;
    owner.ping().await;
    squatter.ping().await;
    assert_eq!(server.broker.counters().takeovers, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_principal_is_cut_off_and_its_will_is_published() {
    let server = Server::start().await;
    let mut observer = server.connect(as_user("observer", "controller")).await;
    observer.subscribe("fleet/status/+", QoS::AtLeastOnce).await;
    let mut connect = with_will("n1", "fleet/status/n1", true);
    connect.login = as_user("n1", "node").login;
    let mut revoked = server.connect(connect).await;
    let mut other = server.connect(as_user("n2", "node")).await;
    assert_eq!(
        server.broker.disconnect(|principal| principal == "node/n1"),
        1
    );
    assert_eq!(revoked.next().await, None);
    let will = observer.message().await;
    assert_eq!(
        (will.topic.as_str(), &will.payload[..]),
        ("fleet/status/n1", &b"gone"[..])
    );
    other.ping().await;
    until("the session is gone", || {
        server.broker.counters().sessions == 2
    })
    .await;
    assert_eq!(
        server.broker.disconnect(|principal| principal == "node/n1"),
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_in_use_is_an_error_that_names_it() {
    let server = Server::start().await;
    let settings = Settings {
        listeners: vec![Listener::Plain(loopback()), Listener::Plain(server.address)],
        limits: Limits::default(),
        stranger: None,
    };
    struct Nobody;
    impl fleetctl::broker::Gatekeeper for Nobody {
        fn admit(
            &self,
            _: &fleetctl::broker::Credentials<'_>,
        ) -> Result<fleetctl::broker::Admission, fleetctl::broker::Refusal> {
            Err(fleetctl::broker::Refusal::NotAuthorized)
        }
    }
    let error = Broker::start(settings, std::sync::Arc::new(Nobody))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, BrokerError::Bind { .. }));
    assert!(
        error.to_string().contains(&server.address.to_string()),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_closes_everything() {
    let server = Server::start().await;
    let address = server.address;
    let mut client = server.client("one").await;
    let running = tokio::time::timeout(Duration::from_millis(1), server.broker.closed()).await;
    assert!(running.is_err(), "a broker that runs is not closed");
    server.broker.shutdown().await;
    assert_eq!(client.next().await, None);
    let late = tokio::net::TcpStream::connect(address).await;
    assert!(late.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_clients_without_an_id() {
    let server = Server::start().await;
    let mut first = server.client("").await;
    let mut second = server.client("").await;
    first.ping().await;
    second.ping().await;
    assert_eq!(server.broker.counters().sessions, 2);
    let kept = Connect {
        clean_session: false,
        ..Connect::new("")
    };
    assert_eq!(server.refused(kept).await, ConnectReturnCode::BadClientId);
    let mut silent = Client::dial(server.address).await;
    silent.raw(&[]).await;
    until("it counts as open", || {
        server.broker.counters().connections >= 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_http_hears_that_there_is_nothing() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::start().await;
    for (begin, answered) in [
        ("GET /blobs/x HTTP/1.1", true),
        ("HEAD / ", true),
        ("PUT /", false),
    ] {
        let mut stream = tokio::net::TcpStream::connect(server.address)
            .await
            .unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        let mut text = String::new();
        // What is not understood is closed, perhaps with something unread.
        let _ = stream.read_to_string(&mut text).await;
        assert_eq!(
            text.starts_with("HTTP/1.1 404"),
            answered,
            "{begin}: {text}"
        );
    }
}
