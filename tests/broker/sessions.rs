//! Takeover, wills, keep-alive and sessions that outlive a connection.

use super::client::{Server, as_user, lasting, until, with_will};
use fleetctl::broker::Limits;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Connect, Packet};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_closes_the_old_connection_and_its_will_comes_first() {
    let server = Server::start().await;
    let mut observer = server.client("observer").await;
    observer.subscribe("status/n1", QoS::AtLeastOnce).await;
    for _ in 0..20 {
        let mut old = server.connect(with_will("n1", "status/n1", true)).await;
        let mut new = server.connect(with_will("n1", "status/n1", true)).await;
        new.publish("status/n1", QoS::AtLeastOnce, true, "here")
            .await;
        old.closed().await;
        for expected in ["gone", "here"] {
            let status = observer.message().await;
            assert_eq!(status.payload, expected);
            observer.ack(&status).await;
        }
        new.send(Packet::Disconnect).await;
        new.closed().await;
    }
    assert_eq!(server.broker.retained("status/n1")[0].1, "here");
    let counters = server.broker.counters();
    assert_eq!((counters.takeovers, counters.wills), (20, 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_disconnect_discards_the_will() {
    let server = Server::start().await;
    let mut observer = server.client("observer").await;
    observer.subscribe("#", QoS::AtMostOnce).await;
    let mut client = server.connect(with_will("n1", "status/n1", false)).await;
    client.send(Packet::Disconnect).await;
    client.closed().await;
    until("it left", || server.broker.counters().sessions == 1).await;
    observer.publish("marker", QoS::AtMostOnce, false, "").await;
    assert_eq!(observer.message().await.topic, "marker");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends_a_connection_and_fires_its_will() {
    let server = Server::start().await;
    let mut observer = server.client("observer").await;
    observer.subscribe("status/n1", QoS::AtMostOnce).await;
    let begin = Instant::now();
    let connect = Connect {
        keep_alive: 1,
        ..with_will("n1", "status/n1", false)
    };
    let mut silent = server.connect(connect).await;
    assert_eq!(silent.next().await, None);
    assert!(
        begin.elapsed() >= Duration::from_millis(1400),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(observer.message().await.payload, "gone");
    assert_eq!(server.broker.counters().keep_alive_timeouts, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_only_listens_must_still_ping() {
    let server = Server::start().await;
    let mut publisher = server.client("publisher").await;
    let connect = Connect {
        keep_alive: 1,
        ..Connect::new("listener")
    };
    let mut listener = server.connect(connect).await;
    listener.subscribe("ticks", QoS::AtMostOnce).await;
    let ticking = async {
        loop {
            publisher
                .publish("ticks", QoS::AtMostOnce, false, "tick")
                .await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = ticking => unreachable!("it ticks for ever"),
        () = listener.closed() => {}
    }
    assert_eq!(server.broker.counters().keep_alive_timeouts, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_session_gets_what_it_missed() {
    let server = Server::start().await;
    let mut publisher = server.client("publisher").await;
    let (mut client, present) = server.resume(lasting("n1")).await;
    assert!(!present);
    client.subscribe("cmd/#", QoS::AtLeastOnce).await;
    client.send(Packet::Disconnect).await;
    client.closed().await;
    for number in 0..100 {
        // Not acknowledged; the one after it is, and then both have been dealt with.
        publisher
            .publish("cmd/y", QoS::AtMostOnce, false, "not kept")
            .await;
        publisher
            .publish("cmd/x", QoS::AtLeastOnce, false, format!("{number}"))
            .await;
    }
    let (mut client, present) = server.resume(lasting("n1")).await;
    assert!(present);
    for number in 0..100 {
        let message = client.message().await;
        assert_eq!(message.payload, format!("{number}"));
        assert!(!message.dup);
        client.ack(&message).await;
    }
    client.quiet().await;
    client.send(Packet::Disconnect).await;
    client.closed().await;
    let (_, present) = server.resume(Connect::new("n1")).await;
    assert!(!present, "a clean session finds nothing");
    let (_, present) = server.resume(lasting("n1")).await;
    assert!(!present, "and leaves nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_acknowledged_comes_again() {
    let server = Server::start().await;
    let mut publisher = server.client("publisher").await;
    let mut client = server.connect(lasting("n1")).await;
    client.subscribe("t", QoS::AtLeastOnce).await;
    for number in 0..5 {
        publisher
            .publish("t", QoS::AtLeastOnce, false, format!("{number}"))
            .await;
    }
    let mut first = Vec::new();
    for _ in 0..5 {
        first.push(client.message().await);
    }
    client.ack(&first[1]).await;
    client.ping().await;
    drop(client);
    let (mut client, present) = server.resume(lasting("n1")).await;
    assert!(present);
    for missing in [0, 2, 3, 4] {
        let again = client.message().await;
        assert!(again.dup);
        assert_eq!(
            (again.pkid, &again.payload),
            (first[missing].pkid, &first[missing].payload)
        );
        client.ack(&again).await;
    }
    client.quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_sessions_are_limited_in_number() {
    let server = Server::with(Limits {
        absent_sessions: 2,
        ..Limits::default()
    })
    .await;
    for id in ["a", "b", "c"] {
        let mut client = server.connect(lasting(id)).await;
        client.subscribe("t", QoS::AtLeastOnce).await;
        client.send(Packet::Disconnect).await;
        client.closed().await;
    }
    let counters = server.broker.counters();
    assert_eq!((counters.sessions, counters.subscriptions), (2, 2));
    assert!(server.resume(lasting("c")).await.1);
    assert!(
        !server.resume(lasting("a")).await.1,
        "it was absent longest"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_sessions_are_limited_in_age() {
    let limits = Limits {
        session_age: Duration::from_millis(100),
        ..Limits::default()
    };
    let server = Server::with(limits).await;
    for id in ["a", "b"] {
        let mut client = server.connect(lasting(id)).await;
        client.subscribe("t", QoS::AtLeastOnce).await;
        client.send(Packet::Disconnect).await;
        client.closed().await;
    }
    until("they are forgotten", || {
        server.broker.counters().sessions == 0
    })
    .await;
    let counters = server.broker.counters();
    assert_eq!((counters.subscriptions, counters.queued_bytes), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_session_of_another_principal_is_out_of_reach() {
    let server = Server::start().await;
    let mut connect = as_user("n1", "alice");
    connect.clean_session = false;
    let mut owner = server.connect(connect.clone()).await;
    owner.send(Packet::Disconnect).await;
    owner.closed().await;
    // Somebody else under the same client id has a session of his own, and takes none away.
    let mut other = as_user("n1", "mallory");
    other.clean_session = false;
    assert!(!server.resume(other).await.1);
    assert!(server.resume(connect).await.1);
}
