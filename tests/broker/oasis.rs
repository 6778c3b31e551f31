//! The normative statements of MQTT 3.1.1 (OASIS, 29 October 2014) that bind a server and apply
//! to this one.
//!
//! | statements | shown by |
//! |---|---|
//! | 1.5.3-1, 1.5.3-2 (text is UTF-8 without U+0000) | `ill_formed_text` |
//! | 2.2.2-1, 2.2.2-2, 3.8.1-1, 3.10.1-1, 3.14.1-1 (reserved flags) | `reserved_flags` |
//! | 2.3.1-1, 2.3.1-5 (identifiers are not 0) | `identifier_zero` |
//! | 2.3.1-6, 2.3.1-7, 3.8.4-2, 3.10.4-4 (answers carry the identifier) | `answers_carry_the_identifier` |
//! | 3.1.0-1, 3.1.0-2 (CONNECT first, and once) | `connect_is_first_and_once` |
//! | 3.1.2-1, 3.1.2-2 (protocol name and level) | `protocol_name_and_level` |
//! | 3.1.2-3, 3.1.2-11, 3.1.2-14, 3.1.2-22 (CONNECT flags) | `connect_flags` |
//! | 3.1.2-4, 3.1.2-5, 3.1.2-6, 3.2.2-1, 3.2.2-2, 3.2.2-3 (clean session, session present) | `session_present` |
//! | 3.1.2-8, 3.1.2-10, 3.14.4-3 (when a will is published) | `wills` |
//! | 3.1.2-16, 3.1.2-17 (will retain) | `will_retain` |
//! | 3.1.2-24 (1.5 times the keep-alive) | `sessions::silence_ends_a_connection_and_fires_its_will` |
//! | 3.1.3-5 … 3.1.3-9 (client ids) | `client_ids` |
//! | 3.1.4-2 (takeover) | `sessions::a_takeover_closes_…` |
//! | 3.1.4-4, 3.2.0-1, 3.2.2-4, 3.2.2-5 (CONNACK first; closed after a refusal) | `connack_is_first` |
//! | 3.1.4-5 (packets before CONNACK of a refused client are not processed) | `a_refused_client_is_not_heard` |
//! | 3.3.1-2, 3.3.1-4 (DUP with QoS 0, QoS 3) | `publish_flags` |
//! | 3.3.1-5, 3.3.1-6, 3.3.1-8 … 3.3.1-12 (retained messages) | `retained_messages` |
//! | 3.3.2-2, 3.3.2-3 (topics without wildcards, matching the filter) | `published_topics` |
//! | 3.3.4-1, 3.8.4-6 (QoS of deliveries), 3.3.5-1 (overlapping) | `qos_of_deliveries` |
//! | 3.8.3-1, 3.8.3-3, 3.8.3-4, 3.10.3-2 (payload of SUBSCRIBE and UNSUBSCRIBE) | `empty_and_wrong_payloads` |
//! | 3.8.4-1, 3.8.4-4, 3.8.4-5, 3.9.3-1, 3.9.3-2 (SUBACK) | `one_code_per_filter` |
//! | 3.8.4-3 (subscribing again) | `subscribing_again` |
//! | 3.10.4-1, 3.10.4-2, 3.10.4-5, 3.10.4-6 (unsubscribing) | `unsubscribing` |
//! | 3.12.4-1 (PINGRESP) | `ping` |
//! | 4.3.1-1, 4.3.2-2, 4.4.0-1 (delivery and repetition) | `sessions::what_was_not_acknowledged_…` |
//! | 4.6.0-1 … 4.6.0-6 (order) | `order` |
//! | 4.7.1-2, 4.7.1-3, 4.7.2-1, 4.7.3-1, 4.7.3-4 (filters and topics) | `filters`, unit tests of `filter` |
//! | 4.8.0-1 (a protocol error ends the connection) | nearly all |
//!
//! Not here: what binds clients only, and QoS 2 (3.3.1-3, 4.3.3-*), which this broker refuses:
//! `qos_2_is_refused`.

