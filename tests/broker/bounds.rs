//! Slow readers, fast publishers, large packets and nonsense: each costs its own connection at
//! most.

use super::client::{Client, Server, as_user, connect_bytes, encoded, until, with_will};
use fleetctl::broker::Limits;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Connect, Packet};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_qos_0_reader_loses_messages_and_blocks_nobody() {
    let server = Server::with(Limits {
        queue_messages: 50,
        unlimited_queue_messages: 50,
        ..Limits::default()
    })
    .await;
    let mut slow = server.client("slow").await;
    slow.subscribe("t", QoS::AtMostOnce).await;
    let mut publisher = server.client("publisher").await;
    publisher.subscribe("t/end", QoS::AtMostOnce).await;
    // Far more than the sockets in between can hold.
    for _ in 0..400 {
        publisher
            .publish("t", QoS::AtLeastOnce, false, vec![0; 100_000])
            .await;
    }
    publisher
        .publish("t/end", QoS::AtMostOnce, false, "end")
        .await;
    assert_eq!(publisher.message().await.payload, "end");
    assert!(server.broker.counters().dropped > 0);
    slow.message().await;
    slow.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_qos_1_reader_is_closed_and_its_will_is_fired() {
    let server = Server::with(Limits {
        queue_messages: 50,
        unlimited_queue_messages: 50,
        ..Limits::default()
    })
    .await;
    let mut slow = server
        .connect(with_will("slow", "status/slow", false))
        .await;
    slow.subscribe("t", QoS::AtLeastOnce).await;
    let mut publisher = server.client("publisher").await;
    publisher.subscribe("status/slow", QoS::AtMostOnce).await;
    // Nobody acknowledges: 32 are unacknowledged, 50 wait, the next one is too much.
    for _ in 0..83 {
        publisher.publish("t", QoS::AtLeastOnce, false, "x").await;
    }
    assert_eq!(publisher.message().await.payload, "gone");
    slow.closed().await;
    assert_eq!(server.broker.counters().overruns, 1);
    server.serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_stops_reading_is_closed() {
    let limits = Limits {
        write: Duration::from_millis(500),
        ..Limits::default()
    };
    let server = Server::with(limits).await;
    let mut stuck = server
        .connect(with_will("stuck", "status/stuck", false))
        .await;
    stuck.subscribe("t", QoS::AtMostOnce).await;
    let mut publisher = server.client("publisher").await;
    publisher.subscribe("status/stuck", QoS::AtMostOnce).await;
    for _ in 0..400 {
        publisher
            .publish("t", QoS::AtLeastOnce, false, vec![0; 100_000])
            .await;
    }
    assert_eq!(publisher.message().await.payload, "gone");
    assert_eq!(server.broker.counters().write_timeouts, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fast_publisher_is_slowed_down_and_loses_nothing() {
    let limits = Limits {
        publish_rate: 50,
        publish_burst: 10,
        ..Limits::default()
    };
    let server = Server::with(limits).await;
    let mut reader = server.client("reader").await;
    reader.subscribe("t", QoS::AtMostOnce).await;
    let mut fast = server.connect(as_user("fast", "limited")).await;
    let begin = Instant::now();
    for number in 0..40 {
        fast.publish("t", QoS::AtMostOnce, false, format!("{number}"))
            .await;
    }
    for number in 0..40 {
        assert_eq!(reader.message().await.payload, format!("{number}"));
    }
    // Ten at once, thirty at 50 a second.
    assert!(
        begin.elapsed() >= Duration::from_millis(550),
        "{:?}",
        begin.elapsed()
    );
    assert!(server.broker.counters().throttled > 0);
    fast.ping().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_large_messages_pass_by_backpressure() {
    // Forty times what may be between publisher and subscribers at one time; the reader's own
    // queue is not what is tested here.
    let limits = Limits {
        queue_bytes: 200 << 20,
        queue_bytes_total: 200 << 20,
        ..Limits::default()
    };
    let server = Server::with(limits).await;
    let mut reader = server.client("reader").await;
    reader.subscribe("big", QoS::AtLeastOnce).await;
    let mut publisher = server.client("publisher").await;
    let publishing = async {
        for number in 0..80u8 {
            publisher
                .publish("big", QoS::AtLeastOnce, false, vec![number; 1_000_000])
                .await;
        }
    };
    let reading = async {
        for number in 0..80u8 {
            let message = reader.message().await;
            assert_eq!(
                (message.payload.len(), message.payload[0]),
                (1_000_000, number)
            );
            reader.ack(&message).await;
        }
    };
    tokio::join!(publishing, reading);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packet_over_the_limit_ends_the_connection_before_it_is_sent() {
    let server = Server::with(Limits {
        max_packet: 1000,
        ..Limits::default()
    })
    .await;
    let mut client = server.client("large").await;
    client
        .publish("t", QoS::AtLeastOnce, false, vec![0; 990])
        .await;
    client.raw(b"\x30\xe9\x07").await; // 1001 bytes are to follow
    client.closed().await;
    let mut stranger = Client::dial(server.address).await;
    stranger.raw(b"\x10\xff\xff\xff\x7f").await;
    stranger.closed().await;
    server.serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_and_filters_are_limited() {
    use rumqttc::mqttbytes::v4::SubscribeReasonCode::Failure;
    let limits = Limits {
        subscriptions: 3,
        max_topic: 20,
        ..Limits::default()
    };
    let server = Server::with(limits).await;
    let mut client = server.client("greedy").await;
    for filter in ["a", "b", "c"] {
        client.subscribe(filter, QoS::AtMostOnce).await;
    }
    assert_eq!(client.try_subscribe("d", QoS::AtMostOnce).await, Failure);
    client.subscribe("a", QoS::AtLeastOnce).await;
    client.unsubscribe("a").await;
    assert_eq!(
        client
            .try_subscribe("this/filter/is/too/long", QoS::AtMostOnce)
            .await,
        Failure
    );
    client.subscribe("d", QoS::AtMostOnce).await;
    let long = client.prepare("this/topic/is/too/long", QoS::AtMostOnce, false, "");
    client.send(Packet::Publish(long)).await;
    client.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_who_says_nothing_or_half_a_connect_is_closed() {
    let limits = Limits {
        connect: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = Server::with(limits).await;
    let whole = connect_bytes(Connect::new("half"));
    for cut in [0, 1, 2, 9, whole.len() - 1] {
        let mut client = Client::dial(server.address).await;
        client.raw(&whole[..cut]).await;
        assert_eq!(client.next().await, None, "{cut}");
    }
    assert_eq!(server.broker.counters().connect_failures, 5);
    server.serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_packet_in_single_bytes_is_a_packet() {
    let server = Server::start().await;
    let mut client = Client::dial(server.address).await;
    for byte in connect_bytes(Connect::new("drip")) {
        client.raw(&[byte]).await;
    }
    client.connack().await;
    client.subscribe("t", QoS::AtMostOnce).await;
    let publish = client.prepare("t", QoS::AtMostOnce, false, "whole");
    for byte in encoded(Packet::Publish(publish)) {
        client.raw(&[byte]).await;
    }
    assert_eq!(client.message().await.payload, "whole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_ends_only_its_own_connection() {
    let limits = Limits {
        connect: Duration::from_secs(1),
        ..Limits::default()
    };
    let server = Server::with(limits).await;
    let mut witness = server.client("witness").await;
    // A small generator with a fixed seed: the same bytes in every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    for round in 0..200 {
        let bytes: Vec<u8> = (0..random()).map(|_| random()).collect();
        let mut client = Client::dial(server.address).await;
        if round % 2 == 0 {
            client.raw(&connect_bytes(Connect::new("random"))).await;
            client.connack().await;
        }
        client.raw_or_closed(&bytes).await;
        // Whatever it was, this is no packet.
        client.raw_or_closed(&[0xff; 16]).await;
        drop(client);
    }
    until("all are gone", || server.broker.counters().connections == 1).await;
    witness.ping().await;
    server.serves().await;
}