use super::client::{Client, Server, as_user, connect_bytes, encoded, lasting, with_will};
use rumqttc::mqttbytes::QoS::{self, AtLeastOnce, AtMostOnce, ExactlyOnce};
use rumqttc::mqttbytes::v4::{
    Connect, ConnectReturnCode, LastWill, Packet, PubAck, Subscribe, SubscribeFilter,
    SubscribeReasonCode,
};

/// Each of these, sent by an admitted client, ends its connection.
async fn ends_the_connection(server: &Server, cases: &[&[u8]]) {
    for bytes in cases {
        let mut client = server.client("wrong").await;
        client.raw(bytes).await;
        client.closed().await;
    }
    server.serves().await;
}

/// Each of these, sent first, ends the connection without an answer.
async fn is_no_beginning(server: &Server, cases: &[&[u8]]) {
    for bytes in cases {
        let mut client = Client::dial(server.address).await;
        client.raw(bytes).await;
        assert_eq!(client.next().await, None, "{bytes:02x?}");
    }
    server.serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ill_formed_text() {
    let server = Server::start().await;
    let cases: [&[u8]; 4] = [
        b"\x30\x04\x00\x02\xc3\x28",
        b"\x30\x05\x00\x03\xed\xa0\x80",
        b"\x30\x05\x00\x03a\x00b",
        b"\x82\x07\x00\x01\x00\x02a\x00\x00",
    ];
    ends_the_connection(&server, &cases).await;
    is_no_beginning(
        &server,
        &[b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02\xc3\x28"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reserved_flags() {
    let server = Server::start().await;
    let cases: [&[u8]; 6] = [
        b"\x80\x06\x00\x01\x00\x01a\x00",
        b"\x83\x06\x00\x01\x00\x01a\x00",
        b"\xa0\x05\x00\x01\x00\x01a",
        b"\xc1\x00",
        b"\xe1\x00",
        b"\x41\x02\x00\x01",
    ];
    ends_the_connection(&server, &cases).await;
    is_no_beginning(&server, &[b"\x11\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identifier_zero() {
    let server = Server::start().await;
    let cases: [&[u8]; 3] = [
        b"\x32\x05\x00\x01a\x00\x00",
        b"\x82\x06\x00\x00\x00\x01a\x00",
        b"\xa2\x05\x00\x00\x00\x01a",
    ];
    ends_the_connection(&server, &cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_carry_the_identifier() {
    let server = Server::start().await;
    let mut client = server.client("client").await;
    client.raw(b"\x82\x06\x12\x34\x00\x01a\x00").await;
    assert!(matches!(client.next().await, Some(Packet::SubAck(ack)) if ack.pkid == 0x1234));
    client.raw(b"\xa2\x05\xff\xff\x00\x01a").await;
    assert!(matches!(client.next().await, Some(Packet::UnsubAck(ack)) if ack.pkid == 0xffff));
    client.raw(b"\x32\x05\x00\x01b\x00\x07").await;
    assert_eq!(client.next().await, Some(Packet::PubAck(PubAck::new(7))));
    // MQTT-3.10.4-5: also when there was nothing to unsubscribe.
    client.raw(b"\xa2\x05\x00\x01\x00\x01z").await;
    assert!(matches!(client.next().await, Some(Packet::UnsubAck(ack)) if ack.pkid == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_is_first_and_once() {
    let server = Server::start().await;
    is_no_beginning(
        &server,
        &[
            b"\xc0\x00",
            b"\x30\x03\x00\x01a",
            b"\xe0\x00",
            b"GET / HTTP/1.1",
        ],
    )
    .await;
    ends_the_connection(&server, &[&connect_bytes(Connect::new("wrong"))]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn protocol_name_and_level() {
    let server = Server::start().await;
    let cases: [&[u8]; 4] = [
        b"\x10\x0d\x00\x04MQTT\x03\x02\x00\x3c\x00\x01c",
        b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x01c",
        b"\x10\x0d\x00\x04mqtt\x04\x02\x00\x3c\x00\x01c",
        b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01c",
    ];
    for bytes in cases {
        let mut client = Client::dial(server.address).await;
        client.raw(bytes).await;
        let answer = client.connack().await;
        assert_eq!(answer, (ConnectReturnCode::RefusedProtocolVersion, false));
        client.closed().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_flags() {
    let server = Server::start().await;
    let cases: [&[u8]; 6] = [
        b"\x10\x0d\x00\x04MQTT\x04\x03\x00\x3c\x00\x01c", // reserved flag
        b"\x10\x0d\x00\x04MQTT\x04\x0a\x00\x3c\x00\x01c", // will QoS, no will
        b"\x10\x0d\x00\x04MQTT\x04\x22\x00\x3c\x00\x01c", // will retain, no will
        b"\x10\x13\x00\x04MQTT\x04\x1e\x00\x3c\x00\x01c\x00\x01w\x00\x01x", // will QoS 3
        b"\x10\x10\x00\x04MQTT\x04\x42\x00\x3c\x00\x01c\x00\x01p", // password, no user name
        b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c\x00\x01u", // a field without its flag
    ];
    is_no_beginning(&server, &cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_present() {
    let server = Server::start().await;
    // Kept, then found, then discarded by a clean session, then not found.
    for (clean, expected) in [(false, false), (false, true), (true, false), (false, false)] {
        let connect = Connect {
            clean_session: clean,
            ..Connect::new("client")
        };
        let (mut client, present) = server.resume(connect).await;
        assert_eq!(present, expected);
        client.send(Packet::Disconnect).await;
        client.closed().await;
    }
    // A refusal never says that a session is present; `refused` looks at it.
    server.refused(as_user("client", "nobody")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wills() {
    let server = Server::start().await;
    let mut observer = server.client("observer").await;
    observer.subscribe("will/+", AtLeastOnce).await;
    let mut polite = server
        .connect(with_will("polite", "will/polite", false))
        .await;
    polite.send(Packet::Disconnect).await;
    polite.closed().await;
    drop(server.connect(with_will("lost", "will/lost", false)).await);
    let will = observer.message().await;
    assert_eq!(
        (will.topic.as_str(), will.qos, will.retain),
        ("will/lost", AtLeastOnce, false)
    );
    observer.ack(&will).await;
    let mut wrong = server
        .connect(with_will("wrong", "will/wrong", false))
        .await;
    wrong.raw(b"\xf0\x00").await;
    assert_eq!(observer.message().await.topic, "will/wrong");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn will_retain() {
    let server = Server::start().await;
    let mut observer = server.client("observer").await;
    observer.subscribe("will/+", AtMostOnce).await;
    for (id, retain) in [("kept", true), ("passed", false)] {
        drop(
            server
                .connect(with_will(id, &format!("will/{id}"), retain))
                .await,
        );
        assert!(!observer.message().await.retain);
    }
    let mut late = server.client("late").await;
    late.subscribe("will/+", AtMostOnce).await;
    let kept = late.message().await;
    assert_eq!((kept.topic.as_str(), kept.retain), ("will/kept", true));
    late.quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_ids() {
    let server = Server::start().await;
    for id in [
        "a",
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "-_",
    ] {
        server.client(id).await.ping().await;
    }
    server.client("").await.ping().await;
    assert_eq!(
        server.refused(lasting("")).await,
        ConnectReturnCode::BadClientId
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connack_is_first() {
    let server = Server::start().await;
    // Everything at once: the answers come in order, CONNACK first.
    let mut bytes = connect_bytes(Connect::new("hasty"));
    let mut subscribe = Subscribe::new("a", AtMostOnce);
    subscribe.pkid = 1;
    bytes.extend_from_slice(&encoded(Packet::Subscribe(subscribe)));
    bytes.extend_from_slice(&encoded(Packet::PingReq));
    let mut client = Client::dial(server.address).await;
    client.raw(&bytes).await;
    assert_eq!(client.connack().await, (ConnectReturnCode::Success, false));
    assert!(matches!(client.next().await, Some(Packet::SubAck(_))));
    assert_eq!(client.next().await, Some(Packet::PingResp));
    let code = server.refused(as_user("x", "nobody")).await; // which waits for the end
    assert_eq!(code, ConnectReturnCode::NotAuthorized);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_client_is_not_heard() {
    let server = Server::start().await;
    let mut observer = server.client("observer").await;
    observer.subscribe("#", AtMostOnce).await;
    let mut bytes = connect_bytes(as_user("x", "wrong"));
    bytes.extend_from_slice(b"\x30\x03\x00\x01a");
    let mut client = Client::dial(server.address).await;
    client.raw(&bytes).await;
    client.closed().await;
    observer.publish("marker", AtMostOnce, false, "").await;
    assert_eq!(observer.message().await.topic, "marker");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publish_flags() {
    let server = Server::start().await;
    let cases: [&[u8]; 2] = [b"\x38\x03\x00\x01a", b"\x36\x05\x00\x01a\x00\x01"];
    ends_the_connection(&server, &cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn qos_2_is_refused() {
    let server = Server::start().await;
    let cases: [&[u8]; 2] = [b"\x34\x05\x00\x01a\x00\x01", b"\x62\x02\x00\x01"];
    ends_the_connection(&server, &cases).await;
    let mut client = server.client("client").await;
    assert_eq!(client.subscribe("a", ExactlyOnce).await, AtLeastOnce);
    let will = LastWill::new("a", "gone", ExactlyOnce, false);
    drop(
        server
            .connect(Connect {
                last_will: Some(will),
                ..Connect::new("dies")
            })
            .await,
    );
    let message = client.message().await;
    assert_eq!(
        (&message.payload[..], message.qos),
        (&b"gone"[..], AtLeastOnce)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retained_messages() {
    let server = Server::start().await;
    let mut publisher = server.client("publisher").await;
    publisher.subscribe("r", AtLeastOnce).await;
    publisher.publish("r", AtLeastOnce, true, "old").await;
    publisher.publish("r", AtMostOnce, true, "new").await;
    publisher.publish("r", AtLeastOnce, false, "passing").await;
    for expected in ["old", "new", "passing"] {
        let live = publisher.message().await;
        assert_eq!(
            (&live.payload[..], live.retain),
            (expected.as_bytes(), false)
        );
    }
    let mut late = server.client("late").await;
    late.subscribe("r", AtLeastOnce).await;
    let kept = late.message().await;
    assert_eq!(
        (&kept.payload[..], kept.retain, kept.qos),
        (&b"new"[..], true, AtMostOnce)
    );
    publisher.publish("r", AtLeastOnce, true, "").await;
    let live = late.message().await;
    assert_eq!((live.payload.len(), live.retain), (0, false));
    let mut later = server.client("later").await;
    later.subscribe("r", AtLeastOnce).await;
    later.quiet().await;
    assert!(server.broker.retained("#").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn published_topics() {
    let server = Server::start().await;
    let cases: [&[u8]; 4] = [
        b"\x30\x03\x00\x01+",
        b"\x30\x05\x00\x03a/#",
        b"\x30\x02\x00\x00",
        b"\x30\x04\x00\x02$a",
    ];
    ends_the_connection(&server, &cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn qos_of_deliveries() {
    let server = Server::start().await;
    let mut client = server.client("client").await;
    client.subscribe("q/zero", AtMostOnce).await;
    client.subscribe("q/+", AtLeastOnce).await;
    client.subscribe("q/zero/#", AtMostOnce).await;
    for (sent, expected) in [(AtMostOnce, AtMostOnce), (AtLeastOnce, AtLeastOnce)] {
        client.publish("q/zero", sent, false, "x").await;
        assert_eq!(client.message().await.qos, expected);
        client.quiet().await; // three filters match, one delivery
    }
    client.publish("q/zero/x", AtLeastOnce, false, "x").await;
    assert_eq!(client.message().await.qos, QoS::AtMostOnce);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_and_wrong_payloads() {
    let server = Server::start().await;
    let cases: [&[u8]; 6] = [
        b"\x82\x02\x00\x01",
        b"\xa2\x02\x00\x01",
        b"\x82\x06\x00\x01\x00\x01a\x03",
        b"\x82\x06\x00\x01\x00\x01a\x10",
        b"\x82\x05\x00\x01\x00\x01a",
        b"\xa2\x04\x00\x01\x00\x01",
    ];
    ends_the_connection(&server, &cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_code_per_filter() {
    let server = Server::start().await;
    let mut node = server.connect(as_user("n1", "node")).await;
    let filters = [
        ("fleet/assignment/n1", ExactlyOnce),
        ("fleet/assignment/n2", AtLeastOnce),
        ("fleet/assignment/n1", AtMostOnce),
    ];
    let mut subscribe = Subscribe::new_many(
        filters
            .into_iter()
            .map(|(filter, qos)| SubscribeFilter::new(filter.to_owned(), qos)),
    );
    subscribe.pkid = 9;
    node.send(Packet::Subscribe(subscribe)).await;
    let Some(Packet::SubAck(ack)) = node.next().await else {
        panic!("not a SUBACK")
    };
    let expected = [
        SubscribeReasonCode::Success(AtLeastOnce),
        SubscribeReasonCode::Failure,
        SubscribeReasonCode::Success(AtMostOnce),
    ];
    assert_eq!((ack.pkid, &ack.return_codes[..]), (9, &expected[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribing_again() {
    let server = Server::start().await;
    let mut client = server.client("client").await;
    client.publish("s", AtLeastOnce, true, "kept").await;
    for qos in [AtMostOnce, AtLeastOnce] {
        client.subscribe("s", qos).await;
        let kept = client.message().await;
        assert_eq!((kept.retain, kept.qos), (true, qos));
        client.publish("s", AtLeastOnce, true, "kept").await;
        assert_eq!(client.message().await.qos, qos);
        client.quiet().await;
    }
    assert_eq!(server.broker.counters().subscriptions, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsubscribing() {
    let server = Server::start().await;
    let mut client = server.client("client").await;
    for filter in ["u/+", "u/a", "u/#"] {
        client.subscribe(filter, AtMostOnce).await;
    }
    client.unsubscribe("u/+").await;
    client.unsubscribe("u/a").await;
    client.unsubscribe("u/b").await; // matches, but is not the same filter as `u/#`
    client.publish("u/a", AtMostOnce, false, "still").await;
    assert_eq!(client.message().await.payload, "still");
    client.unsubscribe("u/#").await;
    client.publish("u/a", AtLeastOnce, false, "no more").await;
    client.subscribe("marker", AtMostOnce).await;
    client.publish("marker", AtMostOnce, false, "").await;
    assert_eq!(client.message().await.topic, "marker");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ping() {
    let server = Server::start().await;
    let mut client = server.client("client").await;
    for _ in 0..10 {
        client.raw(b"\xc0\x00\xc0\x00").await;
        assert_eq!(client.next().await, Some(Packet::PingResp));
        assert_eq!(client.next().await, Some(Packet::PingResp));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order() {
    let server = Server::start().await;
    let mut client = server.client("client").await;
    client.subscribe("o/+", AtLeastOnce).await;
    let mut publisher = server.client("publisher").await;
    for number in 0..300u32 {
        let qos = if number % 3 == 0 {
            AtMostOnce
        } else {
            AtLeastOnce
        };
        let topic = format!("o/{}", number % 2);
        publisher
            .publish(&topic, qos, false, format!("{number}"))
            .await;
    }
    for number in 0..300u32 {
        let message = client.message().await;
        assert_eq!(message.payload, format!("{number}"));
        if message.qos == AtLeastOnce {
            client.ack(&message).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters() {
    let server = Server::start().await;
    let mut client = server.client("client").await;
    for wrong in ["a#", "a/#/b", "a+", "+a/b", "##"] {
        let code = client.try_subscribe(wrong, AtMostOnce).await;
        assert_eq!(code, SubscribeReasonCode::Failure, "{wrong}");
    }
    client.subscribe("f/+/c/#", AtMostOnce).await;
    for topic in ["f/b/c", "f//c/d/e", "f/b/c/"] {
        client.publish(topic, AtMostOnce, false, "yes").await;
        assert_eq!(client.message().await.topic, topic);
    }
    for topic in ["f/c", "F/b/c", "f/b/C/d", "f/b/b/c", "/f/b/c"] {
        client.publish(topic, AtLeastOnce, false, "no").await;
        client.ping().await;
    }
    client.publish("f/b/c", AtMostOnce, false, "last").await;
    assert_eq!(client.message().await.payload, "last");
}
